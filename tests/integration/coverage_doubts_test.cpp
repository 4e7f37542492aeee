// What cannot be looked at for a while is neither there nor gone: it stays what it was, a gap says
// so, and it is looked at again.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/watched.h"

namespace holdfast {
namespace {

using Catch::Contains;

void set_mode(const std::string& path, mode_t mode) { REQUIRE(::chmod(path.c_str(), mode) == 0); }

// A service without privileges.
struct Unprivileged {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};
  std::unique_ptr<Process> service;

  Unprivileged() {
    set_mode(work.path(), 0777);
    make_dir(root + "/dir");
    make_dir(root + "/dir/sub");
    write_file(root + "/dir/file", "content");
    write_file(root + "/dir/sub/below", "more");
    run_tool({"chown", "-R", "65534:65534", root});
    start();
    holdfast.flush();
  }
  void start() {
    service = holdfast.launch({"data=" + root}, 65534);
    REQUIRE(service->wait_for_error(", ready", 60'000));
  }
  void stop() {
    service->signal(SIGTERM);
    REQUIRE(service->wait(60'000).exit_code == 0);
  }
  std::string gaps() const {
    std::string all;
    for (const TestJson& gap : holdfast.lines({"log", "--kind", "gap"}))
      all += gap.at("note").get<std::string>() + "\n";
    return all;
  }
  size_t count(const std::string& kind) const {
    return holdfast.lines({"log", "--kind", kind}).size();
  }
};

}  // namespace

TEST_CASE("names that may be listed but not looked at are not gone", "[coverage]") {
  if (!is_root_for("becoming another user")) return;
  Unprivileged u;
  const size_t created = u.count("create");
  SECTION("told by events") {
    set_mode(u.root + "/dir", 0644);
    append_file(u.root + "/dir/file", ", changed");
    append_file(u.root + "/dir/sub/below", ", changed");
    u.holdfast.flush();
  }
  SECTION("found by a walk") {
    u.stop();
    set_mode(u.root + "/dir", 0644);
    append_file(u.root + "/dir/file", ", changed");
    append_file(u.root + "/dir/sub/below", ", changed");
    u.start();
    u.holdfast.flush();
  }
  REQUIRE(u.count("delete") == 0);
  REQUIRE_THAT(u.gaps(), (Contains("cannot look at dir") || Contains("cannot list dir")) &&
                             Contains("Permission denied"));
  REQUIRE(u.holdfast.json({"status"}).at("healthy") == false);
  const std::string told = u.gaps();
  u.holdfast.flush();
  REQUIRE(u.gaps() == told);  // once
  set_mode(u.root + "/dir", 0755);
  u.holdfast.require_restores(u.work, u.holdfast.flush(), read_tree(u.root));
  REQUIRE(u.count("delete") == 0);
  REQUIRE(u.count("create") == created);
  REQUIRE(u.holdfast.json({"status"}).at("healthy") == true);
  u.stop();
}

TEST_CASE("a directory that could not be listed is listed when it can be", "[coverage]") {
  if (!is_root_for("becoming another user")) return;
  Unprivileged u;
  u.stop();
  set_mode(u.root + "/dir", 0);
  append_file(u.root + "/dir/sub/below", ", changed");
  u.start();
  u.holdfast.flush();
  REQUIRE_THAT(u.gaps(), Contains("cannot list dir"));
  REQUIRE(u.count("delete") == 0);
  set_mode(u.root + "/dir", 0755);
  u.holdfast.require_restores(u.work, u.holdfast.flush(), read_tree(u.root));
  REQUIRE(u.count("delete") == 0);
  u.stop();
}

// No event says so, and nobody asks.
TEST_CASE("a root that goes with a directory above it is missed before anybody asks",
          "[coverage]") {
  const WorkDir work;
  make_dir(work.path("above"));
  const std::string root = work.make("above/data");
  write_file(root + "/file", "content");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  Command command;
  command.args = {holdfast_binary(), "--state", holdfast.state(), "log", "--follow"};
  Process follower(command);
  REQUIRE(follower.wait_for_output("file"));
  rename_path(work.path("above"), work.path("aside"));
  SECTION("nothing is there") { REQUIRE(follower.wait_for_output("the root is lost", 60'000)); }
  SECTION("another directory is there") {
    make_dir(work.path("above"));
    make_dir(root);
    write_file(root + "/another", "of another directory");
    REQUIRE(follower.wait_for_output("the root is another directory now", 60'000));
    holdfast.require_restores(work, holdfast.flush(), read_tree(root));
    write_file(root + "/later", "watched");
    holdfast.require_restores(work, holdfast.flush(), read_tree(root));
    REQUIRE_FALSE(has_flag(holdfast.lines({"history", "data:later"}).back(), "offline"));
  }
  REQUIRE_FALSE(follower.output().find("overflow") != std::string::npos);
}

}  // namespace holdfast
