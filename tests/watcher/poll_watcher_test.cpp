// PollWatcher: the contract, as far as a sweep can keep it, and its timer.
#include <poll.h>

#include <catch2/catch.hpp>

#include "temp_tree.h"
#include "watcher/poll_watcher.h"
#include "watcher_contract.h"

using namespace holdfast;

namespace {
constexpr int64_t kHourNs = 3'600'000'000'000;

std::unique_ptr<PollWatcher> make_watcher(int64_t interval_ns) {
  auto watcher = PollWatcher::create(interval_ns);
  INFO((watcher.ok() ? std::string() : watcher.error().message));
  REQUIRE(watcher.ok());
  return std::move(*watcher);
}

size_t hints_of(PollWatcher& watcher) {
  size_t hints = 0;
  REQUIRE(watcher
              .drain([&](const Hint& hint) {
                CHECK(hint.kind == HintKind::kSweep);
                ++hints;
              })
              .ok());
  return hints;
}
}  // namespace

TEST_CASE("polling keeps the watcher's contract", "[poll][contract]") {
  check_watcher_contract({[](const TempTree&) { return make_watcher(kHourNs); }, false, false});
}

TEST_CASE("polling asks for one sweep when it is asked, and for none before its time", "[poll]") {
  const auto watcher = make_watcher(kHourNs);
  CHECK(std::string(watcher->backend()) == "poll");
  CHECK(hints_of(*watcher) == 0);
  watcher->ask();
  watcher->ask();
  CHECK(hints_of(*watcher) == 1);
  CHECK(hints_of(*watcher) == 0);
}

TEST_CASE("polling asks for a sweep each time its timer fires", "[poll]") {
  const auto watcher = make_watcher(2'000'000);
  for (int i = 0; i < 3; ++i) {
    pollfd fd{watcher->fd(), POLLIN, 0};
    REQUIRE(::poll(&fd, 1, 10'000) == 1);
    CHECK(hints_of(*watcher) == 1);
  }
}
