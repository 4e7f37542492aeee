// Refetch: contents whose chunks are in no pack. What a live file still has is stored again; the
// rest is named, by path and time, and the journal is told once, so that a restore can say why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "service/state.h"

namespace holdfast {

// A content that cannot be restored in full, and when it was at this place.
struct LostContent {
  std::string root, path;
  Sequence since, until;  // until: the first record that has another one; 0: still
  int64_t since_ns = 0, until_ns = 0;
  uint64_t bytes = 0;
};

struct RefetchResult {
  uint64_t chunks_missing = 0, chunks_refetched = 0;
  uint64_t bytes_refetched = 0;
  std::vector<LostContent> lost;
  Sequence told;  // the last record that says so; 0: nothing new is lost
};

Result<RefetchResult> refetch(State& state, const Clock& clock);

// The record that says that a part of the content is lost; nullopt: none does.
Result<std::optional<Sequence>> content_lost_since(const State& state, const LmdbTxn& txn,
                                                   const ContentRef& content);

}  // namespace holdfast
