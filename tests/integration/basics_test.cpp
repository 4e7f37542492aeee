// Every command once, as text and as JSON, with a service and without one, and its exit codes.
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/holdfast_run.h"

namespace holdfast {
namespace {

using Catch::Contains;

// A root with a little in it, and a service that has seen all of it.
struct Watched {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};
  uint64_t first = 0;

  Watched() {
    write_file(root + "/notes.txt", "first\n");
    make_dir(root + "/sub");
    write_file(root + "/sub/inner.txt", "inner\n");
    holdfast.start({"data=" + root});
    first = holdfast.flush();
  }
};

std::vector<std::string> paths_of(const std::vector<TestJson>& lines) {
  std::vector<std::string> paths;
  for (const TestJson& line : lines) paths.push_back(line.at("path").get<std::string>());
  return paths;
}

void check_looking_commands(const Watched& w, uint64_t second) {
  const Holdfast& h = w.holdfast;
  REQUIRE_THAT(h.text({"status"}), Contains("data = " + w.root) && Contains("healthy"));
  const TestJson status = h.json({"status"});
  REQUIRE(status.at("roots").at(0).at("name") == "data");
  REQUIRE(status.at("roots").at(0).at("files") == 2);
  REQUIRE(status.at("seq").get<uint64_t>() >= second);

  REQUIRE_THAT(h.text({"log"}), Contains("data:notes.txt") && Contains("modify"));
  const auto modified = h.lines({"log", w.root + "/notes.txt", "--kind", "modify"});
  REQUIRE(modified.size() == 1);
  REQUIRE(modified[0].at("size") == 7);
  REQUIRE(modified[0].at("prev").at("size") == 6);
  // What `printf 'second\n' | xxh128sum` prints: the hash is a contract with other programs.
  REQUIRE(modified[0].at("hash") == "xxh3:5b925e5a2c868f7b1367721b665ab24b");
  REQUIRE(h.lines({"log", "--limit", "2"}).size() == 2);
  REQUIRE(h.lines({"log", "--since", at(second), "--until", at(second)}).size() == 1);
  const auto newest = h.lines({"log", "--reverse"});
  REQUIRE(newest.front().at("seq") > newest.back().at("seq"));

  REQUIRE_THAT(h.text({"history", w.root + "/notes.txt"}),
               Contains("create") && Contains("modify"));
  REQUIRE(h.lines({"history", "data:notes.txt"}).size() == 2);
  REQUIRE_THAT(h.text({"ls", w.root}), Contains("data:notes.txt") && Contains("sub/"));
  REQUIRE(paths_of(h.lines({"ls", "-R", w.root})) ==
          std::vector<std::string>{"notes.txt", "sub", "sub/inner.txt"});
  REQUIRE(h.text({"cat", w.root + "/notes.txt"}) == "second\n");
  REQUIRE(h.text({"cat", "--at", at(w.first), "data:notes.txt"}) == "first\n");
  REQUIRE(h.run({"cat", "notes.txt"}, w.root).out == "second\n");  // relative to where one is
  REQUIRE(h.text({"diff", at(w.first), "now"}) == "M data:notes.txt\n");
  const TestJson diff = h.json({"diff", at(w.first), at(second), w.root});
  REQUIRE(diff.at("change") == "modified");
  REQUIRE(diff.at("a").at("size") == 6);
}

void check_snapshots(const Watched& w) {
  const Holdfast& h = w.holdfast;
  const TestJson taken = h.json({"snapshot", "-m", "before deploy", "--tag", "app=web"});
  const auto name = taken.at("name").get<std::string>();
  REQUIRE_THAT(h.text({"snapshots"}), Contains(name) && Contains("before deploy"));
  const TestJson listed = h.json({"snapshots"});
  REQUIRE(listed.at("message") == "before deploy");
  REQUIRE(listed.at("tags").at("app") == "web");
  write_file(w.root + "/notes.txt", "after the snapshot\n");
  h.flush();
  REQUIRE(h.text({"cat", "--at", name, "data:notes.txt"}) == "second\n");
  REQUIRE_THAT(h.text({"snapshot", "rm", name}), Contains("removed " + name));
  REQUIRE(h.lines({"snapshots"}).empty());
  REQUIRE(h.run({"snapshot", "rm", name}).exit_code == 4);
}

}  // namespace

TEST_CASE("each command prints text and JSON", "[basics]") {
  Watched w;
  write_file(w.root + "/notes.txt", "second\n");
  REQUIRE_THAT(w.holdfast.text({"flush"}), Catch::StartsWith("@"));
  const uint64_t second = w.holdfast.flush();
  REQUIRE(second > w.first);
  check_looking_commands(w, second);
  check_snapshots(w);
  REQUIRE_THAT(w.holdfast.text({"check"}), Contains("clean"));
  REQUIRE(w.holdfast.json({"check", "--read-data"}).at("read_data") == true);
  REQUIRE(w.holdfast.run({"status", "--check"}).exit_code == 0);
  REQUIRE_THAT(w.holdfast.text({"--version"}), Contains("holdfast "));
  w.holdfast.stop();
}

TEST_CASE("commands work without a service", "[basics]") {
  Watched w;
  w.holdfast.stop();
  const Holdfast& h = w.holdfast;
  write_file(w.root + "/notes.txt", "second\n");
  const uint64_t second = h.flush();  // looks at everything by itself
  REQUIRE(h.text({"cat", "data:notes.txt"}) == "second\n");
  REQUIRE(h.text({"cat", "--at", at(w.first), "data:notes.txt"}) == "first\n");
  REQUIRE_FALSE(h.lines({"log"}).empty());
  REQUIRE(h.lines({"history", "data:notes.txt"}).size() == 2);
  REQUIRE(h.lines({"ls", "-R"}).size() == 3);
  REQUIRE(h.text({"diff", at(w.first), at(second)}) == "M data:notes.txt\n");
  const TestJson status = h.json({"status"});
  REQUIRE(status.at("healthy") == false);
  REQUIRE_THAT(status.at("problems").dump(), Contains("no service is running"));
  REQUIRE(h.run({"status", "--check"}).exit_code == 3);
  const auto name = h.json({"snapshot"}).at("name").get<std::string>();
  REQUIRE(h.lines({"snapshots"}).size() == 1);
  h.text({"restore", "--at", at(w.first), "--in-place"});
  REQUIRE(read_file(w.root + "/notes.txt") == "first\n");
  h.text({"restore", "--at", name, "--to", w.work.path("out")});
  REQUIRE(read_file(w.work.path("out") + "/notes.txt") == "second\n");
  h.text({"snapshot", "rm", name});
  h.require_clean(true);
}

TEST_CASE("exit codes say what happened", "[basics]") {
  Watched w;
  const Holdfast& h = w.holdfast;
  auto code = [&](const std::vector<std::string>& args) { return h.run(args).exit_code; };
  REQUIRE(code({}) == 2);
  REQUIRE(code({"no-such-command"}) == 2);
  REQUIRE(code({"ls", "--no-such-option"}) == 2);
  REQUIRE(code({"cat"}) == 2);
  REQUIRE(code({"restore", "--at", "@1"}) == 2);  // neither --to nor --in-place
  REQUIRE(code({"restore", "--in-place"}) == 2);  // no moment
  REQUIRE(code({"restore", "--at", "@1", "--to", "x", "--overwrite", "perhaps"}) == 2);
  REQUIRE(code({"log", "--kind", "nonsense"}) == 2);
  REQUIRE(code({"log", "--limit", "many"}) == 2);
  REQUIRE(code({"cat", w.root + "/sub"}) == 2);  // a directory
  REQUIRE(code({"watch"}) == 2);
  REQUIRE(code({"cat", w.root + "/never-there"}) == 4);
  REQUIRE(code({"history", w.root + "/never-there"}) == 4);
  REQUIRE(code({"log", w.root + "/never-there"}) == 4);
  REQUIRE(code({"log", "--root", "nobody"}) == 4);
  REQUIRE(code({"ls", "/not/watched"}) == 4);
  REQUIRE(code({"ls", "--at", "@999999"}) == 4);
  REQUIRE(code({"ls", "--at", "no-such-snapshot"}) == 4);
  REQUIRE(code({"ls", "--at", "2001-01-01"}) == 4);  // before anything was known
  REQUIRE(code({"restore", "--at", "no-such-snapshot", "--in-place"}) == 4);
  REQUIRE(Holdfast(w.work.path("no-state")).run({"ls"}).exit_code == 4);

  const Outcome missing = h.run({"cat", w.root + "/never-there"});
  REQUIRE(missing.out.empty());
  REQUIRE_THAT(missing.err, Contains("never-there"));
  // A second service is refused, and told who holds the state.
  const Outcome second = h.launch({w.root})->wait();
  REQUIRE(second.exit_code == 6);
  REQUIRE_THAT(second.err, Contains("pid " + std::to_string(w.holdfast.service().pid())));
  REQUIRE(w.holdfast.flush() >= w.first);  // and the first one goes on
}

TEST_CASE("restore does what its options say", "[basics]") {
  Watched w;
  const Holdfast& h = w.holdfast;
  const Tree before = read_tree(w.root);
  write_file(w.root + "/notes.txt", "second\n");
  write_file(w.root + "/added.txt", "added\n");
  REQUIRE(::unlink((w.root + "/sub/inner.txt").c_str()) == 0);
  h.flush();
  const Tree changed = read_tree(w.root);

  SECTION("a dry run changes nothing, and says what would be") {
    const auto dry =
        h.json({"restore", "--at", at(w.first), "--in-place", "--delete", "--dry-run"});
    REQUIRE(dry.at("changed").get<int>() >= 2);
    REQUIRE(dry.at("deleted") == 1);
    REQUIRE(differences(changed, read_tree(w.root)) == "");
  }
  SECTION("in place with --delete brings the moment back, and its undo brings the present back") {
    const auto done = h.json({"restore", "--at", at(w.first), "--in-place", "--delete"});
    REQUIRE(done.at("failed").empty());
    REQUIRE(differences(before, read_tree(w.root)) == "");
    const auto undo = done.at("undo").get<std::string>();
    REQUIRE_THAT(undo, Catch::StartsWith("holdfast "));
    run_tool({"sh", "-c", holdfast_binary() + undo.substr(8)});
    REQUIRE(differences(changed, read_tree(w.root)) == "");
  }
  SECTION("in place without --delete leaves what came later") {
    h.text({"restore", "--at", at(w.first), "--in-place"});
    REQUIRE(read_file(w.root + "/notes.txt") == "first\n");
    REQUIRE(read_file(w.root + "/added.txt") == "added\n");
    REQUIRE(read_file(w.root + "/sub/inner.txt") == "inner\n");
  }
  SECTION("--overwrite never keeps what is there, always replaces it") {
    h.text({"restore", "--at", at(w.first), "--in-place", "--overwrite", "never"});
    REQUIRE(read_file(w.root + "/notes.txt") == "second\n");
    REQUIRE(read_file(w.root + "/sub/inner.txt") == "inner\n");
    h.text({"restore", "--at", at(w.first), "--in-place", "--overwrite", "always"});
    REQUIRE(read_file(w.root + "/notes.txt") == "first\n");
  }
  SECTION("only the paths that are named") {
    h.text({"restore", w.root + "/sub", "--at", at(w.first), "--in-place"});
    REQUIRE(read_file(w.root + "/sub/inner.txt") == "inner\n");
    REQUIRE(read_file(w.root + "/notes.txt") == "second\n");
    h.text({"restore", "data:sub/inner.txt", "--at", at(w.first), "--to", w.work.path("out")});
    REQUIRE(read_file(w.work.path("out/sub/inner.txt")) == "inner\n");
    REQUIRE_FALSE(exists(w.work.path("out/notes.txt")));
    REQUIRE(h.run({"restore", w.root + "/never", "--at", at(w.first), "--in-place"}).exit_code ==
            4);
  }
  SECTION("an existing target is filled, and nothing goes into the state directory") {
    const std::string out = w.work.make("out");
    write_file(out + "/notes.txt", "in the way");
    h.text({"restore", "--at", at(w.first), "--to", out, "--delete"});
    REQUIRE(differences(before, read_tree(out)) == "");
    REQUIRE(h.run({"restore", "--at", at(w.first), "--to", h.state() + "/x"}).exit_code == 2);
  }
  h.require_clean();
}

TEST_CASE("log --follow prints what happens while it runs", "[basics]") {
  Watched w;
  Command command;
  command.args = {holdfast_binary(), "--state", w.holdfast.state(), "log", "--follow", "--json"};
  Process follower(command);
  REQUIRE(follower.wait_for_output("notes.txt"));  // it has printed the past and listens
  write_file(w.root + "/while-following.txt", "new");
  REQUIRE(follower.wait_for_output("while-following.txt"));
  parse_lines(follower.output().substr(0, follower.output().rfind('\n')));
  SECTION("until it is interrupted") {
    follower.signal(SIGINT);
    REQUIRE_FALSE(follower.wait().timed_out);
    w.holdfast.stop();
  }
  SECTION("until the service stops") {
    w.holdfast.stop();
    REQUIRE_FALSE(follower.wait().timed_out);
  }
}

}  // namespace holdfast
