// A full disk under the state: nothing dies, nothing acknowledged is lost, everybody is told, and
// all is well again as soon as there is space.
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/mounts.h"

namespace holdfast {

using Catch::Contains;

TEST_CASE("a full disk is survived, told and overcome", "[full]") {
  if (!is_root_for("mounting a small file system to fill")) return;
  constexpr size_t kMiB = 1 << 20;
  WorkDir work;
  const LoopMount disk(work, "disk", 64 * kMiB);
  const std::string root = work.make("data");
  const std::string ballast = disk.path() + "/ballast";
  write_file(ballast, random_bytes_of(30 * kMiB, 1));
  Holdfast holdfast(disk.path() + "/state");
  write_file(root + "/early", random_bytes_of(kMiB, 2));
  holdfast.start({"data=" + root});
  const uint64_t early_seq = holdfast.flush();
  const Tree early = read_tree(root);

  // More than what is left, in files that fit one by one.
  for (unsigned i = 0; i < 16; ++i) {
    write_file(root + "/fill" + std::to_string(i), random_bytes_of(2 * kMiB, 100 + i));
  }
  const Outcome refused = holdfast.run({"flush", "--timeout", "60s"});
  INFO("flush said: " << refused.err);
  REQUIRE(refused.exit_code == 1);
  REQUIRE_THAT(refused.err, Contains("full") && Contains("free") && Contains(holdfast.state()));
  const TestJson sick = holdfast.json({"status"});
  REQUIRE(sick.at("healthy") == false);
  REQUIRE_THAT(sick.at("problems").dump(), Contains("full"));
  REQUIRE(holdfast.run({"status", "--check"}).exit_code == 3);
  REQUIRE(holdfast.running());
  holdfast.require_restores(work, early_seq, early);  // reading goes on

  SECTION("while it runs") {}
  SECTION("killed while the disk is full") {
    holdfast.kill();
    auto blocked = holdfast.launch({"data=" + root});
    // It may refuse to start, in words, or wait for space; it must not damage anything.
    if (!blocked->wait_for_error(", ready", 5'000) && !blocked->running()) {
      const Outcome outcome = blocked->wait();
      REQUIRE(outcome.exit_code == 1);
      REQUIRE_THAT(outcome.err, Contains("full") || Contains("space"));
    }
    blocked.reset();
  }
  REQUIRE(::unlink(ballast.c_str()) == 0);
  if (!holdfast.running()) holdfast.start({"data=" + root});
  // It looks for space by itself, about once a second; until then flush goes on refusing at once.
  Outcome accepted;
  for (int attempt = 0; attempt < 200; ++attempt) {
    accepted = holdfast.run({"flush", "--timeout", "60s"});
    if (accepted.exit_code == 0) break;
    INFO("the service's log: " << holdfast.service().error_output());
    INFO("status: " << holdfast.run({"status", "--json"}).out);
    REQUIRE_THAT(accepted.err, Contains("full"));
  }
  INFO("flush said: " << accepted.err);
  REQUIRE(accepted.exit_code == 0);
  holdfast.require_restores(work, holdfast.flush(), read_tree(root));
  holdfast.require_restores(work, early_seq, early);
  REQUIRE(holdfast.json({"status"}).at("healthy") == true);
  holdfast.require_clean(true);
  holdfast.stop();
}

}  // namespace holdfast
