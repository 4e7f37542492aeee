// State: the state directory, opened and owned: lock, repository header, LMDB environment, journal,
// store.
//
//   lock          flock'd for as long as the process owns the state; holds its pid
//   repository    format, id, key, algorithms (docs/formats/repository.md)
//   journal/      the LMDB environment
//   packs/        pack files
//   api.sock      the service's API, while one runs
//
// Opening recovers: what the packs hold beyond the journal's position is replayed.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/fd.h"
#include "base/lmdb.h"
#include "base/log.h"
#include "base/result.h"
#include "journal/journal.h"
#include "store/store.h"

namespace holdfast {

struct State {
  std::string dir;  // absolute
  Fd lock;
  RepositoryInfo info;
  std::unique_ptr<LmdbEnv> env;
  std::unique_ptr<Store> store;
  std::unique_ptr<Journal> journal;
  uint64_t replayed_batches = 0;

  // `create`: make a new state where there is none (else kNotFound). kBusy: another process holds
  // the lock; the message names its pid. kUnsupported: a newer format, or a filesystem that cannot
  // hold it.
  static Result<std::unique_ptr<State>> open(const std::string& dir, bool create,
                                             const Clock& clock, Log& log);
  std::string socket_path() const { return dir + "/api.sock"; }
};

// The pid in the lock file, for messages; empty when it can't be read.
std::string lock_holder(const std::string& state_dir);

}  // namespace holdfast
