// Every row of the table of docs/seed.md through the real program, with a service that watches the
// volume and without any.
#include "tests/support/seeding.h"

#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>

namespace holdfast {
namespace {

using Catch::Contains;
constexpr int64_t kLongAgo = 946'684'800;   // 2000
constexpr int64_t kToCome = 4'102'444'800;  // 2100

bool is_empty_of_temporaries(const std::string& dir) {
  for (const auto& [path, entry] : read_tree(dir)) {
    if (path.find(".holdfast-tmp-") != std::string::npos) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a first start installs everything as it is in the image", "[seed]") {
  const Seeding s(GENERATE(false, true));
  s.bring("app.conf", "one\n");
  make_dir(s.in_image("sub"));
  make_dir(s.in_image("sub/empty"));
  s.bring("sub/b", std::string(300'000, 'b'));
  s.bring("nothing", "");
  s.bring("left-out.tmp", "x");
  REQUIRE(::link(s.in_image("sub/b").c_str(), s.in_image("zz").c_str()) == 0);
  REQUIRE(::symlink("/etc/passwd", s.in_image("sub/link").c_str()) == 0);
  REQUIRE(::mkfifo(s.in_image("fifo").c_str(), 0620) == 0);
  REQUIRE(::chmod(s.in_image("app.conf").c_str(), 0640) == 0);
  ::setxattr(s.in_image("app.conf").c_str(), "user.kind", "conf", 4, 0);
  touch(s.in_image("app.conf"), kLongAgo);
  touch(s.in_image("sub"), kLongAgo);
  const Outcome dry = s.run({"--dry-run", "--exclude", "*.tmp"});
  REQUIRE(dry.exit_code == 0);
  REQUIRE_THAT(dry.out, Contains("install   app.conf") && Contains("would seed"));
  REQUIRE(read_tree(s.volume).size() == 1);  // the top
  const TestJson first = s.seed({"--exclude", "*.tmp"});
  REQUIRE(first.at("counts").at("install") == 8);
  Tree expected = read_tree(s.image, {"left-out.tmp"}), found = read_tree(s.volume);
  expected.erase("");
  found.erase("");
  REQUIRE(differences(expected, found) == "");

  const uint64_t before = s.holdfast.flush();
  const TestJson second = s.seed({"--exclude", "*.tmp"});
  REQUIRE(second.at("actions").empty());
  REQUIRE(second.at("counts").at("same") == 8);
  REQUIRE(second.at("undo").is_null());
  REQUIRE(s.seed({"--exclude", "*.tmp"}).at("counts").at("same") == 8);
  const auto notes = s.holdfast.lines({"log", "--kind", "seed", "--root", "data"});
  REQUIRE(notes.size() == 1);
  REQUIRE(notes[0].at("seq") < before);
  REQUIRE(s.holdfast.lines({"history", "data:app.conf"})[0].at("flags").dump().find("own") !=
          std::string::npos);
  s.holdfast.require_clean(true);
}

TEST_CASE("the undo that is printed takes away what was installed", "[seed]") {
  const Seeding s(GENERATE(false, true));
  const bool had_something = GENERATE(false, true);
  s.bring("app.conf", "one\n");
  make_dir(s.in_image("sub"));
  s.bring("sub/template", "two\n");
  if (had_something) write_file(s.in("mine"), "mine\n");
  touch(s.volume, kLongAgo);
  const Tree before = read_tree(s.volume);
  const std::string undo = s.seed().at("undo");
  REQUIRE(exists(s.in("sub/template")));
  REQUIRE_THAT(undo, Catch::StartsWith("holdfast "));
  run_tool({"sh", "-c", holdfast_binary() + undo.substr(8)});
  REQUIRE(differences(before, read_tree(s.volume)) == "");
  REQUIRE(s.seed().at("counts").at("put_back") == 3);
  s.holdfast.require_clean(true);
}

TEST_CASE("a newer image updates what nobody changed, whatever the clocks say", "[seed]") {
  const Seeding s(GENERATE(false, true));
  s.bring("app.conf", "one\n");
  s.seed();
  s.bring("app.conf", "two\n");
  SECTION("built with a clock that is behind, or with fixed times") {
    touch(s.in_image("app.conf"), kLongAgo);
  }
  SECTION("and the volume was touched") { touch(s.in("app.conf"), kToCome); }
  SECTION("with the same size and mtime") { touch(s.in_image("app.conf"), kLongAgo + 1); }
  const TestJson json = s.seed();
  REQUIRE(json.at("counts").at("update") == 1);
  REQUIRE(read_file(s.in("app.conf")) == "two\n");
  // What was there can be had again.
  const std::string undo = json.at("undo");
  const std::string at = undo.substr(undo.find("--at ") + 5);
  s.holdfast.text({"restore", s.volume, "--at", at.substr(0, at.find(' ')), "--in-place"});
  REQUIRE(read_file(s.in("app.conf")) == "one\n");
  // And an earlier image's content, as of an old backup, follows the image.
  REQUIRE(s.only_action() == "update");
  REQUIRE(read_file(s.in("app.conf")) == "two\n");
  REQUIRE(s.only_action() == "");
}

TEST_CASE("what was edited stays, whatever the clocks say", "[seed]") {
  const Seeding s(GENERATE(false, true));
  s.bring("app.conf", "one\n");
  s.seed();
  write_file(s.in("app.conf"), "mine\n");
  touch(s.in("app.conf"), kLongAgo);
  touch(s.in_image("app.conf"), kToCome);
  REQUIRE(s.only_action() == "keep");
  REQUIRE(read_file(s.in("app.conf")) == "mine\n");
  REQUIRE(s.run().exit_code == 0);

  s.bring("app.conf", "two\n");  // now both have changed
  const TestJson json = s.seed({}, Seeding::kConflicts);
  const TestJson& conflict = json.at("actions")[0];
  REQUIRE(conflict.at("action") == "conflict");
  REQUIRE(conflict.at("volume").at("hash") != conflict.at("image").at("hash"));
  REQUIRE(conflict.at("seeded").at("hash") != conflict.at("image").at("hash"));
  const Outcome told = s.run();
  REQUIRE_THAT(told.out, Contains("CONFLICT  app.conf") && Contains(s.in_image("app.conf")));
  REQUIRE(read_file(s.in("app.conf")) == "mine\n");

  SECTION("it is settled for the volume, until the image has another one") {
    REQUIRE(s.only_action({"--mine", "app.conf"}) == "settle");
    REQUIRE(s.only_action() == "keep");
    s.bring("app.conf", "three\n");
    REQUIRE(s.only_action({}, Seeding::kConflicts) == "conflict");
  }
  SECTION("it is forced, which can be undone") {
    s.bring("other", "x");
    const TestJson forced = s.seed({"--force", "app.conf"});
    REQUIRE(forced.at("counts").at("replace") == 1);
    REQUIRE(read_file(s.in("app.conf")) == "two\n");
    REQUIRE(s.holdfast.lines({"snapshots"}).size() == 1);
    const std::string pinned = s.holdfast.lines({"snapshots"})[0].at("name");
    REQUIRE_THAT(forced.at("undo").get<std::string>(), Contains("--at " + pinned));
    s.holdfast.text({"restore", s.in("app.conf"), "--at", pinned, "--in-place"});
    REQUIRE(read_file(s.in("app.conf")) == "mine\n");
  }
  SECTION("the policy is to replace") {
    REQUIRE(s.only_action({"--policy", "replace"}) == "replace");
    REQUIRE(read_file(s.in("app.conf")) == "two\n");
  }
  SECTION("the policy is to fail: nothing is touched") {
    s.bring("new", "x");
    REQUIRE(s.seed({"--policy", "fail"}, Seeding::kConflicts).at("stopped") == true);
    REQUIRE_FALSE(exists(s.in("new")));
    REQUIRE(read_file(s.in("app.conf")) == "mine\n");
  }
  SECTION("a person takes the image's by hand") {
    write_file(s.in("app.conf"), "two\n");
    REQUIRE(s.only_action() == "adopt");
    REQUIRE(s.only_action() == "");
  }
}

TEST_CASE("what was deleted comes back, or stays deleted where that is asked", "[seed]") {
  const Seeding s(GENERATE(false, true));
  s.bring("a", "a");
  s.bring("b", "b");
  s.seed();
  REQUIRE(::unlink(s.in("a").c_str()) == 0);
  REQUIRE(s.only_action({"--respect-deletes"}) == "leave");
  REQUIRE_FALSE(exists(s.in("a")));
  REQUIRE(s.only_action() == "put_back");
  REQUIRE(read_file(s.in("a")) == "a");
}

TEST_CASE("what was there before the image had it is adopted, updated or kept", "[seed]") {
  const Seeding s(GENERATE(false, true));
  write_file(s.in("same"), "as in the image");
  write_file(s.in("other"), "from somebody");
  s.bring("same", "as in the image");
  s.bring("other", "from the image");
  const TestJson json = s.seed({}, Seeding::kConflicts);
  REQUIRE(json.at("counts").at("adopt") == 1);
  REQUIRE(json.at("counts").at("conflict") == 1);
  REQUIRE(read_file(s.in("other")) == "from somebody");
  // What it differed from is known from now on: whoever takes it has not changed it.
  write_file(s.in("other"), "from the image");
  s.bring("other", "from the next image");
  REQUIRE(s.only_action() == "update");
}

TEST_CASE("what the image has no more is removed only where that is asked, and nobody changed it",
          "[seed]") {
  const Seeding s(GENERATE(false, true));
  make_dir(s.in_image("dir"));
  for (const char* name : {"dir/untouched", "dir/edited", "dir/deleted", "stays"}) {
    s.bring(name, name);
  }
  s.seed();
  write_file(s.in("dir/edited"), "by hand");
  write_file(s.in("dir/own"), "of the application");
  REQUIRE(::unlink(s.in("dir/deleted").c_str()) == 0);
  run_tool({"rm", "-r", s.in_image("dir")});
  const Outcome told = s.run();
  REQUIRE(told.exit_code == 0);
  REQUIRE_THAT(told.out, Contains("--delete removes them") && Contains("dir/untouched"));
  REQUIRE(exists(s.in("dir/untouched")));
  const TestJson json = s.seed({"--delete"});
  REQUIRE(json.at("counts").at("remove") == 1);
  REQUIRE_FALSE(exists(s.in("dir/untouched")));
  REQUIRE(read_file(s.in("dir/edited")) == "by hand");
  REQUIRE(exists(s.in("dir/own")));
  REQUIRE(s.holdfast.text(
              {"cat", "data:dir/untouched", "--at",
               s.holdfast.lines({"history", "data:dir/untouched"})[0].at("seq").dump().insert(
                   0, "@")}) == "dir/untouched");
}

TEST_CASE("another type is a conflict, and no link leads out of the volume", "[seed]") {
  const Seeding s(GENERATE(false, true));
  make_dir(s.in_image("dir"));
  s.bring("dir/file", "of the image");
  s.bring("file", "of the image");
  const std::string outside = s.work.make("outside");
  REQUIRE(::symlink(outside.c_str(), s.in("dir").c_str()) == 0);
  write_file(outside + "/target", "not ours");
  REQUIRE(::symlink((outside + "/target").c_str(), s.in("file").c_str()) == 0);
  const TestJson json = s.seed({}, Seeding::kConflicts);
  REQUIRE(json.at("counts").at("conflict") == 3);  // both links, and what is below one of them
  REQUIRE(read_file(outside + "/target") == "not ours");
  REQUIRE_FALSE(exists(outside + "/file"));
  s.seed({"--force"});
  REQUIRE(read_file(outside + "/target") == "not ours");
  REQUIRE_FALSE(exists(outside + "/file"));
  REQUIRE(read_file(s.in("dir/file")) == "of the image");
  REQUIRE(read_file(s.in("file")) == "of the image");
  REQUIRE(s.only_action() == "");

  // A symlink of the image follows it as a file does.
  REQUIRE(::symlink("one", s.in_image("link").c_str()) == 0);
  s.seed();
  REQUIRE(::unlink(s.in_image("link").c_str()) == 0);
  REQUIRE(::symlink("two", s.in_image("link").c_str()) == 0);
  REQUIRE(s.only_action() == "update");
  REQUIRE(read_tree(s.volume).at("link").target == "two");
}

TEST_CASE("mode and owner follow the image where nobody changed them", "[seed]") {
  const Seeding s(GENERATE(false, true));
  s.bring("a", "a");
  s.bring("b", "b");
  s.seed();
  REQUIRE(::chmod(s.in("b").c_str(), 0600) == 0);  // somebody's own
  REQUIRE(::chmod(s.in_image("a").c_str(), 0755) == 0);
  REQUIRE(::chmod(s.in_image("b").c_str(), 0755) == 0);
  REQUIRE(s.only_action() == "attrib");
  REQUIRE((read_tree(s.volume).at("a").mode & 07777) == 0755);
  s.bring("b", "new");
  REQUIRE(s.only_action() == "update");
  REQUIRE((read_tree(s.volume).at("b").mode & 07777) == 0600);
}

TEST_CASE("hard links of the image are updated together", "[seed]") {
  const Seeding s(GENERATE(false, true));
  s.bring("a", "one");
  REQUIRE(::link(s.in_image("a").c_str(), s.in_image("b").c_str()) == 0);
  s.seed();
  s.bring("a", "two");
  REQUIRE(s.seed().at("counts").at("update") == 2);
  REQUIRE(read_file(s.in("b")) == "two");
  REQUIRE(read_tree(s.volume).at("b").same_as == "a");
  REQUIRE(s.only_action() == "");
}

TEST_CASE("a program that has the file open for writing is not written under", "[seed]") {
  const Seeding s(GENERATE(false, true));
  s.bring("a", "one");
  s.seed();
  s.bring("a", "two");
  {
    const Fd writer(::open(s.in("a").c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(writer.valid());
    const TestJson json = s.seed({}, Seeding::kSomeFailed);
    REQUIRE_THAT(json.at("failed")[0].at("why").get<std::string>(), Contains("open for writing"));
    REQUIRE(read_file(s.in("a")) == "one");
    REQUIRE(is_empty_of_temporaries(s.volume));
  }
  REQUIRE(s.only_action() == "update");
}

TEST_CASE("names that are hostile are seeded as they are", "[seed]") {
  const Seeding s(GENERATE(false, true));
  for (const std::string& name : std::vector<std::string>{"new\nline", "\xff\xfe", "-rf", "%41",
                                                          std::string(255, 'x'), "a b\\c"}) {
    s.bring(name, name);
  }
  REQUIRE(s.seed().at("counts").at("install") == 6);
  REQUIRE(s.seed().at("counts").at("same") == 6);
  s.bring("new\nline", "two");
  REQUIRE(s.only_action() == "update");
}

TEST_CASE("the directory becomes a root of the name that is asked for", "[seed]") {
  const Seeding s(false);
  s.bring("a", "one");
  const auto seed = [&](const std::string& dest) {
    return s.holdfast.run({"seed", s.image, dest});
  };
  REQUIRE(seed("uploads=" + s.volume).exit_code == 0);
  REQUIRE(s.holdfast.text({"cat", "uploads:a"}) == "one");
  // One that is there goes by its own name, as the service does that watches it.
  REQUIRE(seed("other=" + s.volume).exit_code == 0);
  s.bring("a", "two");
  REQUIRE(s.seed().at("root") == "uploads");
  REQUIRE(s.holdfast.text({"cat", "uploads:a"}) == "two");
  const Outcome taken = seed("uploads=" + s.work.make("elsewhere"));
  REQUIRE(taken.exit_code == 2);
  REQUIRE_THAT(taken.err, Contains("cannot be the root uploads") && Contains("choose another"));
  REQUIRE(read_tree(s.work.path("elsewhere")).size() == 1);
}

TEST_CASE("arguments that make no sense are told, and nothing is touched", "[seed]") {
  const Seeding s(false);
  s.bring("a", "a");
  REQUIRE(s.run({"--policy", "newest"}).exit_code == 2);
  REQUIRE(s.run({"--force", "/etc"}).exit_code == 2);
  REQUIRE(s.holdfast.run({"seed", s.image, s.image + "/below"}).exit_code == 2);
  REQUIRE(s.holdfast.run({"seed", s.work.path("none"), s.volume}).exit_code == 4);
  REQUIRE(read_tree(s.volume).size() == 1);
}

}  // namespace holdfast
