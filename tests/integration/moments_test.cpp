// Any moment that was flushed comes back exactly: the whole tree with every attribute, after a
// restart, whatever happened to the tree in between.
#include <catch2/catch.hpp>

#include "tests/support/churn.h"
#include "tests/support/holdfast_run.h"

namespace holdfast {

TEST_CASE("every flushed moment is restored exactly after a cold start", "[moments]") {
  constexpr int kRounds = 10;
  const unsigned seed = announced_seed("moments");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  WorkDir work;
  const std::string root = work.make("data");
  Churn churn(root, work.make("outside"), seed);
  churn.steps(100);
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});

  std::vector<std::pair<uint64_t, Tree>> moments;
  for (int round = 0; round < kRounds; ++round) {
    churn.steps(60);
    const uint64_t seq = holdfast.flush();
    churn.flushed();
    moments.emplace_back(seq, read_tree(root));
    if (round > 0) REQUIRE(seq > moments[moments.size() - 2].first);
  }
  holdfast.stop();

  SECTION("from the service") {
    holdfast.start({"data=" + root});
    for (const auto& [seq, tree] : moments) holdfast.require_restores(work, seq, tree);
    holdfast.require_clean(true);
    holdfast.stop();
  }
  SECTION("in place, from a tree that has gone on") {
    holdfast.start({"data=" + root});
    const auto& [seq, tree] = moments[moments.size() / 2];
    const TestJson done = holdfast.json({"restore", "--at", at(seq), "--in-place", "--delete"});
    INFO(done.dump());
    REQUIRE(differences(tree, read_tree(root)) == "");
    // The restored tree is a moment like any other.
    holdfast.require_restores(work, holdfast.flush(), tree);
    holdfast.stop();
  }
  SECTION("without a service") {
    for (const auto& [seq, tree] : moments) holdfast.require_restores(work, seq, tree);
  }
}

// Finds the operation that a failed seed is about: HOLDFAST_TEST_TRACE=1 prints each.
TEST_CASE("each small step is restored exactly", "[moments]") {
  const unsigned seed = announced_seed("small steps");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  WorkDir work;
  const std::string root = work.make("data");
  Churn churn(root, work.make("outside"), seed);
  churn.steps(40);
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  for (int round = 0; round < 100; ++round) {
    churn.steps(4);
    const uint64_t seq = holdfast.flush();
    churn.flushed();
    holdfast.require_restores(work, seq, read_tree(root));
  }
  holdfast.stop();
}

}  // namespace holdfast
