// The restore inbox: what is dropped is restored once, when it is whole, with a way back.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "base/fd.h"
#include "tests/support/inboxed.h"
#include "tests/support/mounts.h"

namespace holdfast {
namespace {

using Catch::Contains;

std::string packed(const Inboxed& inbox, const std::vector<std::string>& tool,
                   const std::string& bytes) {
  write_file(inbox.work.path("plain"), bytes);
  std::vector<std::string> args = tool;
  args.insert(args.end(), {"-c", inbox.work.path("plain")});
  return run_tool(args).out;
}

}  // namespace

TEST_CASE("a dropped dump is restored between a stop and a start, with a way back", "[inbox]") {
  Inboxed inbox;
  inbox.docker.add("idle", false);
  inbox.script("echo hello; echo changed > " + inbox.data + "/a; echo world >&2");
  inbox.start_usual("stop = [\"web\", \"idle\", \"worker\"]\n");
  inbox.drop("app.sql", "select 1;\n");
  inbox.wait_restored("app.sql");
  REQUIRE(inbox.got() == "select 1;\n");
  REQUIRE(inbox.docker.changes() == Calls{"stop web", "stop worker", "start worker", "start web"});
  REQUIRE_FALSE(inbox.docker.running("idle"));
  REQUIRE_FALSE(exists(inbox.in("app.sql")));
  REQUIRE(read_file(inbox.done("app.sql")) == "select 1;\n");
  const std::string log = read_file(inbox.done("app.sql.log"));
  for (const char* line : {"stopped web", "idle is not running", "hello\nworld\n", "exit status 0",
                           "started worker", "--in-place --delete", "Z restored"}) {
    CHECK_THAT(log, Contains(line));
  }

  const std::string env = read_file(inbox.work.path("env"));
  CHECK_THAT(env, Contains("HOLDFAST_FILE=" + inbox.in("app.sql")));
  CHECK_THAT(env, Contains("HOLDFAST_INBOX=" + inbox.folder));
  REQUIRE(run_process({{"ls", "-A", inbox.work.path("state/inbox.unpacked")}, "", {}, 0}).out ==
          "");

  const TestJson status = inbox.status();
  CHECK(status.at("waiting") == 0);
  CHECK(status.at("working").is_null());
  CHECK(status.at("last").at("outcome") == "done");
  CHECK_THAT(inbox.holdfast.text({"status"}), Contains("app.sql done"));
  const auto notes = inbox.notes();
  REQUIRE(notes.size() == 1);
  CHECK_THAT(notes[0].at("note").get<std::string>(), Contains("app.sql restored; undo with: "));

  // The undo that is printed, as a person would run it.
  const auto snapshot = inbox.holdfast.lines({"snapshots"}).at(0);
  CHECK(snapshot.at("message") == "before the restore of app.sql");
  inbox.holdfast.text({"restore", "--at", snapshot.at("name"), "--in-place", "--delete"});
  REQUIRE(read_file(inbox.data + "/a") == "first");
  inbox.holdfast.require_clean();
}

TEST_CASE("what is packed is unpacked on the way", "[inbox]") {
  Inboxed inbox;
  const std::string content = "create table t;\n" + random_bytes_of(3'000'000, 1);
  inbox.start_usual("match = [\"*\"]\n");
  const std::vector<std::pair<std::string, std::vector<std::string>>> tools{
      {"a.sql.gz", {"gzip"}},
      {"a.sql.zst", {"zstd", "-q"}},
      {"a.sql.xz", {"xz", "-0"}},
      {"a.sql.bz2", {"bzip2"}}};
  std::string all;
  for (const auto& [name, tool] : tools) {
    inbox.drop(name, packed(inbox, tool, content));
    inbox.wait_restored(name);
    all += content;
    REQUIRE(inbox.got() == all);
    REQUIRE(exists(inbox.done(name)));
  }
  // Two members, one after the other, and padding behind.
  const std::string member = packed(inbox, {"gzip"}, content);
  inbox.drop("two.gz", member + member + std::string(1000, '\0'));
  inbox.wait_restored("two.gz");
  REQUIRE(inbox.got() == all + content + content);
  CHECK_THAT(read_file(inbox.work.path("args")), Contains("inbox.unpacked/two|"));
}

TEST_CASE("without {file} the content is the standard input, and else it is empty", "[inbox]") {
  Inboxed inbox;
  const std::string out = inbox.work.path("got");
  SECTION("the content") {
    inbox.write_config(inbox.section("restore = [\"dd\", \"status=none\", \"of=" + out + "\"]\n"));
    inbox.start();
    inbox.drop("a.sql.gz", packed(inbox, {"gzip"}, "content"));
    inbox.wait_restored("a.sql.gz");
    REQUIRE(inbox.got() == "content");
  }
  SECTION("nothing, and {file} inside of an argument, with spaces in its name") {
    inbox.write_config(
        inbox.section("restore = [\"/bin/sh\", \"-c\", \"cat; cp -- \\\"${1#in=}\\\" " + out +
                      "\", \"x\", \"in={file}\"]\n"));
    inbox.start();
    inbox.drop("a dump {file} of today.sql", "content");
    inbox.wait_restored("of today.sql");
    REQUIRE(inbox.got() == "content");
  }
}

TEST_CASE("a file is taken when it is whole, and not before", "[inbox]") {
  Inboxed inbox;
  inbox.start_usual("");
  Fd writer(::open(inbox.in("big.sql").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  REQUIRE(::write(writer.get(), "half", 4) == 4);
  // Names of uploads under way stay, whatever becomes of them.
  for (const char* name : {".hidden.sql", "a.sql.part", "b.tmp", "c.filepart", "d.crdownload"}) {
    write_file(inbox.in(name), "x");
  }
  // What is dropped later and is whole passes it; by then it was looked at, and left.
  inbox.drop("small.sql", "small,");
  inbox.wait_restored("small.sql");
  REQUIRE(inbox.status().at("waiting") == 1);
  REQUIRE(inbox.got() == "small,");
  REQUIRE(::write(writer.get(), "+half", 5) == 5);
  writer.reset();
  inbox.wait_restored("big.sql");
  REQUIRE(inbox.got() == "small,half+half");
  REQUIRE(exists(inbox.in("a.sql.part")));
  REQUIRE(exists(inbox.in(".hidden.sql")));
}

TEST_CASE("what was dropped while the service was off is taken at its start, oldest first",
          "[inbox]") {
  Inboxed inbox;
  const std::vector<std::string> names{"c.sql", "a.sql", "b.sql"};
  for (size_t i = 0; i < names.size(); ++i) {
    write_file(inbox.in(names[i]), names[i] + " ");
    const timespec times[2] = {{1'700'000'000 + static_cast<long>(i), 0},
                               {1'700'000'000 + static_cast<long>(i), 0}};
    REQUIRE(::utimensat(AT_FDCWD, inbox.in(names[i]).c_str(), times, 0) == 0);
  }
  inbox.start_usual("");
  for (const std::string& name : names) inbox.wait_restored(name);
  REQUIRE(inbox.got() == "c.sql a.sql b.sql ");
}

TEST_CASE("what is no file of a person is left where it is", "[inbox]") {
  Inboxed inbox;
  write_file(inbox.work.path("secret"), "secret");
  REQUIRE(::symlink(inbox.work.path("secret").c_str(), inbox.in("link.sql").c_str()) == 0);
  REQUIRE(::mkfifo(inbox.in("pipe.sql").c_str(), 0644) == 0);
  make_dir(inbox.in("dir.sql"));
  write_file(inbox.in("other.txt"), "x");
  inbox.start_usual("");
  inbox.wait_for("link.sql is not taken");
  inbox.wait_for("pipe.sql is not taken");
  inbox.wait_for("other.txt is not taken");
  inbox.drop("new\nline.sql", "content");
  inbox.wait_restored("new\\nline.sql");
  REQUIRE(inbox.got() == "content");
  REQUIRE(exists(inbox.done("new\nline.sql.log")));
  for (const char* name : {"link.sql", "pipe.sql", "dir.sql", "other.txt"}) {
    CHECK(exists(inbox.in(name)));
  }
  // Nor does filing follow a link out of the folder.
  make_dir(inbox.work.path("elsewhere"));
  run_tool({"rm", "-rf", inbox.in("done")});
  REQUIRE(::symlink(inbox.work.path("elsewhere").c_str(), inbox.in("done").c_str()) == 0);
  inbox.drop("more.sql", ",more");
  inbox.wait_for("an inbox cannot finish its job");
  REQUIRE(exists(inbox.in("more.sql")));
  REQUIRE(run_process({{"ls", "-A", inbox.work.path("elsewhere")}, "", {}, 0}).out == "");
  run_tool({"rm", inbox.in("done")});
  inbox.wait_restored("more.sql");
  REQUIRE(inbox.got() == "content,more");  // once, though it was filed at the second try
}

TEST_CASE("a dump that is dropped again is a wish, and a copy that a machine repeats is none",
          "[inbox]") {
  Inboxed inbox;
  inbox.start_usual("");
  const auto drop = [&](long seconds) {
    write_file(inbox.in(".upload"), "again,");
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    REQUIRE(::utimensat(AT_FDCWD, inbox.in(".upload").c_str(), times, 0) == 0);
    rename_path(inbox.in(".upload"), inbox.in("a.sql"));
  };
  drop(1'700'000'000);
  inbox.wait_restored("a.sql");
  drop(1'700'000'000);
  inbox.wait_for("a.sql not restored again");
  REQUIRE(inbox.got() == "again,");
  REQUIRE(inbox.status().at("last").at("outcome") == "same");
  inbox.holdfast.stop();
  inbox.start();
  drop(1'700'000'000);
  inbox.wait_for("a.sql not restored again");
  drop(1'700'000'001);
  inbox.wait_restored("a.sql");
  REQUIRE(inbox.got() == "again,again,");
  const std::string names = run_process({{"ls", inbox.in("done")}, "", {}, 0}).out;
  INFO(names);
  REQUIRE(std::count(names.begin(), names.end(), '\n') == 8);  // four, each with a log
  CHECK_THAT(names, Contains("Z-a.sql"));
}

TEST_CASE("a command that fails leaves the file in failed/, and everything running", "[inbox]") {
  Inboxed inbox;
  inbox.script("echo it is broken >&2; exit 7");
  inbox.start_usual();
  inbox.drop("a.sql", "x");
  inbox.wait_failed("a.sql");
  REQUIRE(inbox.docker.running("web"));
  REQUIRE(inbox.docker.running("worker"));
  const std::string log = read_file(inbox.failed("a.sql.log"));
  CHECK_THAT(log, Contains("it is broken"));
  CHECK_THAT(log, Contains("FAILED: the command ended with exit status 7"));
  CHECK_THAT(log, Contains("to go back to it: holdfast"));
  REQUIRE(exists(inbox.failed("a.sql")));
  const Outcome health = inbox.holdfast.run({"status", "--check"});
  REQUIRE(health.exit_code == 3);
  CHECK_THAT(health.out, Contains("a.sql was not restored"));
  // A person who puts it back wants it to be tried again.
  inbox.script("true");
  rename_path(inbox.failed("a.sql"), inbox.in("a.sql"));
  inbox.wait_restored("a.sql");
  REQUIRE(inbox.holdfast.run({"status", "--check"}).exit_code == 0);
}

TEST_CASE("a command that does not end is ended, with what it started", "[inbox]") {
  Inboxed inbox;
  inbox.script("trap '' TERM; (trap '' TERM; sleep 1000) & sleep 1000");
  inbox.start_usual("stop = [\"web\"]\ntimeout = \"1s\"\n");
  inbox.drop("a.sql", "x");
  inbox.wait_failed("a.sql");
  CHECK_THAT(read_file(inbox.failed("a.sql.log")), Contains("took longer than 1.0 s"));
  REQUIRE(inbox.docker.running("web"));
  const std::string ps = run_process({{"ps", "-eo", "args"}, "", {}, 0}).out;
  REQUIRE_THAT(ps, !Contains(inbox.work.path("restore.sh")));
}

TEST_CASE("the log keeps the end of a long output", "[inbox]") {
  Inboxed inbox;
  inbox.script(
      "i=0; while [ $i -lt 30000 ]; do echo line $i; i=$((i+1)); done; printf '\\377\\000'");
  inbox.start_usual("");
  inbox.drop("a.sql", "x");
  inbox.wait_restored("a.sql");
  const std::string log = read_file(inbox.done("a.sql.log"));
  CHECK_THAT(log, Contains("line 29999\n"));
  CHECK_THAT(log, !Contains("line 100\n"));
  CHECK_THAT(log, Contains("without the first"));
  CHECK(log.size() < 80'000);
}

TEST_CASE("what is damaged, empty or too large touches nothing", "[inbox]") {
  Inboxed inbox;
  std::string bytes = packed(inbox, {"gzip", "-1"}, random_bytes_of(200'000, 2));
  std::string name, why;
  SECTION("a flipped bit in gzip, which only its checksum tells") {
    name = "a.sql.gz", why = "the gzip data is damaged";
    bytes[100'000] = static_cast<char>(bytes[100'000] ^ 1);
  }
  SECTION("a gzip that is cut off") {
    name = "a.sql.gz", why = "cut off";
    bytes.resize(bytes.size() - 4);
  }
  SECTION("something behind a gzip") {
    name = "a.sql.gz", why = "follows the gzip data";
    bytes += "rm -rf";
  }
  SECTION("no gzip") {
    name = "a.sql.gz", why = "it is not gzip";
    bytes = "select 1;";
  }
  SECTION("a zstd that is cut off") {
    name = "a.sql.zst", why = "unpacking: ";
    bytes = packed(inbox, {"zstd", "-q"}, random_bytes_of(200'000, 3));
    bytes.resize(bytes.size() / 2);
  }
  SECTION("a flipped bit in xz") {
    name = "a.sql.xz", why = "unpacking: ";
    bytes = packed(inbox, {"xz", "-0"}, random_bytes_of(200'000, 3));
    bytes[100'000] = static_cast<char>(bytes[100'000] ^ 1);
  }
  SECTION("nothing") {
    name = "a.sql", why = "it is empty";
    bytes.clear();
  }
  SECTION("a gzip of nothing") {
    name = "a.sql.gz", why = "it is empty";
    bytes = packed(inbox, {"gzip"}, "");
  }
  inbox.start_usual();
  inbox.drop(name, bytes);
  inbox.wait_failed(name);
  CHECK_THAT(read_file(inbox.failed(name + ".log")), Contains("FAILED: ") && Contains(why));
  REQUIRE(inbox.docker.calls().empty());
  REQUIRE(inbox.got() == "");
  REQUIRE(inbox.holdfast.lines({"snapshots"}).empty());
}

TEST_CASE("a bomb ends where a tenth of the disk is left", "[inbox]") {
  if (!is_root_for("a small disk")) return;
  enter_mount_namespace();
  WorkDir small;
  const LoopMount disk(small, "disk", 192ull << 20);
  Inboxed inbox;
  inbox.holdfast = Holdfast(disk.path() + "/state");
  inbox.start_usual();
  write_file(inbox.work.path("plain"), std::string(1 << 20, '\0'));
  std::string bomb;
  const std::string member = run_tool({"gzip", "-c", inbox.work.path("plain")}).out;
  for (int i = 0; i < 400; ++i) bomb += member;  // 400 MiB of zeros
  inbox.drop("a.sql.gz", bomb);
  inbox.wait_failed("a.sql.gz");
  CHECK_THAT(read_file(inbox.failed("a.sql.gz.log")), Contains("unpacking needs more than"));
  REQUIRE(inbox.docker.calls().empty());
  // What was written is gone, and the journal was never short of space.
  inbox.drop("b.sql", "fits");
  inbox.wait_restored("b.sql");
  REQUIRE(inbox.holdfast.run({"status", "--check"}).exit_code == 3);  // of a.sql.gz alone
  REQUIRE(inbox.holdfast.json({"status"}).at("problems").size() == 1);
}

TEST_CASE("two inboxes have one job at a time, and a mistake names its line", "[inbox]") {
  Inboxed inbox;
  const std::string other = inbox.work.make("other");
  SECTION("two inboxes") {
    const std::string second = "[[inbox]]\npath = \"" + other + "\"\nsettle = \"100ms\"\n" +
                               inbox.usual_command() + "match = [\"*.x\"]\n";
    inbox.write_config(inbox.section(inbox.usual_command()) + second);
    inbox.script("[ -e " + inbox.work.path("busy") + " ] && exit 1; mkdir " +
                 inbox.work.path("busy") + " && rmdir " + inbox.work.path("busy"));
    for (const char* name : {"a.sql", "b.sql", "c.sql"}) write_file(inbox.in(name), "1");
    for (const char* name : {"a.x", "b.x", "c.x"}) write_file(other + "/" + name, "2");
    inbox.start();
    for (const char* name : {"a.sql", "b.sql", "c.sql", "a.x", "b.x", "c.x"}) {
      inbox.wait_restored(name);
    }
    REQUIRE(inbox.got().size() == 6);
  }
  SECTION("a folder that is not there") {
    inbox.write_config("[[inbox]]\npath = \"" + inbox.work.path("none") + "\"\n" +
                       inbox.usual_command());
    auto service = inbox.holdfast.launch({"--config", inbox.work.path("holdfast.toml")});
    const Outcome said = service->wait();
    REQUIRE(said.exit_code == 2);
    CHECK_THAT(said.err, Contains("holdfast.toml:4: path in [[inbox]]") && Contains("make the"));
  }
  SECTION("a Docker API that is no socket") {
    inbox.holdfast.set_env({{"DOCKER_HOST", "tcp://10.0.0.1:2375"}});
    inbox.write_config("[[inbox]]\npath = \"" + inbox.folder + "\"\nstop = [\"web\"]\n" +
                       inbox.usual_command());
    auto service = inbox.holdfast.launch({"--config", inbox.work.path("holdfast.toml")});
    const Outcome said = service->wait();
    REQUIRE(said.exit_code == 2);
    CHECK_THAT(said.err, Contains("DOCKER_HOST is \"tcp://"));
  }
  SECTION("DOCKER_HOST is taken where nothing else is said") {
    inbox.holdfast.set_env({{"DOCKER_HOST", "unix://" + inbox.docker.socket()}});
    inbox.write_config("[[inbox]]\npath = \"" + inbox.folder + "\"\nstop = [\"web\"]\n" +
                       inbox.usual_command());
    inbox.start();
    inbox.drop("a.sql", "x");
    inbox.wait_restored("a.sql");
    REQUIRE(inbox.docker.changes() == Calls{"stop web", "start web"});
  }
}

}  // namespace holdfast
