// The restore inbox and the Docker API: whatever fails, what ran before runs again.
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/inboxed.h"

namespace holdfast {
namespace {
using Catch::Contains;
}  // namespace

TEST_CASE("an API that cannot be asked ends the job before anything is stopped", "[inbox]") {
  Inboxed inbox;
  std::string why;
  std::string lines = "stop = [\"web\", \"worker\"]\n";
  SECTION("a container that is not there") {
    lines = "stop = [\"web\", \"nothing\"]\n";
    why = "asking for the container nothing: No such container: nothing";
  }
  SECTION("an API that fails") {
    inbox.docker.fail("inspect worker", "the disk is full");
    why = "asking for the container worker: the disk is full";
  }
  SECTION("nobody at the socket") {
    inbox.write_config("[[inbox]]\npath = \"" + inbox.folder + "\"\ndocker = \"" +
                       inbox.work.path("none.sock") + "\"\n" + inbox.usual_command() + lines);
    inbox.start();
    why = "nobody answers on " + inbox.work.path("none.sock");
  }
  if (!inbox.holdfast.running()) inbox.start_usual(lines);
  inbox.drop("a.sql", "x");
  inbox.wait_failed("a.sql");
  CHECK_THAT(read_file(inbox.failed("a.sql.log")), Contains(why));
  REQUIRE(inbox.docker.changes().empty());
  REQUIRE(inbox.got() == "");
  REQUIRE(inbox.holdfast.lines({"snapshots"}).empty());
}

TEST_CASE("a container that does not stop ends the job, and those that did are started",
          "[inbox]") {
  Inboxed inbox;
  inbox.docker.fail("stop worker", "it is stuck");
  inbox.start_usual();
  inbox.drop("a.sql", "x");
  inbox.wait_failed("a.sql");
  CHECK_THAT(read_file(inbox.failed("a.sql.log")),
             Contains("stopping the container worker: it is stuck"));
  REQUIRE(inbox.docker.changes() == Calls{"stop web", "stop worker", "start worker", "start web"});
  REQUIRE(inbox.docker.running("web"));
  REQUIRE(inbox.got() == "");
}

TEST_CASE("a container that does not start is tried for its time, and then told of", "[inbox]") {
  Inboxed inbox;
  inbox.docker.fail("start worker", "no memory");
  inbox.start_usual("stop = [\"web\", \"worker\"]\nstop_timeout = \"2s\"\n");
  inbox.drop("a.sql", "x");
  SECTION("it stays so") {
    inbox.wait_failed("a.sql");
    const std::string log = read_file(inbox.failed("a.sql.log"));
    CHECK_THAT(log, Contains("it was restored, but starting the container worker: no memory, so "
                             "start it by hand"));
    REQUIRE(inbox.docker.running("web"));
    REQUIRE(inbox.got() == "x");
  }
  SECTION("it works at the second try") {
    REQUIRE(inbox.docker.wait_for("start worker"));
    inbox.docker.mend("start worker");
    inbox.wait_restored("a.sql");
    REQUIRE(inbox.docker.running("worker"));
    REQUIRE(inbox.docker.running("web"));
  }
}

TEST_CASE("a service that is stopped starts the containers and files what was half done",
          "[inbox]") {
  Inboxed inbox;
  SECTION("while the command runs") {
    inbox.script(inbox.tell_and_hang());
    inbox.start_usual();
    inbox.drop("a.sql", "x");
    inbox.wait_for_command();
    inbox.holdfast.stop();
    REQUIRE(inbox.docker.running("web"));
    REQUIRE(inbox.docker.running("worker"));
    CHECK_THAT(read_file(inbox.failed("a.sql.log")),
               Contains("the service was stopped while the command ran"));
    // What could not be journaled any more is so at the next start.
    inbox.start();
    inbox.wait_failed("a.sql");
    REQUIRE(inbox.notes().size() == 1);
    REQUIRE(inbox.got() == "x");
  }
  SECTION("while a container stops") {
    inbox.docker.hang("stop worker");
    inbox.start_usual();
    inbox.drop("a.sql", "x");
    REQUIRE(inbox.docker.wait_for("stop worker"));
    inbox.holdfast.stop();
    REQUIRE(inbox.docker.running("web"));
    REQUIRE(exists(inbox.in("a.sql")));
    inbox.docker.mend("stop worker");
    inbox.start();
    inbox.wait_restored("a.sql");
    REQUIRE(inbox.got() == "x");
  }
}

TEST_CASE("killed at any step, the containers run again and nothing is restored twice", "[inbox]") {
  Inboxed inbox;
  inbox.script("[ -e " + inbox.work.path("go") + " ] || { " + inbox.tell_and_hang() + "; }");
  const auto start_and_drop = [&] {
    inbox.start_usual();
    inbox.drop("a.sql", "x");
  };
  const auto kill_and_start = [&] {
    inbox.holdfast.kill();
    for (const char* call : {"inspect web", "stop web", "stop worker", "start worker"}) {
      inbox.docker.mend(call);
    }
    inbox.start();
  };
  bool interrupted = false;
  SECTION("before a container was asked for") {
    inbox.docker.hang("inspect web");
    start_and_drop();
    REQUIRE(inbox.docker.wait_for("inspect web"));
    write_file(inbox.work.path("go"), "");
    kill_and_start();
  }
  SECTION("while the first container stops") {
    inbox.docker.hang("stop web");
    start_and_drop();
    REQUIRE(inbox.docker.wait_for("stop web"));
    write_file(inbox.work.path("go"), "");
    kill_and_start();
  }
  SECTION("between two containers") {
    inbox.docker.hang("stop worker");
    start_and_drop();
    REQUIRE(inbox.docker.wait_for("stop worker"));
    REQUIRE_FALSE(inbox.docker.running("web"));
    write_file(inbox.work.path("go"), "");
    kill_and_start();
    REQUIRE(inbox.docker.wait_for("start web", 1));
  }
  SECTION("while the command runs") {
    start_and_drop();
    inbox.wait_for_command();
    REQUIRE_FALSE(inbox.docker.running("web"));
    kill_and_start();
    interrupted = true;
  }
  SECTION("while a container starts") {
    write_file(inbox.work.path("go"), "");
    inbox.docker.hang("start worker");
    start_and_drop();
    REQUIRE(inbox.docker.wait_for("start worker"));
    kill_and_start();
  }
  SECTION("while it cannot be filed") {
    write_file(inbox.work.path("go"), "");
    write_file(inbox.in("done"), "in the way");
    start_and_drop();
    inbox.wait_for("an inbox cannot finish its job");
    inbox.holdfast.kill();
    REQUIRE(::unlink(inbox.in("done").c_str()) == 0);
    inbox.start();
  }
  if (interrupted) {
    inbox.wait_failed("a.sql");
    const std::string log = read_file(inbox.failed("a.sql.log"));
    CHECK_THAT(log, Contains("it may be half restored"));
    CHECK_THAT(log, Contains("what was left of it was killed"));
    CHECK_THAT(log, Contains("to go back to it: holdfast"));
  } else {
    inbox.wait_restored("a.sql");
    REQUIRE(exists(inbox.done("a.sql.log")));
  }
  REQUIRE(inbox.got() == "x");
  REQUIRE(inbox.docker.running("web"));
  REQUIRE(inbox.docker.running("worker"));
  REQUIRE(inbox.notes().size() == 1);
  REQUIRE_FALSE(exists(inbox.in("a.sql")));
  const std::string ps = run_process({{"ps", "-eo", "args"}, "", {}, 0}).out;
  REQUIRE_THAT(ps, !Contains(inbox.work.path("restore.sh")));
  // And it stays so.
  inbox.holdfast.stop();
  inbox.start();
  inbox.drop("b.sql", "y");
  write_file(inbox.work.path("go"), "");
  inbox.wait_restored("b.sql");
  REQUIRE(inbox.got() == "xy");
}

TEST_CASE("a damaged state of the inboxes takes nothing, and says so", "[inbox]") {
  Inboxed inbox;
  inbox.start_usual();
  inbox.drop("a.sql", "x");
  inbox.wait_restored("a.sql");
  inbox.holdfast.stop();
  std::string text = read_file(inbox.work.path("state/inbox"));
  text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 1);
  write_file(inbox.work.path("state/inbox"), text);
  inbox.drop("b.sql", "y");
  inbox.start();
  inbox.wait_for("the inboxes take nothing");
  REQUIRE_THAT(inbox.holdfast.run({"status", "--check"}).out, Contains("is damaged"));
  REQUIRE(inbox.holdfast.run({"check"}).exit_code == 3);
  REQUIRE(::unlink(inbox.work.path("state/inbox").c_str()) == 0);
  inbox.wait_restored("b.sql");
  REQUIRE(inbox.got() == "xy");
}

}  // namespace holdfast
