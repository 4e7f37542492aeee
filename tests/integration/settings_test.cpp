// Settings from the environment, as containers give them, and a state that is not as it has to be.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/holdfast_run.h"

namespace holdfast {
namespace {

using Catch::Contains;
constexpr uid_t kSomebody = 12345;

std::string error_of_start(const Holdfast& holdfast, const std::string& root, uid_t uid = 0) {
  const auto service = holdfast.launch({"data=" + root}, uid);
  const Outcome outcome = service->wait();
  REQUIRE_FALSE(outcome.timed_out);
  REQUIRE(outcome.exit_code != 0);
  return outcome.err;
}

}  // namespace

TEST_CASE("a setting may be in a file", "[settings]") {
  WorkDir work;
  Holdfast holdfast(work.path("state"));
  const std::string root = work.make("data"), secret = work.path("secret");
  write_file(root + "/file.tmp", "left out");
  write_file(root + "/file", "kept");
  write_file(secret, "*.tmp\n");
  holdfast.set_env({{"HOLDFAST_EXCLUDE_FILE", secret}});
  holdfast.start({"data=" + root});
  holdfast.flush();
  REQUIRE(holdfast.text({"ls", "data:"}).find("file.tmp") == std::string::npos);
  REQUIRE(holdfast.text({"cat", "data:file"}) == "kept");
  holdfast.stop();
  holdfast.set_env({{"HOLDFAST_EXCLUDE_FILE", secret}, {"HOLDFAST_EXCLUDE", "x"}});
  REQUIRE_THAT(holdfast.run({"status"}).err, Contains("both HOLDFAST_EXCLUDE and"));
  holdfast.set_env({{"HOLDFAST_EXCLUDE_FILE", work.path("none")}});
  REQUIRE(holdfast.run({"status"}).exit_code == 2);
}

TEST_CASE("a state that has to be there is not begun anew", "[settings]") {
  WorkDir work;
  Holdfast holdfast(work.path("state"));
  const std::string root = work.make("data");
  holdfast.set_env({{"HOLDFAST_EXPECT_STATE", "1"}});
  REQUIRE_THAT(error_of_start(holdfast, root), Contains("is the right volume mounted there?"));
  REQUIRE_FALSE(exists(work.path("state")));
  holdfast.set_env({{"HOLDFAST_EXPECT_STATE", "0"}});
  holdfast.start({"data=" + root});
  holdfast.stop();
  holdfast.set_env({{"HOLDFAST_EXPECT_STATE", "1"}});
  holdfast.start({"data=" + root});
}

TEST_CASE("nor is it begun anew by a command that comes before the service", "[settings]") {
  WorkDir work;
  Holdfast holdfast(work.path("state"));
  const std::string image = work.make("image"), volume = work.make("data");
  write_file(image + "/file", "shipped");
  write_file(work.path("holdfast.toml"),
             "[[dump]]\nname = \"db\"\ncommand = [\"echo\", \"x\"]\nevery = \"1h\"\n");
  const std::vector<std::vector<std::string>> commands = {
      {"seed", image, volume}, {"--config", work.path("holdfast.toml"), "run-dump", "db"}};
  holdfast.set_env({{"HOLDFAST_EXPECT_STATE", "1"}});
  for (const auto& command : commands) {
    const Outcome refused = holdfast.run(command);
    REQUIRE(refused.exit_code == 4);
    REQUIRE_THAT(refused.err, Contains("is the right volume mounted there?"));
    REQUIRE_FALSE(exists(work.path("state")));
    REQUIRE_FALSE(exists(volume + "/file"));
  }
  holdfast.set_env({});
  for (const auto& command : commands) REQUIRE(holdfast.run(command).exit_code == 0);
  holdfast.set_env({{"HOLDFAST_EXPECT_STATE", "1"}});
  for (const auto& command : commands) REQUIRE(holdfast.run(command).exit_code == 0);
}

TEST_CASE("a state of another owner is named, with what to run", "[settings]") {
  if (!is_root_for("becoming somebody else")) return;
  WorkDir work;
  const std::string root = work.make("data"), state = work.make("state");
  REQUIRE(::chmod(work.path().c_str(), 0755) == 0);
  REQUIRE(::chmod(state.c_str(), 0700) == 0);
  const std::string there = error_of_start(Holdfast(state), root, kSomebody);
  REQUIRE_THAT(there, Contains("belongs to 0:0 with mode 0700, and holdfast runs as 12345:12345"));
  REQUIRE_THAT(there, Contains("chown -R 12345:12345 " + state));
  const std::string below = error_of_start(Holdfast(work.path("other/state")), root, kSomebody);
  REQUIRE_THAT(below, Contains("mkdir -p -m 0700 " + work.path("other/state") + " && chown"));
  REQUIRE(::chown(state.c_str(), kSomebody, kSomebody) == 0);
  Holdfast given(state);
  const auto service = given.launch({"data=" + root}, kSomebody);
  REQUIRE(service->wait_for_error(", ready"));
}

TEST_CASE("a command of somebody else is told whose the state is", "[settings]") {
  if (!is_root_for("becoming somebody else")) return;
  WorkDir work;
  Holdfast holdfast(work.path("state"));
  REQUIRE(::chmod(work.path().c_str(), 0755) == 0);
  holdfast.start({"data=" + work.make("data")});
  const auto ask = [&] {
    return run_process(
        {{holdfast_binary(), "--state", holdfast.state(), "status"}, "", {}, kSomebody});
  };
  for (int service = 1; service >= 0; --service) {
    const Outcome refused = ask();
    REQUIRE(refused.exit_code == 1);
    REQUIRE_THAT(refused.err,
                 Contains("cannot use the state: " + holdfast.state() +
                          " belongs to 0:0 with mode 0700, and holdfast runs as 12345:12345"));
    if (service == 1) holdfast.stop();
  }
  REQUIRE(::chmod(work.path().c_str(), 0700) == 0);
  REQUIRE_THAT(ask().err, Contains("looking at the state directory " + holdfast.state() +
                                   ": Permission denied"));
}

}  // namespace holdfast
