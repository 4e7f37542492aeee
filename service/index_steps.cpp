#include "service/index_steps.h"

#include <algorithm>

#include "base/bytes.h"

namespace holdfast {

namespace {

// Where in the index an id stands, from 0 to 1.
double place_of(const ChunkId& id) {
  constexpr double kIds = 4294967296.0;
  return get_be32(reinterpret_cast<const char*>(id.bytes.data())) / kIds;
}

}  // namespace

size_t end_of_step(const std::vector<IndexChange>& changes, size_t begin, uint64_t pages,
                   uint64_t step_pages) {
  if (begin >= changes.size()) return changes.size();
  const double first = place_of(changes[begin].id);
  size_t end = begin + 1;
  for (; end < changes.size() && end - begin < kStepRowsMax; ++end) {
    const double passed = (place_of(changes[end].id) - first) * static_cast<double>(pages);
    // Each change is in one page, and those in between are passed over.
    const double changed = std::min(passed, static_cast<double>(end - begin));
    if (changed >= static_cast<double>(step_pages)) break;
  }
  return end;
}

}  // namespace holdfast
