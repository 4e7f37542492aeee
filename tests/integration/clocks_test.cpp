// Clocks that are wrong: the machine's own is set while files change or while no service runs, the
// one that stamps files is not the machine's, a program writes times of its own. libfaketime moves
// the service's wall clock and nothing else: the kernel stamps files by the real one.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "tests/support/holdfast_run.h"
#include "tests/support/mounts.h"

namespace holdfast {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// Where Debian's package libfaketime has it; "" says in the output why the test is left out.
std::string faketime_library() {
  if (binary_is_sanitized()) {
    WARN(
        "left out: a sanitizer's runtime must come first, and does not bear libfaketime before it");
    return "";
  }
  for (const char* dir : {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"}) {
    const std::string path = std::string(dir) + "/faketime/libfaketimeMT.so.1";
    if (exists(path)) return path;
  }
  if (const char* ci = std::getenv("CI"); ci != nullptr && std::string(ci) == "true") {
    FAIL("libfaketime is not installed, but CI must test steps of the clock");
  }
  WARN("left out: libfaketime is not installed (Debian's package faketime)");
  return "";
}

// A wall clock that the service sees, and that a test sets.
class FakeClock {
 public:
  FakeClock(const WorkDir& work, std::string library)
      : file_(work.path("clock")), library_(std::move(library)) {
    set(0);
  }
  void set(int64_t offset_s) {
    offset_s_ = offset_s;
    char text[32];
    std::snprintf(text, sizeof text, "%+lld\n", static_cast<long long>(offset_s));
    // Whole or not at all: the service may read it at any moment.
    write_file(file_ + ".new", text);
    rename_path(file_ + ".new", file_);
  }
  // What the service's clock says now.
  int64_t now_ns() const {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t{now.tv_sec} + offset_s_) * kSecond + now.tv_nsec;
  }
  std::vector<std::pair<std::string, std::string>> env() const {
    return {{"LD_PRELOAD", library_},   {"FAKETIME_TIMESTAMP_FILE", file_},
            {"FAKETIME_NO_CACHE", "1"}, {"FAKETIME_DONT_FAKE_MONOTONIC", "1"},
            {"NO_FAKE_STAT", "1"},      {"FAKE_UTIME", "0"}};
  }

 private:
  std::string file_, library_;
  int64_t offset_s_ = 0;
};

std::string rfc3339(int64_t ns) {
  const time_t seconds = ns / kSecond;
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%09lldZ", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<long long>(ns % kSecond));
  return text;
}

std::vector<TestJson> of_kind(const Holdfast& holdfast, const std::string& kind) {
  return holdfast.lines({"log", "--kind", kind});
}

bool has_flag(const TestJson& record, const std::string& flag) {
  const TestJson& flags = record.at("flags");
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

// Sequence without holes, logical time strictly increasing, whatever the clock did.
void require_order(const Holdfast& holdfast) {
  uint64_t seq = 0;
  std::string time;
  for (const TestJson& record : holdfast.lines({"log"})) {
    INFO(record.dump());
    REQUIRE(record.at("seq") == ++seq);
    REQUIRE(record.at("time").get<std::string>() > time);
    time = record.at("time").get<std::string>();
  }
}

std::string content_at(const Holdfast& holdfast, const std::string& moment) {
  return holdfast.text({"cat", "data:file", "--at", moment});
}

int64_t amount_of(const TestJson& record) { return record.at("amount_ns").get<int64_t>(); }

// Within what a test may take from one moment to the next.
bool near(int64_t amount_ns, int64_t seconds) {
  return std::abs(amount_ns - seconds * kSecond) < 30 * kSecond;
}

struct Watched {
  explicit Watched(const std::string& library) : clock(work, library) {
    root = work.make("data");
    write_file(root + "/file", "first");
    holdfast.set_env(clock.env());
    holdfast.start({"data=" + root});
    first_seq = holdfast.flush();
    first_ns = clock.now_ns();
  }
  uint64_t write(const std::string& content) {
    write_file(root + "/file", content);
    return holdfast.flush();
  }
  WorkDir work;
  FakeClock clock;
  std::string root;
  Holdfast holdfast{work.path("state")};
  uint64_t first_seq = 0;
  int64_t first_ns = 0;
};

}  // namespace

TEST_CASE("a clock that is set back is one record, and no order is lost", "[clocks]") {
  const std::string library = faketime_library();
  if (library.empty()) return;
  Watched watched(library);
  Holdfast& holdfast = watched.holdfast;
  watched.clock.set(-3600);
  const uint64_t second_seq = watched.write("second");
  const uint64_t third_seq = watched.write("third");

  const auto steps = of_kind(holdfast, "clock_step");
  REQUIRE(steps.size() == 1);
  INFO(steps[0].dump());
  REQUIRE(near(amount_of(steps[0]), -3600));
  REQUIRE(steps[0].at("seq").get<uint64_t>() > watched.first_seq);
  REQUIRE(steps[0].at("seq").get<uint64_t>() < second_seq);
  require_order(holdfast);
  const TestJson status = holdfast.json({"status"});
  REQUIRE(status.at("clock").at("steps") == 1);
  REQUIRE(near(status.at("clock").at("last_step_ns").get<int64_t>(), -3600));

  // By the new clock that moment is still to come, so it is the one before the step.
  REQUIRE(content_at(holdfast, rfc3339(watched.first_ns)) == "first");
  REQUIRE(content_at(holdfast, rfc3339(watched.clock.now_ns())) == "third");
  REQUIRE(content_at(holdfast, at(second_seq)) == "second");

  SECTION("and by and by the same time is there again") {
    watched.clock.set(0);
    const uint64_t fourth_seq = watched.write("fourth");
    REQUIRE(of_kind(holdfast, "clock_step").size() == 2);
    const std::string moment = rfc3339(watched.first_ns);
    const Outcome refused = holdfast.run({"cat", "data:file", "--at", moment});
    INFO(refused.err);
    REQUIRE(refused.exit_code == 2);
    // The candidates are named, and each is one of the two contents that were there then.
    std::vector<std::string> contents;
    std::string rest = refused.err.substr(refused.err.find("say which:"));
    for (size_t mark = rest.find('@'); mark != std::string::npos; mark = rest.find('@')) {
      rest.erase(0, mark + 1);
      contents.push_back(content_at(holdfast, "@" + std::to_string(std::stoull(rest))));
    }
    REQUIRE(contents == std::vector<std::string>{"first", "third"});
    REQUIRE(content_at(holdfast, at(fourth_seq)) == "fourth");
    require_order(holdfast);
  }
  SECTION("and each flushed moment is restored") {
    for (const auto& [seq, content] :
         {std::pair{watched.first_seq, "first"}, std::pair{second_seq, "second"},
          std::pair{third_seq, "third"}}) {
      const std::string target = watched.work.path("out-" + std::to_string(seq));
      holdfast.json({"restore", "--at", at(seq), "--to", target});
      REQUIRE(read_file(target + "/file") == content);
    }
    holdfast.require_clean();
  }
  holdfast.stop();
}

TEST_CASE("a clock that is set forward leaves an hour in which nothing happened", "[clocks]") {
  const std::string library = faketime_library();
  if (library.empty()) return;
  Watched watched(library);
  Holdfast& holdfast = watched.holdfast;
  watched.clock.set(3600);
  watched.write("second");
  const auto steps = of_kind(holdfast, "clock_step");
  REQUIRE(steps.size() == 1);
  REQUIRE(near(amount_of(steps[0]), 3600));
  require_order(holdfast);
  REQUIRE(content_at(holdfast, rfc3339(watched.first_ns)) == "first");
  REQUIRE(content_at(holdfast, rfc3339(watched.first_ns + 1800 * kSecond)) == "first");
  REQUIRE(content_at(holdfast, rfc3339(watched.clock.now_ns())) == "second");
  holdfast.stop();
}

TEST_CASE("a clock that was set while no service ran is one record", "[clocks]") {
  const std::string library = faketime_library();
  if (library.empty()) return;
  const int64_t step_s = GENERATE(as<int64_t>(), -7200, 7200);
  INFO("a step of " << step_s << " s");
  Watched watched(library);
  Holdfast& holdfast = watched.holdfast;
  SECTION("stopped") { holdfast.stop(); }
  SECTION("killed") { holdfast.kill(); }
  watched.clock.set(step_s);
  write_file(watched.root + "/file", "second");
  holdfast.start({"data=" + watched.root});
  holdfast.flush();
  const auto steps = of_kind(holdfast, "clock_step");
  REQUIRE(steps.size() == 1);
  REQUIRE(near(amount_of(steps[0]), step_s));
  // How long it was off is told by the boot clock, which was not set.
  const TestJson offline = holdfast.json({"status"}).at("offline");
  REQUIRE(offline.at("seconds").get<int64_t>() < 60);
  REQUIRE(offline.at("changed") == 1);
  require_order(holdfast);
  holdfast.stop();
  holdfast.start({"data=" + watched.root});
  holdfast.flush();
  REQUIRE(of_kind(holdfast, "clock_step").size() == 1);
  holdfast.stop();
}

TEST_CASE("a file server's clock that is ahead is one record, not one a file", "[clocks]") {
  const std::string library = faketime_library();
  if (library.empty()) return;
  WorkDir work;
  FakeClock clock(work, library);
  clock.set(-90);  // the files' stamps are 90 s ahead of the service
  std::string root;
  std::unique_ptr<LoopMount> mount;
  std::string of;
  SECTION("seen by a probe beside the state") {
    root = work.make("data");
    of = "file_system";
  }
  SECTION("seen in the files, where no probe is possible") {
    if (!is_root_for("a root on a file system of its own")) return;
    mount = std::make_unique<LoopMount>(work, "mount", 16u << 20);
    root = mount->path() + "/data";
    make_dir(root);
    of = "writer";
  }
  Holdfast holdfast(work.path("state"));
  holdfast.set_env(clock.env());
  holdfast.start({"data=" + root});
  holdfast.flush();
  for (int i = 0; i < 12; ++i) {
    write_file(root + "/" + std::to_string(i), "content");
    holdfast.flush();
  }
  for (int i = 0; i < 12; ++i) append_file(root + "/" + std::to_string(i), "more");
  holdfast.flush();
  const auto skews = of_kind(holdfast, "clock_skew");
  REQUIRE(skews.size() == 1);
  INFO(skews[0].dump());
  REQUIRE(std::abs(amount_of(skews[0]) - 90 * kSecond) < 2 * kSecond);
  REQUIRE(skews[0].at("root") == "data");
  REQUIRE(of_kind(holdfast, "clock_step").empty());
  // Once the skew is known, what was written just now does not look like the future.
  REQUIRE_FALSE(has_flag(holdfast.lines({"history", "data:11"}).back(), "future_mtime"));

  const TestJson status = holdfast.json({"status"});
  REQUIRE(status.at("clock").at("skews").size() == 1);
  REQUIRE(status.at("clock").at("skews")[0].at("of") == of);
  REQUIRE_FALSE(status.at("healthy").get<bool>());
  REQUIRE(status.at("problems").dump().find(" ahead of this machine's") != std::string::npos);
  holdfast.stop();
}

TEST_CASE("an mtime ahead of the file system's clock is flagged", "[clocks]") {
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  write_file(root + "/now", "x");
  write_file(root + "/future", "x");
  run_tool({"touch", "-d", "2099-01-01", root + "/future"});
  write_file(root + "/past", "x");
  run_tool({"touch", "-d", "1999-01-01", root + "/past"});
  holdfast.flush();
  const auto flagged = [&](const std::string& name) {
    return has_flag(holdfast.lines({"history", "data:" + name}).back(), "future_mtime");
  };
  REQUIRE(flagged("future"));
  REQUIRE(has_flag(holdfast.lines({"history", "data:future"}).back(), "mtime_set"));
  REQUIRE_FALSE(flagged("now"));
  REQUIRE_FALSE(flagged("past"));
  // A program set them: nothing is wrong with a clock.
  REQUIRE(of_kind(holdfast, "clock_skew").empty());
  REQUIRE(holdfast.json({"status"}).at("healthy").get<bool>());
  holdfast.stop();
}

TEST_CASE("stamps that are behind count only where a known file was changed", "[clocks]") {
  const std::string library = faketime_library();
  if (library.empty() || !is_root_for("a root on a file system of its own")) return;
  WorkDir work;
  FakeClock clock(work, library);
  clock.set(3600);
  const LoopMount mount(work, "mount", 16u << 20);
  const std::string root = mount.path() + "/data";
  make_dir(root);
  make_dir(mount.path() + "/dir");
  for (int i = 0; i < 6; ++i) write_file(mount.path() + "/dir/" + std::to_string(i), "old");
  Holdfast holdfast(work.path("state"));
  holdfast.set_env(clock.env());
  holdfast.start({"data=" + root});
  holdfast.flush();
  // What is moved or put here may be as old as it looks.
  rename_path(mount.path() + "/dir", root + "/dir");
  for (int i = 0; i < 6; ++i) write_file(root + "/" + std::to_string(i), "new");
  holdfast.flush();
  REQUIRE(of_kind(holdfast, "clock_skew").empty());
  // Opened for writing and closed again: an event, and no change.
  for (int i = 0; i < 6; ++i) append_file(root + "/dir/" + std::to_string(i), "");
  holdfast.flush();
  REQUIRE(of_kind(holdfast, "clock_skew").empty());
  for (int i = 0; i < 6; ++i) append_file(root + "/dir/" + std::to_string(i), "more");
  holdfast.flush();
  const auto skews = of_kind(holdfast, "clock_skew");
  REQUIRE(skews.size() == 1);
  INFO(skews[0].dump());
  REQUIRE(near(amount_of(skews[0]), -3600));
  holdfast.stop();
}

TEST_CASE("a volume whose times all moved by one amount has one record of it", "[clocks]") {
  if (!is_root_for("a file system of its own")) return;
  WorkDir work;
  const LoopMount mount(work, "mount", 16u << 20);
  const std::string root = mount.path() + "/data";
  make_dir(root);
  const auto name = [](int i) { return "file" + std::to_string(i); };
  for (int i = 0; i < 6; ++i) write_file(root + "/" + name(i), "content " + std::to_string(i));
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t before = holdfast.flush();
  holdfast.stop();

  const int moved = GENERATE(6, 5);  // all of them, or all but one
  std::string commands;
  for (int i = 0; i < moved; ++i) {
    struct stat st {};
    REQUIRE(::stat((root + "/" + name(i)).c_str(), &st) == 0);
    for (const auto& [field, seconds] :
         {std::pair{"mtime", st.st_mtim.tv_sec}, std::pair{"ctime", st.st_ctim.tv_sec}}) {
      commands += std::string("set_inode_field /data/") + name(i) + " " + field + " @" +
                  std::to_string(seconds - 3600) + "\n";
    }
  }
  write_file(work.path("commands"), commands);
  run_tool({"umount", mount.path()});
  run_tool({"debugfs", "-w", "-f", work.path("commands"), work.path("mount.img")});
  run_tool({"mount", "-o", "loop", work.path("mount.img"), mount.path()});

  holdfast.start({"data=" + root});
  holdfast.flush();
  const auto shifts = of_kind(holdfast, "volume_time_shift");
  REQUIRE(shifts.size() == (moved == 6 ? 1 : 0));
  if (moved == 6) {
    INFO(shifts[0].dump());
    REQUIRE(amount_of(shifts[0]) == -3600 * kSecond);
    REQUIRE(shifts[0].at("root") == "data");
  }
  // Each has its times, and none a verdict that would alarm anybody.
  size_t records = 0;
  for (const TestJson& record : holdfast.lines({"log", "--since", at(before + 1)})) {
    if (!record.contains("type") || record.at("type") != "file") continue;
    INFO(record.dump());
    REQUIRE(record.at("verdict") == "time_only");
    ++records;
  }
  REQUIRE(records == static_cast<size_t>(moved));
  holdfast.stop();
}

TEST_CASE("what happened while the service was off has one summary", "[clocks]") {
  WorkDir work;
  const std::string root = work.make("data");
  for (int i = 0; i < 4; ++i) write_file(root + "/changed" + std::to_string(i), "before");
  for (int i = 0; i < 3; ++i) write_file(root + "/gone" + std::to_string(i), "before");
  write_file(root + "/renamed", "moves");
  write_file(root + "/mode", "same");
  write_file(root + "/untouched", "same");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t before = holdfast.flush();
  // The first start of all has nothing to compare with.
  REQUIRE_FALSE(holdfast.json({"status"}).contains("offline"));
  const bool killed = GENERATE(true, false);
  if (killed) holdfast.kill();
  if (!killed) holdfast.stop();

  for (int i = 0; i < 4; ++i) write_file(root + "/changed" + std::to_string(i), "after, longer");
  for (int i = 0; i < 3; ++i) REQUIRE(::unlink((root + "/gone" + std::to_string(i)).c_str()) == 0);
  write_file(root + "/new1", "new");
  write_file(root + "/new2", "new");
  rename_path(root + "/renamed", root + "/elsewhere");
  REQUIRE(::chmod((root + "/mode").c_str(), 0600) == 0);
  holdfast.start({"data=" + root});
  const uint64_t after = holdfast.flush();

  const std::string expected = "4 changed, 2 new, 3 gone, 1 moved, 1 with other attributes";
  const TestJson offline = holdfast.json({"status"}).at("offline");
  INFO(offline.dump());
  REQUIRE(offline.at("finished").get<bool>());
  REQUIRE(offline.at("at_most").get<bool>() == killed);
  REQUIRE(offline.at("changed") == 4);
  REQUIRE(offline.at("created") == 2);
  REQUIRE(offline.at("deleted") == 3);
  REQUIRE(offline.at("moved") == 1);
  REQUIRE(offline.at("attrib") == 1);
  REQUIRE(offline.at("verdicts").empty());
  REQUIRE(offline.at("from").get<std::string>() < offline.at("until").get<std::string>());
  const auto words = offline.at("words").get<std::string>();
  REQUIRE(words.find("while the service was off, ") == 0);
  REQUIRE((words.find("at most") != std::string::npos) == killed);
  REQUIRE(words.find(": " + expected) != std::string::npos);
  REQUIRE(holdfast.text({"status"}).find(words) != std::string::npos);
  REQUIRE(holdfast.service().wait_for_error(words));
  // Durable with the flush that covers what it tells of.
  std::vector<TestJson> notes;
  for (const TestJson& record : holdfast.lines({"log", "--kind", "service"})) {
    if (record.value("note", "") == words) notes.push_back(record);
  }
  REQUIRE(notes.size() == 1);
  REQUIRE(notes[0].at("seq").get<uint64_t>() <= after);
  for (int i = 0; i < 4; ++i) {
    const TestJson changed = holdfast.lines({"history", "data:changed" + std::to_string(i)}).back();
    REQUIRE(changed.at("verdict") == "modified_offline");
    REQUIRE(changed.at("prev").at("hash") != changed.at("hash"));
    REQUIRE(changed.at("seq").get<uint64_t>() > before);
  }
  // What changes now is not of that time.
  write_file(root + "/changed0", "while it runs");
  holdfast.flush();
  REQUIRE(holdfast.json({"status"}).at("offline").at("changed") == 4);
  holdfast.stop();
  holdfast.start({"data=" + root});
  holdfast.flush();
  REQUIRE(holdfast.service().wait_for_error(": nothing changed"));
  holdfast.stop();
}

}  // namespace holdfast
