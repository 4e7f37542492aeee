// prune: whatever it leaves, every kept moment restores; killed at any point, the state is whole.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "tests/support/churn.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

const std::vector<std::string> kNow{"prune",   "--all",   "0s",       "--hourly", "0",
                                    "--daily", "0",       "--weekly", "0",        "--monthly",
                                    "0",       "--grace", "0s"};

TestJson prune(const Holdfast& holdfast, uint64_t last = 1) {
  std::vector<std::string> args = kNow;
  args.insert(args.end(), {"--last", std::to_string(last)});
  return holdfast.json(args);
}

uint64_t pack_bytes(const Holdfast& holdfast) {
  return holdfast.json({"status"}).at("store").at("bytes").get<uint64_t>();
}

}  // namespace

TEST_CASE("prune drops what no kept moment sees, and nothing else", "[prune]") {
  Watched w;
  std::map<std::string, std::string> first, second;
  for (int i = 0; i < 40; ++i) {
    const std::string name = "f" + std::to_string(i);
    first[name] = random_bytes_of(20'000, static_cast<unsigned>(i));
    write_file(w.in(name), first[name]);
  }
  const uint64_t begin = w.holdfast.flush();
  const Tree at_begin = read_tree(w.root);
  for (auto& [name, content] : first) {
    second[name] = random_bytes_of(20'000, 1000 + static_cast<unsigned>(second.size()));
    write_file(w.in(name), second[name]);
  }
  const uint64_t middle = w.holdfast.flush();
  for (auto& [name, content] : first) write_file(w.in(name), "small " + name);
  w.holdfast.flush();
  const uint64_t before = pack_bytes(w.holdfast);

  SECTION("a dry run drops nothing and says what would go") {
    std::vector<std::string> dry = kNow;
    dry.insert(dry.end(), {"--last", "1", "--dry-run"});
    const TestJson result = w.holdfast.json(dry);
    REQUIRE(result.at("dead_bytes").get<uint64_t>() > 1'500'000);
    REQUIRE(result.at("packs_rewritten") == 1);
    REQUIRE(pack_bytes(w.holdfast) == before);
    w.holdfast.require_restores(w.work, begin, at_begin);
  }
  SECTION("moments that nobody keeps lose their contents, and say so") {
    const TestJson result = prune(w.holdfast);
    INFO(result.dump());
    REQUIRE(result.at("bytes_freed").get<uint64_t>() > 1'500'000);
    REQUIRE(pack_bytes(w.holdfast) < before / 4);
    const Outcome gone = w.holdfast.run({"cat", "data:f1", "--at", at(middle)});
    REQUIRE(gone.exit_code == 4);
    REQUIRE(gone.err.find("pruned") != std::string::npos);
    w.require_present();
    // The records are there, and tell that the content is not.
    const auto history = w.holdfast.lines({"history", "data:f1"});
    REQUIRE(history.front().at("stored") == false);
    REQUIRE(history.back().at("stored") == true);
  }
  SECTION("newest contents of files that are there stay") {
    prune(w.holdfast, 2);
    REQUIRE((w.content("f1", middle) == second["f1"]));
    REQUIRE(w.holdfast.run({"cat", "data:f1", "--at", at(begin)}).exit_code == 4);
  }
  SECTION("by default everything of the last days stays") {
    w.holdfast.json({"prune", "--grace", "0s"});
    w.holdfast.require_restores(w.work, begin, at_begin);
  }
  w.holdfast.require_clean(true);
  w.holdfast.stop();
  w.holdfast.require_clean(true);
}

TEST_CASE("what is pruned is stored again when it comes back", "[prune]") {
  Watched w;
  const std::string content = random_bytes_of(300'000, 7);
  write_file(w.in("file"), content);
  w.holdfast.flush();
  write_file(w.in("file"), "short");
  w.holdfast.flush();
  prune(w.holdfast);
  write_file(w.in("back"), content);
  w.holdfast.flush();
  REQUIRE((w.content("back") == content));
  prune(w.holdfast);
  REQUIRE((w.content("back") == content));
  w.holdfast.require_clean(true);
}

TEST_CASE("a frame with little that is dead is kept whole, and not written anew again", "[prune]") {
  constexpr unsigned kFiles = 60;
  const auto content = [](unsigned i) { return random_bytes_of(4000, i); };
  Watched w;
  make_dir(w.out("dir"));
  for (unsigned i = 0; i < kFiles; ++i) write_file(w.out("dir/" + std::to_string(i)), content(i));
  rename_path(w.out("dir"), w.in("dir"));  // all at once, and so in one frame
  write_file(w.in("large"), random_bytes_of(300'000, 1000));
  const uint64_t begin = w.holdfast.flush();
  run_tool({"rm", w.in("dir/7"), w.in("large")});
  w.holdfast.flush();
  REQUIRE(prune(w.holdfast).at("packs_rewritten") == 1);
  // Its neighbours are needed, and a pack may hold what is not.
  REQUIRE((w.content("dir/7", begin) == content(7)));
  REQUIRE(w.holdfast.run({"cat", "data:large", "--at", at(begin)}).exit_code == 4);
  const TestJson again = prune(w.holdfast);
  REQUIRE(again.at("packs_rewritten") == 0);
  REQUIRE(again.at("dead_bytes").get<uint64_t>() > 1000);
  w.holdfast.require_clean(true);

  // It comes back, and is found where it is; others go, until the frame is worth it.
  write_file(w.in("back"), content(7));
  for (unsigned i = 10; i < 30; ++i) run_tool({"rm", w.in("dir/" + std::to_string(i))});
  w.holdfast.flush();
  REQUIRE(prune(w.holdfast).at("packs_rewritten") > 0);
  REQUIRE((w.content("back") == content(7)));
  REQUIRE(w.holdfast.run({"cat", "data:dir/11", "--at", at(begin)}).exit_code == 4);
  w.require_present();
  w.holdfast.require_clean(true);
  w.holdfast.stop();
  w.holdfast.text({"rebuild"});
  w.holdfast.require_clean(true);
  REQUIRE((w.content("back") == content(7)));
}

TEST_CASE("what comes back while it is being pruned is there afterwards", "[prune]") {
  constexpr unsigned kFiles = 3000;
  Watched w;
  for (unsigned round = 0; round < 3; ++round) {
    const auto content = [&](unsigned i) { return random_bytes_of(1500, round * kFiles + i); };
    make_dir(w.in("old"));
    for (unsigned i = 0; i < kFiles; ++i) write_file(w.in("old/" + std::to_string(i)), content(i));
    w.holdfast.flush();
    run_tool({"rm", "-r", w.in("old")});
    const std::string back = w.in("back" + std::to_string(round));
    make_dir(back);
    w.holdfast.flush();
    // While it marks, copies, moves and drops, the contents that go are needed again.
    Command command;
    command.args = {holdfast_binary(), "--state", w.holdfast.state()};
    command.args.insert(command.args.end(), kNow.begin(), kNow.end());
    Process pruning(command);
    for (unsigned i = 0; i < kFiles && pruning.running(); ++i) {
      write_file(back + "/" + std::to_string(i), content(i));
    }
    REQUIRE(pruning.wait().exit_code == 0);
    w.holdfast.flush();
    w.holdfast.require_clean(true);
    w.require_present();
  }
}

TEST_CASE("without a service prune works as well", "[prune]") {
  Watched w;
  for (int i = 0; i < 5; ++i) {
    write_file(w.in("file"), random_bytes_of(200'000, static_cast<unsigned>(i)));
    w.holdfast.flush();
  }
  w.holdfast.stop();
  const uint64_t before = pack_bytes(w.holdfast);
  REQUIRE(prune(w.holdfast).at("bytes_freed").get<uint64_t>() > 700'000);
  REQUIRE(pack_bytes(w.holdfast) < before / 2);
  w.holdfast.require_clean(true);
  REQUIRE(w.content("file") == read_file(w.in("file")));
}

TEST_CASE("every pinned moment survives any number of prunes", "[prune]") {
  const unsigned seed = announced_seed("prune");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  WorkDir work;
  const std::string root = work.make("data");
  Churn churn(root, work.make("outside"), seed);
  churn.steps(150);
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  BackgroundChurn background(std::move(churn));
  std::map<std::string, std::pair<uint64_t, Tree>> pinned;  // by snapshot
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 3; ++i) {
      background.resume();
      background.wait_for_steps(20 + random() % 40);
      background.pause();
      const uint64_t seq = holdfast.flush();
      background.flushed();
      if (random() % 2 == 0) continue;
      const TestJson snapshot = holdfast.json({"snapshot"});
      REQUIRE(snapshot.at("seq").get<uint64_t>() >= seq);
      pinned[snapshot.at("name")] = {snapshot.at("seq"), read_tree(root)};
    }
    if (pinned.size() > 4) {
      auto victim = std::next(pinned.begin(), static_cast<ptrdiff_t>(random() % pinned.size()));
      holdfast.text({"snapshot", "rm", victim->first});
      pinned.erase(victim);
    }
    if (random() % 2 == 0) background.resume();  // beside the watch
    prune(holdfast, 1 + random() % 3);
    background.pause();
    if (random() % 3 == 0) {
      holdfast.kill();
      holdfast.start({"data=" + root});
    }
    holdfast.require_clean(true);
    for (const auto& [name, moment] : pinned) {
      INFO("snapshot " << name << " in round " << round);
      holdfast.require_restores(work, moment.first, moment.second);
    }
  }
  const uint64_t last = holdfast.flush();
  holdfast.require_restores(work, last, read_tree(root));
  holdfast.stop();
  // The packs alone are enough, compacted ones among them.
  holdfast.text({"rebuild"});
  holdfast.require_clean(true);
  for (const auto& [name, moment] : pinned) {
    holdfast.require_restores(work, moment.first, moment.second);
  }
}

TEST_CASE("a prune that is killed leaves every pinned moment", "[prune]") {
  const unsigned seed = announced_seed("prune kill");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  Tree tree;
  uint64_t pinned = 0;
  for (int kill = 0; kill < 6; ++kill) {
    INFO("after " << kill << " kills");
    for (int i = 0; i < 60; ++i) {
      write_file(root + "/f" + std::to_string(random() % 100),
                 random_bytes_of(random() % 60'000, static_cast<unsigned>(random())));
    }
    holdfast.flush();
    if (kill % 3 == 0) {
      pinned = holdfast.json({"snapshot"}).at("seq");
      tree = read_tree(root);
    }
    Command command;
    command.args = {holdfast_binary(), "--state", holdfast.state()};
    command.args.insert(command.args.end(), kNow.begin(), kNow.end());
    Process pruning(command);
    // Somewhere in a run of some tens of milliseconds.
    for (uint64_t turns = random() % 40; turns > 0; --turns) holdfast.json({"status"});
    holdfast.kill();
    pruning.wait();
    holdfast.start({"data=" + root});
    holdfast.require_clean(true);
    holdfast.require_restores(work, pinned, tree);
    holdfast.require_restores(work, holdfast.flush(), read_tree(root));
  }
  prune(holdfast);
  holdfast.require_clean(true);
  holdfast.require_restores(work, pinned, tree);
  holdfast.stop();
}

}  // namespace holdfast
