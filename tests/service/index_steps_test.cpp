#include "service/index_steps.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>

#include "base/hash.h"

namespace holdfast {
namespace {

std::vector<IndexChange> changes_of(size_t count) {
  std::vector<IndexChange> changes(count);
  std::mt19937_64 random(count);
  for (IndexChange& change : changes) {
    for (uint8_t& byte : change.id.bytes) byte = static_cast<uint8_t>(random());
  }
  std::sort(changes.begin(), changes.end(),
            [](const IndexChange& a, const IndexChange& b) { return a.id < b.id; });
  return changes;
}

// Pages of an index in which the ids are spread evenly.
size_t pages_of(const std::vector<IndexChange>& changes, size_t begin, size_t end, uint64_t pages) {
  std::set<uint64_t> seen;
  for (size_t i = begin; i < end; ++i) {
    const auto& bytes = changes[i].id.bytes;
    const uint64_t place = uint64_t{bytes[0]} << 24 | uint64_t{bytes[1]} << 16 |
                           uint64_t{bytes[2]} << 8 | uint64_t{bytes[3]};
    seen.insert(place * pages >> 32);
  }
  return seen.size();
}

}  // namespace

TEST_CASE("steps cover all changes in order, and each changes few pages", "[prune]") {
  const size_t count = GENERATE(0, 1, 47, 48, 49, 1000, 30'000);
  const uint64_t pages = GENERATE(0, 1, 40, 2'000, 60'000);
  const uint64_t step_pages = GENERATE(kStepPagesBusy, kStepPagesIdle);
  const auto changes = changes_of(count);
  size_t begin = 0, steps = 0;
  while (begin < count) {
    const size_t end = end_of_step(changes, begin, pages, step_pages);
    REQUIRE(end > begin);
    REQUIRE(end <= count);
    REQUIRE(end - begin <= kStepRowsMax);
    REQUIRE(pages_of(changes, begin, end, pages) <= step_pages + 1);
    begin = end;
    ++steps;
  }
  REQUIRE(end_of_step(changes, begin, pages, step_pages) == count);
  // And no more of them than that takes: where rows lie close together, a step has many.
  const size_t touched = pages_of(changes, 0, count, std::max<uint64_t>(pages, 1));
  REQUIRE(steps <= count / kStepRowsMax + 2 * touched / step_pages + 1);
}

}  // namespace holdfast
