// Restore: brings paths of one moment back to disk, in parallel, verified.
//
// Order, so that a crash or a damaged store never leaves half a file under its final name: write to
// a temporary name (or below a temporary directory, where the target is new), verify the content
// hash, one syncfs for the whole batch, then the renames. Directories get their own metadata last.
// Everything goes through descriptors with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS): a
// symlink swapped in, or a hostile name in a damaged record, cannot lead out of the target. Runs on
// the caller's thread plus its own workers; reads through one ReadTxn per thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/ignore.h"
#include "base/result.h"
#include "service/state.h"

namespace holdfast {

enum class Overwrite { kIfChanged, kAlways, kNever };

struct RestoreOptions {
  Overwrite overwrite = Overwrite::kIfChanged;
  bool remove_extra = false;  // --delete
  bool dry_run = false;
  size_t workers = 3;
};

// What to bring back: a root, the paths below it ("" is all of it), and where its root directory
// is.
struct RestoreJob {
  NodeId root;
  std::vector<std::string> paths;
  std::string target;     // absolute directory; created where missing
  bool in_place = false;  // --delete then removes only what the journal can bring back
  IgnoreRules ignore;     // what --delete leaves alone
  std::string own_state;  // likewise, relative
};

struct RestoreFailure {
  std::string path;  // relative to the target
  std::string why;
};

struct RestoreResult {
  uint64_t files = 0;    // of every type, looked at
  uint64_t bytes = 0;    // of content written
  uint64_t changed = 0;  // written, created or given other metadata
  uint64_t deleted = 0;
  std::vector<RestoreFailure> failed;
  std::vector<std::string> warnings;
};

struct RestoreProgress {
  std::atomic<uint64_t> files{0}, bytes{0};
};

// A failure of one file goes into `failed` and the rest goes on; an Error means that nothing more
// could be done. `cancelled` is asked now and then.
Result<RestoreResult> restore(State& state, const RestoreJob& job, Sequence at,
                              const RestoreOptions& options, RestoreProgress& progress,
                              const std::function<bool()>& cancelled);

}  // namespace holdfast
