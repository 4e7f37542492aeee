// A journal that is made anew from the packs is the one that was lost: row by row, and in every
// answer. Whatever happens on the way, the state has the old one or the new one.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <random>

#include "tests/support/churn.h"
#include "tests/support/journal_rows.h"
#include "tests/support/rotting.h"

namespace holdfast {
namespace {

using Catch::Contains;
namespace fs = std::filesystem;

struct Moment {
  uint64_t seq = 0;
  Tree tree;
};

// What a person would look at, in one text.
std::string answers_of(const Holdfast& holdfast, const std::vector<Moment>& moments) {
  std::string text = holdfast.text({"log", "--json"}) + holdfast.text({"snapshots", "--json"});
  for (const Moment& moment : moments) {
    text += holdfast.text({"ls", "-R", "--json", "--at", at(moment.seq)});
  }
  return text + holdfast.json({"status"}).at("roots").dump();
}

// All roots as they were; the directory that they are restored to is new each time.
Tree tree_at(const WorkDir& work, const Holdfast& holdfast, uint64_t seq) {
  const std::string out = work.path("as-it-was");
  run_tool({"rm", "-rf", "--", out});
  holdfast.text({"restore", "--at", at(seq), "--to", out});
  Tree tree = read_tree(out);
  tree.erase("");
  return tree;
}

TestJson rebuilt(const Holdfast& holdfast) { return holdfast.json({"rebuild"}); }

// Rebuilds, and compares everything with what was there before.
void require_rebuilt_alike(const WorkDir& work, const Holdfast& holdfast,
                           const std::vector<Moment>& moments) {
  holdfast.require_clean(true);
  const std::string answers = answers_of(holdfast, moments);
  const JournalRows rows = rows_of_state(work, holdfast.state());
  const TestJson result = rebuilt(holdfast);
  REQUIRE(result.at("records") == rows.at("records").size());
  REQUIRE(result.at("chunks") == rows.at("chunks").size());
  REQUIRE(row_differences(rows, rows_of_state(work, holdfast.state())) == "");
  REQUIRE(rows_of_file(work, result.at("kept").get<std::string>()) == rows);
  REQUIRE(answers_of(holdfast, moments) == answers);
  holdfast.require_clean(true);
  for (const Moment& moment : moments) {
    INFO("restored " << at(moment.seq));
    REQUIRE(differences(moment.tree, tree_at(work, holdfast, moment.seq)) == "");
  }
}

}  // namespace

TEST_CASE("a rebuilt journal is the one that was lost", "[rebuild]") {
  const unsigned seed = announced_seed("rebuild");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  WorkDir work;
  const std::string root = work.make("data"), other = work.make("other");
  Churn churn(root, work.make("outside"), seed);
  churn.steps(80);
  write_file(other + "/left-out.tmp", "not watched");
  Holdfast holdfast(work.path("state"));
  std::vector<Moment> moments;
  const std::vector<std::string> watch = {"data=" + root, "other=" + other, "--exclude",
                                          "*.tmp",        "--exclude",      "cache/"};
  for (int run = 0; run < 4; ++run) {
    holdfast.start(watch);
    for (int i = 0; i < 5; ++i) {
      churn.steps(static_cast<int>(random() % 60));
      write_file(other + "/file",
                 random_bytes_of(random() % 5000, seed + static_cast<unsigned>(i)));
      const uint64_t seq = holdfast.flush();
      churn.flushed();
      if (i % 2 == 0) moments.push_back({seq, {}});
    }
    const TestJson pinned = holdfast.json(
        {"snapshot", "-m", "of run " + std::to_string(run), "--tag", "run=" + std::to_string(run)});
    if (run == 1) write_file(root + "/large", random_bytes_of(60 << 20, seed));  // a second pack
    moments.push_back({holdfast.flush(), {}});
    if (run == 2) holdfast.text({"snapshot", "rm", pinned.at("name").get<std::string>()});
    if (run % 2 == 0) {
      holdfast.stop();
    } else {
      holdfast.kill();
    }
    churn.steps(30);  // found when it starts again
  }
  for (Moment& moment : moments) moment.tree = tree_at(work, holdfast, moment.seq);
  require_rebuilt_alike(work, holdfast, moments);
  // What is left out is known without a service, too.
  holdfast.flush();
  REQUIRE(holdfast.run({"history", "other:left-out.tmp"}).exit_code == 4);
}

TEST_CASE("verdicts that stand, heals and accepts are rebuilt", "[rebuild]") {
  if (!is_root_for("a file system of its own")) return;
  Rotting rotting;
  for (const char* name : {"a", "b", "c"}) write_file(rotting.in(name), std::string(5000, name[0]));
  rotting.start();
  for (const char* name : {"a", "b", "c"}) rotting.disk.flip_bit(rotting.in(name), 100);
  verify(rotting.holdfast, {}, 3);
  rotting.holdfast.run({"verify", "--heal", rotting.in("a")});
  rotting.holdfast.text({"accept", rotting.in("b")});
  const uint64_t seq = rotting.holdfast.flush();
  rotting.holdfast.stop();
  const JournalRows rows = rows_of_state(rotting.work, rotting.holdfast.state());
  REQUIRE(rows.at("standing").size() == 1);
  const Tree tree = tree_at(rotting.work, rotting.holdfast, seq);
  require_rebuilt_alike(rotting.work, rotting.holdfast, {{seq, tree}});
}

TEST_CASE("a rebuild that is killed leaves the old journal or the new one", "[rebuild]") {
  const unsigned seed = announced_seed("rebuild-killed");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  WorkDir work;
  const std::string root = work.make("data");
  Churn churn(root, work.make("outside"), seed);
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  for (int i = 0; i < 40; ++i) {
    churn.steps(10);
    holdfast.flush();
    churn.flushed();
  }
  const uint64_t seq = holdfast.flush();
  holdfast.stop();
  const Tree tree = read_tree(root);
  const JournalRows rows = rows_of_state(work, holdfast.state());
  const std::string file = holdfast.state() + "/journal/data.mdb";
  const std::string old = "this is no journal any more";
  write_file(file, old);

  int whole = 0, interrupted = 0;
  for (int i = 0; i < 60 && whole < 4; ++i) {
    const Process rebuild({{holdfast_binary(), "--state", holdfast.state(), "rebuild"}, "", {}, 0});
    const Outcome outcome = const_cast<Process&>(rebuild).wait(1 + static_cast<int>(random() % 60));
    INFO(outcome.out << outcome.err);
    REQUIRE((outcome.timed_out || outcome.exit_code == 0));
    ++(outcome.timed_out ? interrupted : whole);
    const bool is_old = fs::file_size(file) == old.size() && read_file(file) == old;
    if (is_old) continue;
    REQUIRE(row_differences(rows, rows_of_state(work, holdfast.state())) == "");
    write_file(file, old);
  }
  INFO(interrupted << " were interrupted, " << whole << " were not");
  REQUIRE(interrupted > 0);
  rebuilt(holdfast);
  REQUIRE_FALSE(exists(holdfast.state() + "/journal.new"));
  REQUIRE(row_differences(rows, rows_of_state(work, holdfast.state())) == "");
  holdfast.require_restores(work, seq, tree);
  holdfast.require_clean(true);
}

TEST_CASE("a rebuild needs the packs and nothing else", "[rebuild]") {
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  write_file(root + "/file", "content");
  holdfast.start({"data=" + root});
  const uint64_t seq = holdfast.flush();
  SECTION("and no service") {
    const Outcome refused = holdfast.run({"rebuild"});
    REQUIRE(refused.exit_code == 6);
    REQUIRE_THAT(refused.err, Contains("stop the service first"));
    holdfast.stop();
    return;
  }
  holdfast.stop();
  const JournalRows rows = rows_of_state(work, holdfast.state());
  const std::string header = read_file(holdfast.state() + "/repository");
  SECTION("all else is gone") {
    for (const auto& entry : fs::directory_iterator(holdfast.state())) {
      if (entry.path().filename() != "packs") fs::remove_all(entry.path());
    }
    REQUIRE(holdfast.run({"ls"}).exit_code == 1);
    REQUIRE_THAT(holdfast.run({"ls"}).err, Contains("holdfast rebuild"));
    REQUIRE(rebuilt(holdfast).at("header_written") == true);
  }
  SECTION("the header is damaged") {
    write_file(holdfast.state() + "/repository", header.substr(1));
    REQUIRE_THAT(holdfast.run({"ls"}).err, Contains("holdfast rebuild"));
    REQUIRE(rebuilt(holdfast).at("header_written") == true);
    REQUIRE(read_file(holdfast.state() + "/damaged/repository") == header.substr(1));
  }
  SECTION("the header is another one's") {
    TestJson json = TestJson::parse(header);
    json["id"] = std::string(32, '7');
    write_file(holdfast.state() + "/repository", json.dump());
    const Outcome refused = holdfast.run({"ls"});
    REQUIRE(refused.exit_code == 1);
    REQUIRE_THAT(refused.err, Contains("77777777") && Contains("holdfast rebuild"));
    rebuilt(holdfast);
  }
  REQUIRE(read_file(holdfast.state() + "/repository") == header);
  REQUIRE(row_differences(rows, rows_of_state(work, holdfast.state())) == "");
  holdfast.require_clean(true);
  holdfast.require_restores(work, seq, read_tree(root));
}

TEST_CASE("a rebuild without packs says that there is nothing to rebuild from", "[rebuild]") {
  WorkDir work;
  Holdfast holdfast(work.path("state"));
  REQUIRE(holdfast.run({"rebuild"}).exit_code == 4);
  holdfast.start({"data=" + work.make("data")});
  holdfast.flush();
  holdfast.stop();
  fs::remove_all(holdfast.state() + "/packs");
  make_dir(holdfast.state() + "/packs");
  const JournalRows rows = rows_of_state(work, holdfast.state());
  const Outcome refused = holdfast.run({"rebuild"});
  REQUIRE(refused.exit_code == 4);
  REQUIRE_THAT(refused.err, Contains("no packs"));
  REQUIRE(rows_of_state(work, holdfast.state()) == rows);
}

}  // namespace holdfast
