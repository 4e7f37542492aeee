// Rebuild: the journal and the index anew from the packs alone.
//
// The new environment is made beside the old one and takes its place by one rename, when it is
// complete and on disk. Killed at any point, the state has the old one or the new one. The old one,
// and whatever is cut off the packs because it belongs to no complete batch, goes to `damaged/`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "base/types.h"

namespace holdfast {

struct RebuildResult {
  std::string state;  // its directory
  uint64_t packs = 0, bytes = 0;
  uint64_t batches = 0, records = 0, chunks = 0;
  Sequence head;                   // the last record
  std::string kept;                // where the old environment is; empty: there was none
  bool header_written = false;     // the file `repository` was missing, or not what the packs say
  std::vector<std::string> notes;  // what was cut off, in words
};

// Bytes of the packs that were read, and all bytes; now and then, on the caller's thread.
using RebuildProgress = std::function<void(uint64_t, uint64_t)>;

// kBusy: a process holds the state. kNotFound: no state, or no packs. kDamaged: the packs are not
// whole; nothing was changed.
// The same where the caller holds the state's lock.
Result<RebuildResult> rebuild_locked(const std::string& dir, const RebuildProgress& progress);
Result<RebuildResult> rebuild_state(const std::string& dir, const RebuildProgress& progress);

}  // namespace holdfast
