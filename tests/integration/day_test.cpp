// A day of a service, in minutes: its clocks move on by an hour at a time, as after a suspend,
// beside steps of the wall clock, failures and restarts. What was promised is looked at when the
// day is over.
#include <poll.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <set>

#include "journal/verdict.h"
#include "tests/support/churn.h"
#include "tests/support/mounts.h"
#include "tests/support/shifted_clock.h"

namespace holdfast {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;
constexpr int64_t kSecond = 1'000'000'000, kHour = 3600 * kSecond;
constexpr unsigned kHours = 26;
constexpr size_t kMiB = 1 << 20;

template <class Condition>
void wait_until(const std::string& what, const Condition& condition) {
  for (int tries = 0; tries < 1200; ++tries) {
    if (condition()) return;
    ::poll(nullptr, 0, 100);
  }
  FAIL("waited for two minutes: " << what);
}

// Dumps and the kept versions go by the spans of the wall clock: the day begins with them, whenever
// the test runs.
int64_t until_ten_past_midnight() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const int64_t past = now.tv_sec % (24 * 3600) * kSecond + now.tv_nsec;
  return 24 * kHour + 600 * kSecond - past;
}

class Day {
 public:
  explicit Day(unsigned seed) : churn_(root, work.make("outside"), seed) {
    // An hour may pass in the middle of a dump, and would be its usual limit.
    write_file(work.path("holdfast.toml"), "[[watch]]\nname = \"data\"\npath = \"" + root +
                                               "\"\n[snapshot]\nevery = \"1h\"\nkeep = 40\n"
                                               "[retention]\nall = \"3h\"\nhourly = 4\n"
                                               "[scrub]\nevery = \"6h\"\n"
                                               "[[dump]]\nname = \"db\"\nevery = \"6h\"\ntimeout = "
                                               "\"3h\"\ncommand = [\"sh\", \"-c\", \"cat " +
                                               work.path("db") + "; exit $(cat " +
                                               work.path("code") + ")\"]\n");
    write_file(work.path("db"), random_bytes_of(100'000, seed));
    write_file(work.path("code"), "0");
    holdfast.set_env({{"HOLDFAST_CONFIG", work.path("holdfast.toml")}});
    holdfast.start_under(clock.wrapper());
    holdfast.start({});
  }
  void live(unsigned hour) {
    INFO("hour " << hour);
    if (hour == 3) restart_killed();
    if (hour == 6) clock.set(clock.shift_ns() + 3 * kHour);
    if (hour == 7) clock.set(clock.shift_ns() - 3 * kHour);
    if (hour == 9) holdfast.stop();
    if (hour == 11) lose_root();
    if (hour == 14) write_file(work.path("code"), "7");
    if (hour == 16) fill_disk();
    if (hour == 21) write_file(work.path("code"), "0");
    churn_.steps(40);
    if (hour == 9) holdfast.start({});
    if (hour == 20) restart_with_clock_set_back();
    end_of_hour();
  }
  void require_kept();

  WorkDir work;
  const LoopMount disk{work, "disk", 256 * kMiB};
  const std::string root = work.make("data");
  Holdfast holdfast{disk.path() + "/state"};
  ShiftedClock clock{work, until_ten_past_midnight()};

 private:
  std::vector<TestJson> scheduled() const {
    std::vector<TestJson> found = holdfast.lines({"snapshots"});
    std::erase_if(found, [](const TestJson& each) {
      return each.at("message").get<std::string>() != "by schedule";
    });
    return found;
  }
  void end_of_hour() {
    const uint64_t seq = holdfast.flush();
    churn_.flushed();
    clock.pass(kHour);
    wait_until("the hour's snapshot", [&] {
      for (const TestJson& each : scheduled()) {
        const auto taken = each.at("seq").get<uint64_t>();
        if (taken < seq) continue;
        trees_[taken] = read_tree(root);  // nothing has changed since the flush
        return true;
      }
      return false;
    });
  }
  void require_restores(uint64_t seq, const Tree& tree) const {
    const std::string target = work.path("restored");
    const TestJson result = holdfast.json({"restore", "data:", "--at", at(seq), "--to", target});
    INFO("restored " << at(seq) << ": " << result.dump());
    REQUIRE(result.at("failed").empty());
    REQUIRE(differences(tree, read_tree(target)) == "");
    fs::remove_all(target);
  }
  void restart_killed() {
    churn_.steps(30);
    holdfast.kill();
    churn_.steps(5);
    holdfast.start({});
  }
  void restart_with_clock_set_back() {
    holdfast.kill();
    clock.set(clock.shift_ns() - 2 * kHour);
    holdfast.start({});
  }
  void lose_root() {
    rename_path(root, work.path("elsewhere"));
    const auto check = [&] { return holdfast.run({"status", "--check"}); };
    wait_until("the loss of the root", [&] { return check().exit_code == 3; });
    clock.pass(kHour);
    REQUIRE_THAT(check().out + check().err, Contains("data"));
    rename_path(work.path("elsewhere"), root);
    wait_until("the root's return", [&] {
      return holdfast.json({"status"}).at("problems").dump().find("lost") == std::string::npos;
    });
  }
  void fill_disk() {
    const std::string ballast = disk.path() + "/ballast";
    const uint64_t free = fs::space(disk.path()).available;
    write_file(ballast, random_bytes_of(free > 2 * kMiB ? free - 2 * kMiB : 0, 1));
    for (unsigned i = 0; i < 3; ++i) {
      write_file(root + "/large" + std::to_string(i), random_bytes_of(2 * kMiB, i));
    }
    const Outcome refused = holdfast.run({"flush", "--timeout", "60s"});
    INFO(refused.err);
    REQUIRE(refused.exit_code == 1);
    clock.pass(kHour);
    fs::remove(ballast);
    wait_until("the end of the full disk", [&] {
      return holdfast.run({"flush", "--timeout", "60s"}).exit_code == 0;
    });
  }

  std::map<uint64_t, Tree> trees_;  // by the sequence of the snapshot that ended the hour
  Churn churn_;
};

void Day::require_kept() {
  std::set<uint64_t> there;
  for (const TestJson& snapshot : scheduled()) there.insert(snapshot.at("seq").get<uint64_t>());
  REQUIRE(trees_.size() == kHours);
  for (const auto& [seq, tree] : trees_) {
    REQUIRE(there.contains(seq));
    require_restores(seq, tree);
  }
  require_restores(holdfast.flush(), read_tree(root));
}

}  // namespace

TEST_CASE("a day of steps, failures and restarts keeps every hour", "[day]") {
  if (!is_root_for("mounting a small file system to fill")) return;
  Day day(announced_seed("day"));
  for (unsigned hour = 0; hour < kHours; ++hour) day.live(hour);

  const Holdfast& holdfast = day.holdfast;
  day.require_kept();
  // The first prune comes a day after the schedule has looked for the first time.
  wait_until("the schedule", [&] { return exists(holdfast.state() + "/pruned"); });
  day.clock.pass(24 * kHour);
  wait_until("the day's prune", [&] {
    return day.holdfast.service().error_output().find("pruned: ") != std::string::npos;
  });
  day.require_kept();

  // The dump of each span of six hours; the one that failed is not taken as good.
  const TestJson dump = holdfast.json({"status"}).at("dumps").at(0);
  INFO(dump.dump());
  REQUIRE(dump.at("last").at("outcome") == "ok");
  size_t good = 0, failed = 0;
  std::string told;
  for (const TestJson& record : holdfast.lines({"log", "--kind", "dump"})) {
    const TestJson& flags = record.at("flags");
    const bool rejected = std::find(flags.begin(), flags.end(), "rejected") != flags.end();
    (rejected ? failed : good) += 1;
    told += record.dump() + "\n";
  }
  INFO(told);
  REQUIRE(failed == 1);
  REQUIRE(good >= 4);

  // Steps of the wall clock are told, and nothing else is taken for one. No file looks damaged.
  size_t steps = 0;
  for (const TestJson& record : holdfast.lines({"log", "--kind", "clock_step"})) {
    INFO(record.dump());
    const int64_t amount = std::abs(record.at("amount_ns").get<int64_t>());
    REQUIRE((std::abs(amount - 3 * kHour) < 60 * kSecond ||
             std::abs(amount - 2 * kHour) < 60 * kSecond));
    ++steps;
  }
  REQUIRE(steps == 3);
  for (const TestJson& record : holdfast.lines({"log"})) {
    INFO(record.dump());
    const auto verdict = verdict_of(record.value("verdict", "none"));
    REQUIRE((verdict && !stands(*verdict)));
  }
  const TestJson status = holdfast.json({"status"});
  INFO(status.dump() << "\nthe service said:\n" << day.holdfast.service().error_output());
  // (A scrub may meet what is being changed, so its problems need not be none.)
  REQUIRE(status.at("scrub").at("finished").is_string());
  REQUIRE(status.at("verdicts").empty());
  for (const TestJson& finding : status.at("findings")) {
    // The kernel stamps files with the time that it has, which is days behind the service's; and
    // the scrub, which a day was skipped for just now, looks at the time less often.
    REQUIRE((finding.at("check") == "clock" || finding.at("check") == "scrub"));
  }
  day.holdfast.stop();
  holdfast.require_clean(true);
}

}  // namespace holdfast
