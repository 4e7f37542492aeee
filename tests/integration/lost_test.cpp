// A root that goes away, or comes back empty: told, never taken for a deletion, and brought back by
// a restore in place.
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/holdfast_run.h"

namespace holdfast {
namespace {

struct Lost {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};
  uint64_t before = 0;
  Tree tree;

  Lost() {
    make_dir(root + "/dir");
    write_file(root + "/dir/file", "content");
    write_file(root + "/other", "more");
    holdfast.start({"data=" + root});
    before = holdfast.flush();
    tree = read_tree(root);
  }

  void require_lost(bool serving = true) const {
    const Outcome flushed = holdfast.run({"flush"});
    INFO(flushed.err);
    REQUIRE(flushed.exit_code == 1);
    REQUIRE_THAT(flushed.err, Catch::Contains("lost") && Catch::Contains(root));
    const TestJson status = holdfast.json({"status"});
    REQUIRE(status.at("healthy") == false);
    REQUIRE(holdfast.lines({"log", "--kind", "delete"}).empty());
    if (serving) REQUIRE_FALSE(holdfast.lines({"log", "--kind", "gap"}).empty());
  }
};

}  // namespace

TEST_CASE("a root that is moved away loses nothing and is found again", "[lost]") {
  const Lost lost;
  rename_path(lost.root, lost.work.path("aside"));
  lost.require_lost();
  lost.require_lost();
  REQUIRE(lost.holdfast.lines({"log", "--kind", "gap"}).size() == 1);  // told once
  write_file(lost.work.path("aside/while away"), "unseen");
  rename_path(lost.work.path("aside"), lost.root);
  const uint64_t after = lost.holdfast.flush();
  REQUIRE(lost.holdfast.lines({"log", "--kind", "gap"}).size() == 2);
  lost.holdfast.require_restores(lost.work, lost.before, lost.tree);
  lost.holdfast.require_restores(lost.work, after, read_tree(lost.root));
  write_file(lost.root + "/dir/later", "watched again");
  lost.holdfast.require_restores(lost.work, lost.holdfast.flush(), read_tree(lost.root));
}

TEST_CASE("a root that comes back empty is restored in place", "[lost]") {
  Lost lost;
  rename_path(lost.root, lost.work.path("gone"));
  bool serving = true;
  SECTION("an empty directory stands there") { make_dir(lost.root); }
  SECTION("nothing stands there") {}
  SECTION("nothing stands there, and no service runs") {
    lost.holdfast.stop();
    serving = false;
  }
  lost.require_lost(serving);
  const TestJson result =
      lost.holdfast.json({"restore", "--at", at(lost.before), "--in-place", "--delete"});
  INFO(result.dump());
  REQUIRE(result.at("failed").empty());
  REQUIRE(result.at("warnings").dump().find("lost") != std::string::npos);
  REQUIRE(differences(lost.tree, read_tree(lost.root)) == "");
  if (!serving) lost.holdfast.start({"data=" + lost.root});
  write_file(lost.root + "/dir/later", "watched again");
  lost.holdfast.require_restores(lost.work, lost.holdfast.flush(), read_tree(lost.root));
}

}  // namespace holdfast
