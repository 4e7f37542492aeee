// The restore inbox and dumps: the way back has the database of right before, where there is a way.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/inboxed.h"
#include "tests/support/raw_put.h"

namespace holdfast {
namespace {

using Catch::Contains;

// A "database" that is a file in no watched directory, with a dump, and an inbox that overwrites
// it.
struct DumpedInbox : Inboxed {
  std::string database = work.path("database");
  DumpedInbox() {
    set("monday");
    write_file(work.path("how"), "true\n");
    script("cp \"$1\" " + database);
  }
  void set(const std::string& bytes) const { write_file(database, bytes); }
  std::string dump_section() const {
    return "[[dump]]\nname = \"app-db\"\nevery = \"300d\"\ncommand = [\"/bin/sh\", \"-c\", \"cat " +
           database + "; . " + work.path("how") + "\"]\nrestore = \"cat > " + database + "\"\n";
  }
  void start_dumping(const std::string& lines = "stop = [\"web\", \"worker\"]\n") {
    write_config(dump_section() + section(usual_command() + lines));
    start();
  }
  // Then only an inbox makes another one.
  void wait_for_first_dump() { wait_for("dumped app-db"); }
  std::string log_of(const std::string& name) const { return read_file(done(name + ".log")); }
  // The command that the log says goes back, as a person would paste it.
  void go_back(const std::string& log) const {
    const size_t begin = log.find("go back to it: holdfast "), end = log.find('\n', begin);
    REQUIRE(begin != std::string::npos);
    const std::string command = log.substr(begin + 15, end - begin - 15);
    INFO(command);
    run_tool({"sh", "-c", "holdfast() { " + holdfast_binary() + " \"$@\"; }\n" + command});
  }
};

}  // namespace

TEST_CASE("before it restores, an inbox dumps the database, and its undo brings that back",
          "[inbox]") {
  DumpedInbox inbox;
  inbox.start_dumping();
  inbox.wait_for_first_dump();
  inbox.set("tuesday");
  write_file(inbox.data + "/a", "second");
  inbox.drop("app.sql", "last week");
  inbox.wait_restored("app.sql");
  REQUIRE(read_file(inbox.database) == "last week");
  write_file(inbox.data + "/a", "third");
  const std::string log = inbox.log_of("app.sql");
  INFO(log);
  const size_t stopped = log.find("stopped worker"), dumped = log.find("dumped app-db"),
               pinned = log.find("pinned as"), runs = log.find("runs ");
  REQUIRE(stopped < dumped);
  REQUIRE(dumped < pinned);
  REQUIRE(pinned < runs);
  CHECK_THAT(log, !Contains("WARNING"));
  CHECK_THAT(inbox.notes().at(0).at("note").get<std::string>(), Contains("restored; undo with"));
  inbox.go_back(log);
  REQUIRE(read_file(inbox.database) == "tuesday");
  REQUIRE(read_file(inbox.data + "/a") == "second");
  inbox.holdfast.require_clean();
}

TEST_CASE("a dump that is not good stops no restore, and is told of", "[inbox]") {
  DumpedInbox inbox;
  std::string why;
  bool was_good = true;
  SECTION("the database is broken") {
    inbox.start_dumping();
    inbox.wait_for_first_dump();
    write_file(inbox.work.path("how"), "echo the relation is missing >&2; exit 3\n");
    why = "the dump app-db is not good: failed, exit 3";
  }
  SECTION("the database is empty") {
    inbox.start_dumping();
    inbox.wait_for_first_dump();
    inbox.set("");
    why = "the dump app-db is not good: empty";
  }
  SECTION("there has never been a good one") {
    was_good = false;
    inbox.set("");
    inbox.start_dumping();
    inbox.wait_for("the dump app-db is not good");
    why = "the dump app-db is not good: empty";
  }
  inbox.drop("app.sql", "last week");
  inbox.wait_restored("app.sql");
  REQUIRE(read_file(inbox.database) == "last week");
  REQUIRE(inbox.docker.running("web"));
  const std::string log = inbox.log_of("app.sql");
  INFO(log);
  CHECK_THAT(log, Contains("WARNING: " + why) && Contains("it is restored all the same"));
  CHECK_THAT(inbox.notes().at(0).at("note").get<std::string>(),
             Contains("restored, without a good dump of right before of: app-db; undo with"));
  CHECK_THAT(inbox.holdfast.service().error_output(), Contains("restored all the same"));
  inbox.go_back(log);
  REQUIRE(read_file(inbox.database) == (was_good ? "monday" : "last week"));
}

TEST_CASE("an inbox says which dumps are made before it", "[inbox]") {
  DumpedInbox inbox;
  SECTION("none") {
    inbox.start_dumping("dumps = []\n");
    inbox.wait_for_first_dump();
    inbox.drop("app.sql", "last week");
    inbox.wait_restored("app.sql");
    REQUIRE(inbox.holdfast.lines({"log", "--kind", "dump"}).size() == 1);
    CHECK_THAT(inbox.log_of("app.sql"), !Contains("--to-command"));
  }
  SECTION("this one") {
    inbox.start_dumping("dumps = [\"app-db\"]\n");
    inbox.wait_for_first_dump();
    inbox.drop("app.sql", "last week");
    inbox.wait_restored("app.sql");
    REQUIRE(inbox.holdfast.lines({"log", "--kind", "dump"}).size() == 2);
  }
  SECTION("one that is being made already is waited for, and made after it") {
    inbox.start_dumping();
    inbox.wait_for_first_dump();
    RawPut other(inbox.holdfast.state(), "dumps:app-db");
    REQUIRE(other.send("half"));
    inbox.drop("app.sql", "last week");
    REQUIRE(inbox.docker.wait_for("stop worker"));
    for (int asked = 0; asked < 50; ++asked) inbox.status();  // time to do wrong
    REQUIRE(inbox.got() == "");
    other.break_off();
    inbox.wait_restored("app.sql");
    CHECK_THAT(inbox.log_of("app.sql"), Contains("dumped app-db") && !Contains("WARNING"));
  }
}

TEST_CASE("a service that ends while an inbox dumps begins the job anew", "[inbox]") {
  DumpedInbox inbox;
  inbox.start_dumping();
  inbox.wait_for_first_dump();
  const std::string gate = inbox.work.path("gate");
  REQUIRE(::mkfifo(gate.c_str(), 0600) == 0);
  write_file(inbox.work.path("how"), "echo > " + gate + "; sleep 1000\n");
  inbox.drop("app.sql", "last week");
  run_tool({"timeout", "100", "cat", gate});
  REQUIRE_FALSE(inbox.docker.running("web"));
  const bool killed = GENERATE(false, true);
  if (killed) inbox.holdfast.kill();
  if (!killed) inbox.holdfast.stop();
  REQUIRE(inbox.docker.running("web") == !killed);
  REQUIRE(exists(inbox.in("app.sql")));
  REQUIRE(read_file(inbox.database) == "monday");
  write_file(inbox.work.path("how"), "true\n");
  inbox.start();
  inbox.wait_restored("app.sql");
  REQUIRE(read_file(inbox.database) == "last week");
  REQUIRE(inbox.got() == "last week");
  REQUIRE(inbox.docker.running("web"));
  REQUIRE(inbox.docker.running("worker"));
  REQUIRE(inbox.holdfast.lines({"log", "--kind", "dump"}).size() == 2);
  inbox.go_back(inbox.log_of("app.sql"));
  REQUIRE(read_file(inbox.database) == "monday");
  inbox.holdfast.require_clean();
}

}  // namespace holdfast
