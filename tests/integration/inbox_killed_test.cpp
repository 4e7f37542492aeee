// The restore inbox, killed right behind each step that is durable: nothing is restored twice,
// filed twice or forgotten, and the containers run.
#include <catch2/catch.hpp>

#include "tests/support/inboxed.h"

namespace holdfast {
namespace {

using Catch::Contains;

// Kills the service when the state of the inboxes got its name with this text in it.
std::vector<std::string> killed_at(const Inboxed& inbox, const std::string& text) {
  return {"env", "LD_PRELOAD=" HOLDFAST_KILL_AFTER_RENAME,
          "HOLDFAST_TEST_KILL_AT=" + inbox.holdfast.state() + "/inbox",
          "HOLDFAST_TEST_KILL_TEXT=" + text, "ASAN_OPTIONS=verify_asan_link_order=0"};
}

}  // namespace

TEST_CASE("killed behind any durable step, a job comes to its one end", "[inbox]") {
  Inboxed inbox;
  const std::string phase =
      GENERATE("accepted", "stopping", "started", "ended", "filing", "filed", "");
  INFO("killed at: " << phase);
  inbox.holdfast.start_under(
      killed_at(inbox, phase.empty() ? R"("job":null,"last":[{)" : R"("phase":")" + phase + '"'));
  inbox.start_usual();
  inbox.drop("a.sql", "x");
  REQUIRE(inbox.holdfast.service().wait().exit_code == 137);
  const bool before_command = phase == "accepted" || phase == "stopping" || phase == "started";
  REQUIRE(inbox.got() == (before_command ? "" : "x"));
  REQUIRE(exists(inbox.in("a.sql")) == (phase != "filed" && !phase.empty()));
  inbox.holdfast.start_under({});
  inbox.start();
  // Whether the command ran cannot be known: it may have been killed in the middle as well.
  const bool failed = phase == "started";
  if (failed) {
    inbox.wait_failed("a.sql");
    CHECK_THAT(read_file(inbox.failed("a.sql.log")), Contains("it may be half restored"));
  } else if (!phase.empty()) {
    inbox.wait_restored("a.sql");
  }
  inbox.drop("b.sql", "y");
  inbox.wait_restored("b.sql");
  REQUIRE(inbox.got() == (failed ? "y" : "xy"));
  REQUIRE(inbox.docker.running("web"));
  REQUIRE(inbox.docker.running("worker"));
  REQUIRE(inbox.notes().size() == 2);
  REQUIRE_FALSE(exists(inbox.in("a.sql")));
  const std::string where = failed ? inbox.failed("") : inbox.done("");
  const std::string filed = run_tool({"ls", where}).out;
  REQUIRE(filed == (failed ? "a.sql\na.sql.log\n" : "a.sql\na.sql.log\nb.sql\nb.sql.log\n"));
  inbox.holdfast.stop();
  inbox.holdfast.require_clean();
}

}  // namespace holdfast
