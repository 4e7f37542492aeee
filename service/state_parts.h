// The steps of opening a state that rebuilding it shares.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "journal/journal.h"
#include "store/store.h"

namespace holdfast {

// Address space, not memory. It grows by itself, but only while nobody reads, so that it is more to
// begin with than a journal will ever be: some three thousand million versions.
// HOLDFAST_JOURNAL_MAP_BYTES says otherwise (docs/limits.md).
uint64_t journal_map_bytes();
inline constexpr unsigned kJournalTablesMax = 32;

// The directory's real path. kUnsupported on a file system that cannot hold a state.
Result<std::string> resolve_state_dir(const std::string& dir);
// Held for as long as the descriptor lives. kBusy: another process has it.
Result<Fd> take_lock(const std::string& dir);

struct ReplayCounts {
  uint64_t batches = 0, records = 0;
};
// Brings index and journal up to what the packs hold.
Result<ReplayCounts> replay_packs(Store& store, const Journal& journal);

}  // namespace holdfast
