// What changes while no service runs is found at the next start, journaled as found late, and never
// taken for something that was always so.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/churn.h"
#include "tests/support/holdfast_run.h"

namespace holdfast {
namespace {

bool is_offline(const TestJson& record) {
  const TestJson& flags = record.at("flags");
  return std::find(flags.begin(), flags.end(), "offline") != flags.end();
}

TestJson last_of(const Holdfast& holdfast, const std::string& path) {
  return holdfast.lines({"history", path}).back();
}

}  // namespace

TEST_CASE("changes made while the service is off are journaled as found late", "[offline]") {
  WorkDir work;
  const std::string root = work.make("data");
  make_dir(root + "/dir");
  write_file(root + "/dir/changed", "before");
  write_file(root + "/deleted", "gone soon");
  write_file(root + "/renamed", "moves");
  write_file(root + "/mode", "same");
  write_file(root + "/untouched", "same");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t before = holdfast.flush();
  const Tree old_tree = read_tree(root);
  SECTION("stopped") { holdfast.stop(); }
  SECTION("killed") { holdfast.kill(); }

  write_file(root + "/dir/changed", "after, and longer");
  write_file(root + "/created", "new");
  REQUIRE(::unlink((root + "/deleted").c_str()) == 0);
  rename_path(root + "/renamed", root + "/dir/renamed");
  REQUIRE(::chmod((root + "/mode").c_str(), 0600) == 0);
  holdfast.start({"data=" + root});
  const uint64_t after = holdfast.flush();

  const TestJson changed = last_of(holdfast, "data:dir/changed");
  REQUIRE(changed.at("kind") == "modify");
  REQUIRE(changed.at("verdict") == "modified_offline");
  REQUIRE(changed.at("prev").at("size") == 6);
  REQUIRE(changed.at("prev").at("hash") != changed.at("hash"));
  for (const std::string path : {"dir/changed", "created", "deleted", "dir/renamed", "mode"}) {
    INFO(path);
    REQUIRE(is_offline(last_of(holdfast, "data:" + path)));
  }
  REQUIRE(last_of(holdfast, "data:deleted").at("kind") == "delete");
  REQUIRE(last_of(holdfast, "data:dir/renamed").at("kind") == "rename");
  REQUIRE(holdfast.lines({"history", "data:untouched"}).size() == 1);
  REQUIRE(holdfast.lines({"log", "--kind", "gap", "--since", at(before + 1)}).size() == 1);
  holdfast.require_restores(work, before, old_tree);
  holdfast.require_restores(work, after, read_tree(root));
  holdfast.stop();
}

TEST_CASE("any amount of change while the service is off is found", "[offline]") {
  const unsigned seed = announced_seed("offline");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  WorkDir work;
  const std::string root = work.make("data");
  Churn churn(root, work.make("outside"), seed);
  churn.steps(150);
  Holdfast holdfast(work.path("state"));
  for (int round = 0; round < 4; ++round) {
    holdfast.start({"data=" + root});
    const uint64_t seq = holdfast.flush();
    churn.flushed();
    holdfast.require_restores(work, seq, read_tree(root));
    holdfast.stop();
    churn.steps(150);
  }
  // A start that finds nothing new journals nothing but itself.
  holdfast.start({"data=" + root});
  const uint64_t settled = holdfast.flush();
  holdfast.stop();
  holdfast.start({"data=" + root});
  holdfast.flush();
  for (const TestJson& record : holdfast.lines({"log", "--since", at(settled + 1)})) {
    INFO(record.dump());
    REQUIRE((record.at("kind") == "service" || record.at("kind") == "gap"));
  }
  holdfast.stop();
}

}  // namespace holdfast
