// Dumps: which one is good, what happens to the others, schedules, snapshots, hooks.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <sstream>

#include "tests/support/dumped.h"
#include "tests/support/mounts.h"

namespace holdfast {
namespace {

using Catch::Contains;

// Runs it, which is not good, and returns the record.
TestJson run_bad(const Dumped& d, int exit_code, const std::string& outcome) {
  const Outcome said = d.run();
  INFO("run-dump said: " << said.err);
  REQUIRE(said.exit_code == exit_code);
  REQUIRE_THAT(said.err, Contains(outcome) && Contains("last good one"));
  const TestJson last = d.state().at("last");
  REQUIRE(last.at("outcome") == outcome);
  const TestJson problems = d.holdfast.json({"status"}).at("problems");
  REQUIRE_THAT(problems.dump(), Contains("the dump app-db is not good") && Contains(outcome));
  REQUIRE(d.holdfast.run({"status", "--check"}).exit_code == 3);
  return last;
}

}  // namespace

TEST_CASE("only a good dump becomes the version; the others are kept beside it", "[dumps]") {
  Dumped d("timeout = \"1s\"");
  const std::string first = random_bytes_of(1'000'000, 1), good = random_bytes_of(1'100'000, 2);
  d.start_with(first);
  REQUIRE(d.content() == first);
  d.set(good);
  REQUIRE(d.run().exit_code == 0);
  const TestJson good_state = d.state();
  REQUIRE(good_state.at("last_good") == good_state.at("last"));
  REQUIRE(good_state.at("last").at("exit") == 0);

  d.set(good.substr(0, 1000));
  const TestJson shrunk = run_bad(d, 3, "shrunk");
  d.set("");
  const TestJson empty = run_bad(d, 3, "empty");
  d.set(good, "echo no such database >&2; exit 4");
  const TestJson failed = run_bad(d, 1, "failed");
  REQUIRE(failed.at("exit") == 4);
  REQUIRE_THAT(failed.at("words").get<std::string>(), Contains("no such database"));
  d.set(good, "kill -9 $$");
  REQUIRE(run_bad(d, 1, "failed").at("exit") == 137);
  d.set("some", "trap '' TERM; sleep 1000");
  const TestJson late = run_bad(d, 1, "failed");
  REQUIRE_THAT(late.at("words").get<std::string>(), Contains("did not end within 1"));

  REQUIRE(d.content() == good);
  REQUIRE(d.state().at("last_good") == good_state.at("last_good"));
  REQUIRE(d.content(shrunk.at("seq")) == good.substr(0, 1000));
  REQUIRE(d.content(empty.at("seq")).empty());
  REQUIRE(d.content(late.at("seq")) == "some");
  REQUIRE(d.content(failed.at("seq").get<uint64_t>() + 1) == good);
  d.holdfast.text({"restore", d.path, "--at", "now", "--to", d.work.path("out")});
  REQUIRE(read_file(d.work.path("out/app-db")) == good);

  // A prune that keeps two contents of each file counts good ones only.
  d.holdfast.text({"prune", "--all", "0s", "--last", "2"});
  REQUIRE(d.content(good_state.at("last").at("seq").get<uint64_t>() - 1) == first);
  d.set(good);
  REQUIRE(d.run().exit_code == 0);
  REQUIRE(d.holdfast.json({"status"}).at("healthy") == true);
  d.holdfast.require_clean(true);
  d.holdfast.kill();
  d.holdfast.text({"rebuild"});
  REQUIRE(d.content() == good);
  d.holdfast.require_clean(true);
}

TEST_CASE("a first dump that fails is no version at all", "[dumps]") {
  Dumped d;
  d.set("half", "exit 1");
  d.holdfast.start({});
  REQUIRE(d.holdfast.service().wait_for_error("the dump app-db is not good"));
  REQUIRE_THAT(d.holdfast.json({"status"}).at("problems").dump(), Contains("no good one yet"));
  d.holdfast.stop();
  REQUIRE(d.holdfast.run({"cat", d.path}).exit_code == 4);
  const TestJson state = d.state();
  REQUIRE(state.at("last_good").is_null());
  REQUIRE(d.content(state.at("last").at("seq")) == "half");
  d.set("whole");
  REQUIRE(d.run().exit_code == 0);  // without a service
  REQUIRE(d.content() == "whole");
  d.holdfast.require_clean(true);
}

TEST_CASE("a dump that cannot be started, or is not configured, says so", "[dumps]") {
  Dumped d;
  REQUIRE(d.holdfast.run({"run-dump", "other"}).exit_code == 2);
  write_file(d.work.path("holdfast.toml"),  // and nothing to watch
             "[[dump]]\nname = \"app-db\"\ncommand = [\"no-such-command\"]\nevery = \"1h\"\n");
  d.holdfast.start({});
  REQUIRE(d.holdfast.service().wait_for_error("no-such-command"));
  d.holdfast.flush();
  const Outcome said = d.run();
  REQUIRE(said.exit_code == 1);
  REQUIRE_THAT(said.err, Contains("no-such-command") && Contains("exit 127"));
}

TEST_CASE("one dump of a name at a time; one that is killed leaves nothing", "[dumps]") {
  Dumped d;
  d.start_with("first");
  const std::string gate = d.work.path("gate");
  REQUIRE(::mkfifo(gate.c_str(), 0600) == 0);
  d.set("second", "echo begun >&2; cat " + gate);
  const auto begin = [&] {
    Command command{{holdfast_binary(), "--state", d.holdfast.state(), "run-dump", "app-db"},
                    "",
                    {{"HOLDFAST_CONFIG", d.work.path("holdfast.toml")}},
                    0};
    return std::make_unique<Process>(command);
  };
  auto slow = begin();
  {
    const Fd writer(::open(gate.c_str(), O_WRONLY | O_CLOEXEC));  // waits until the command reads
    const Outcome busy = d.run();
    REQUIRE(busy.exit_code == 1);
    REQUIRE_THAT(busy.err, Contains("is being written"));
  }
  REQUIRE(slow->wait().exit_code == 0);
  REQUIRE(d.content() == "second");

  auto killed = begin();
  {
    const Fd writer(::open(gate.c_str(), O_WRONLY | O_CLOEXEC));
    killed->signal(SIGKILL);
    killed->wait();
  }
  d.set("third");
  Outcome next;
  do {  // the service sees its end a moment later
    next = d.run();
  } while (next.exit_code == 1 && next.err.find("is being written") != std::string::npos);
  REQUIRE(next.exit_code == 0);
  REQUIRE(d.holdfast.lines({"log", "--kind", "dump"}).size() == 3);
  d.holdfast.require_clean(true);
}

TEST_CASE("a first dump needs no service and no state", "[dumps]") {
  Dumped d;
  d.set("some");
  SECTION("run-dump") {
    REQUIRE(d.run().exit_code == 0);
    REQUIRE(d.content() == "some");
  }
  SECTION("a snapshot, which says what is not in it") {
    const Outcome taken = d.holdfast.run({"snapshot"});
    INFO("snapshot said: " << taken.out << taken.err);
    REQUIRE(taken.exit_code == 3);
    REQUIRE_THAT(taken.err, Contains("no service has looked at yet: data; start holdfast watch"));
    REQUIRE(d.holdfast.text({"cat", d.path, "--at", d.snapshot()}) == "some");
    d.holdfast.start({});
    d.holdfast.stop();
    REQUIRE(d.holdfast.run({"snapshot"}).exit_code == 0);
  }
  SECTION("a snapshot of nothing but dumps") {
    write_file(d.work.path("holdfast.toml"),
               "[[dump]]\nname = \"app-db\"\ncommand = [\"echo\", \"some\"]\nevery = \"1h\"\n");
    const TestJson taken = d.holdfast.json({"snapshot"});
    REQUIRE(d.holdfast.text({"cat", d.path, "--at", d.snapshot()}) == "some\n");
    REQUIRE(taken.at("undo").size() == 1);  // there is nothing to restore in place
    REQUIRE_THAT(taken.at("undo").at(0).get<std::string>(), Contains("restore dumps:app-db"));
  }
  SECTION("a snapshot without a dump makes no state") {
    REQUIRE(d.holdfast.run({"snapshot", "--no-dumps"}).exit_code == 4);
    REQUIRE_FALSE(exists(d.holdfast.state()));
    return;
  }
  d.holdfast.require_clean(true);
}

// It ends within the time that it has for it; nobody is left to take its status.
static void require_gone(pid_t pid) {
  const std::string stat = "/proc/" + std::to_string(pid) + "/stat";
  const auto gone = [&] {
    return ::kill(pid, 0) != 0 || read_file(stat).find(") Z ") != std::string::npos;
  };
  for (int asked = 0; !gone(); ++asked) {
    REQUIRE(asked < 30'000);
    ::poll(nullptr, 0, 1);
  }
}

TEST_CASE("a dump's command does not outlive who makes the dump", "[dumps]") {
  Dumped d;
  const std::string gate = d.work.path("gate"), pids = d.work.path("pids");
  REQUIRE(::mkfifo(gate.c_str(), 0600) == 0);
  // The command, and what it started, which no signal to the command alone would reach.
  const std::string hang = "sleep 1000 & echo $$ $! > " + pids + "; cat " + gate + "; wait";
  const bool service = GENERATE(false, true), scheduled = GENERATE(false, true);
  if (scheduled && !service) return;
  if (service && !scheduled) d.start_with("first");
  d.set("second", hang);
  std::unique_ptr<Process> client;
  if (scheduled) {
    d.holdfast.start({});
  } else {
    client = std::make_unique<Process>(
        Command{{holdfast_binary(), "--state", d.holdfast.state(), "run-dump", "app-db"},
                "",
                {{"HOLDFAST_CONFIG", d.work.path("holdfast.toml")}},
                0});
  }
  const Fd writer(::open(gate.c_str(), O_WRONLY | O_CLOEXEC));  // waits until the command reads
  pid_t command = 0, started = 0;
  std::istringstream(read_file(pids)) >> command >> started;
  REQUIRE(::kill(command, 0) == 0);
  REQUIRE(::kill(started, 0) == 0);
  if (scheduled) {
    d.holdfast.kill();
  } else {
    client->signal(SIGKILL);
    client->wait();
  }
  require_gone(command);
  require_gone(started);
  d.set("third");
  Outcome next;
  do {  // a service sees the client's end a moment later
    next = d.run();
  } while (next.exit_code == 1 && next.err.find("is being written") != std::string::npos);
  REQUIRE(next.exit_code == 0);
  REQUIRE(d.content() == "third");
  REQUIRE(d.holdfast.lines({"log", "--kind", "dump"}).size() == (service && !scheduled ? 2 : 1));
  d.holdfast.require_clean(true);
}

TEST_CASE("the service makes dumps and snapshots by its schedule", "[dumps]") {
  Dumped d("every = \"1s\"", "[snapshot]\nevery = \"1s\"\nkeep = 2\n");
  d.start_with("some");
  REQUIRE(d.holdfast.service().wait_for_error("took the snapshot"));
  const auto have = [&](size_t dumps) {
    return d.holdfast.lines({"log", "--kind", "dump"}).size() >= dumps;
  };
  for (int asked = 0; !have(3); ++asked) REQUIRE(asked < 10'000);
  d.holdfast.stop();
  REQUIRE(d.holdfast.lines({"snapshots"}).size() <= 3);  // the third goes a moment after it came
  const size_t before = d.holdfast.lines({"log", "--kind", "dump"}).size();
  d.write_config("every = \"300d\"", "");  // restarted within the span: none is due
  d.holdfast.start({});
  d.holdfast.flush();
  d.holdfast.stop();
  REQUIRE(d.holdfast.lines({"log", "--kind", "dump"}).size() == before);
}

TEST_CASE("a snapshot makes the dumps first, between its hooks", "[dumps]") {
  Dumped d;
  const std::string told = d.work.path("told");
  const auto hook = [&](const std::string& name, const std::string& then) {
    return name + " = [\"/bin/sh\", \"-c\", \"echo " + name + " >> " + told + "; " + then + "\"]\n";
  };
  d.start_with("some of it");
  d.write_config("restore = \"cat > " + d.work.path("back") + "\"",
                 "[snapshot]\n" + hook("pre", "true") + hook("post", "true"));
  d.set("all of it");
  const TestJson taken = d.holdfast.json({"snapshot", "-m", "before"});
  REQUIRE(taken.at("dumps").at(0).at("rejected") == false);
  REQUIRE(taken.at("message") == "before");
  REQUIRE(read_file(told) == "pre\npost\n");
  REQUIRE(d.content() == "all of it");
  REQUIRE(taken.at("undo").size() == 2);
  REQUIRE_THAT(taken.at("undo").at(1).get<std::string>(), Contains("cat > "));
  // What the deploy brings goes again.
  write_file(d.root + "/brought", "x");
  const std::string undo = taken.at("undo").at(0);
  run_tool({"sh", "-c", holdfast_binary() + undo.substr(std::string("holdfast").size())});
  REQUIRE_FALSE(exists(d.root + "/brought"));

  d.set("all of it", "exit 1");
  const Outcome bad = d.holdfast.run({"snapshot"});
  REQUIRE(bad.exit_code == 3);
  REQUIRE_THAT(bad.err, Contains("the snapshot is taken") && Contains("app-db"));
  REQUIRE(d.holdfast.lines({"snapshots"}).size() == 3);
  REQUIRE(d.holdfast.run({"snapshot", "--no-dumps"}).exit_code == 0);

  d.write_config("", "[snapshot]\n" + hook("pre", "exit 9") + hook("post", "true"));
  write_file(told, "");
  const Outcome refused = d.holdfast.run({"snapshot"});
  REQUIRE(refused.exit_code == 1);
  REQUIRE_THAT(refused.err, Contains("no snapshot is taken") && Contains("exit status 9"));
  REQUIRE(read_file(told) == "pre\npost\n");  // what was paused goes on
  REQUIRE(d.holdfast.lines({"snapshots"}).size() == 4);
  d.write_config("", "[snapshot]\nhook_timeout = \"1s\"\n" + hook("pre", "sleep 1000"));
  REQUIRE_THAT(d.holdfast.run({"snapshot"}).err, Contains("did not end within 1"));
}

TEST_CASE("a restore that is killed does not look like an end to its command", "[dumps]") {
  Dumped d;
  d.start_with(random_bytes_of(8'000'000, 3));
  const std::string gate = d.work.path("gate"), pids = d.work.path("pids");
  const std::string done = d.work.path("done");
  REQUIRE(::mkfifo(gate.c_str(), 0600) == 0);
  // It does not hurry to end, either.
  const std::string command =
      "trap '' TERM; echo $$ > " + pids + "; cat " + gate + "; cat > /dev/null; touch " + done;
  Process client(Command{{holdfast_binary(), "--state", d.holdfast.state(), "restore", d.path,
                          "--at", "now", "--to-command", command},
                         "",
                         {},
                         0});
  Fd writer(::open(gate.c_str(), O_WRONLY | O_CLOEXEC));  // waits until the command reads
  pid_t pid = 0;
  std::istringstream(read_file(pids)) >> pid;
  client.signal(SIGKILL);
  writer.reset();
  require_gone(pid);
  REQUIRE_FALSE(exists(done));
}

TEST_CASE("a restore to a command is verified before its input ends", "[dumps]") {
  Dumped d;
  const std::string bytes = random_bytes_of(8'000'000, 3);
  d.start_with(bytes);
  const std::string out = d.work.path("out"), done = d.work.path("done");
  const std::string command = "cat > " + out + " && touch " + done;
  const auto restore = [&](const std::string& what, const std::string& to) {
    return d.holdfast.run({"restore", what, "--at", "now", "--to-command", to});
  };
  REQUIRE(restore(d.path, command).exit_code == 0);
  REQUIRE(read_file(out) == bytes);
  REQUIRE(exists(done));
  REQUIRE(restore("data:a", "cat > " + out).exit_code == 0);  // of any file
  REQUIRE(read_file(out) == "a");
  const Outcome failed = restore(d.path, "cat > /dev/null; exit 7");
  REQUIRE(failed.exit_code == 1);
  REQUIRE_THAT(failed.err, Contains("exit status 7"));
  REQUIRE(restore(d.path, "exit 0").exit_code == 0);  // it need not read all
  REQUIRE(restore("data:", "touch " + out + "2").exit_code == 2);
  REQUIRE(restore("dumps:none", "touch " + out + "2").exit_code == 4);
  REQUIRE_FALSE(exists(out + "2"));

  d.holdfast.stop();
  const auto packs = std::filesystem::directory_iterator(d.holdfast.state() + "/packs");
  const std::string pack = packs->path();
  std::string stored = read_file(pack);
  stored[5'000'000] = static_cast<char>(stored[5'000'000] ^ 1);
  write_file(pack, stored);
  REQUIRE(::unlink(done.c_str()) == 0);
  for (const bool service : {false, true}) {
    if (service) d.holdfast.start({});
    const Outcome damaged = restore(d.path, command);
    INFO("restore said: " << damaged.err);
    REQUIRE(damaged.exit_code == 1);
    REQUIRE_THAT(damaged.err, Contains("damaged data"));
    REQUIRE_FALSE(exists(done));
  }
}

TEST_CASE("a full disk refuses a dump, and nothing of it is journaled", "[dumps]") {
  if (!is_root_for("mounting a small file system to fill")) return;
  Dumped d;
  const LoopMount disk(d.work, "disk", 64 << 20);
  Holdfast holdfast(disk.path() + "/state");
  holdfast.set_env({{"HOLDFAST_CONFIG", d.work.path("holdfast.toml")}});
  d.set("small");
  const std::string ballast = disk.path() + "/ballast";
  write_file(ballast, std::string(20 << 20, 'x'));
  holdfast.start({});
  REQUIRE(holdfast.service().wait_for_error("dumped app-db"));
  d.set("small", "head -c 200000000 /dev/urandom");
  const Outcome refused = holdfast.run({"run-dump", "app-db"});
  INFO("run-dump said: " << refused.err);
  REQUIRE(refused.exit_code == 1);
  REQUIRE_THAT(refused.err, Contains("full") && Contains("free some space"));
  write_file(d.root + "/b", "b");  // small changes go on: it was the dump that was too large
  holdfast.flush();
  REQUIRE(holdfast.text({"cat", d.path}) == "small");
  REQUIRE(holdfast.lines({"history", d.path}).size() == 1);
  REQUIRE(::unlink(ballast.c_str()) == 0);
  d.set("small again");
  Outcome accepted;  // it looks for space about once a second
  for (int attempt = 0; attempt < 200; ++attempt) {
    accepted = holdfast.run({"run-dump", "app-db"});
    if (accepted.exit_code == 0) break;
    REQUIRE_THAT(accepted.err, Contains("full"));
  }
  REQUIRE(accepted.exit_code == 0);
  REQUIRE(holdfast.text({"cat", d.path}) == "small again");
  holdfast.stop();
  holdfast.require_clean(true);
}

}  // namespace holdfast
