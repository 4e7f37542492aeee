// In which steps the index of chunks is changed beside captures: each is a transaction, which has
// the one writer of the database for as long as its pages take to be written and synced. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "store/store.h"

namespace holdfast {

// What becomes of the entry of one chunk: it moves, or (to.pack == 0) it is dropped.
using IndexChange = Store::Move;

// How many of the index's pages a step may change, by estimate: ids are hashes, so that entries
// are spread over its pages evenly. What is captured meanwhile waits for a step: about as long as
// for its own commit where something is, so that nobody notices; and where nothing is, few steps
// take less time in all.
constexpr uint64_t kStepPagesBusy = 8, kStepPagesIdle = 64;
constexpr size_t kStepRowsMax = 1000;

// Where the step that begins at `begin` ends, which may change `step_pages`. `changes` are in the
// order of their ids, and the index has `pages` leaves. Beyond `begin`, unless there is nothing
// more.
size_t end_of_step(const std::vector<IndexChange>& changes, size_t begin, uint64_t pages,
                   uint64_t step_pages);

}  // namespace holdfast
