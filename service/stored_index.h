// StoredIndex: the store's index as of the newest commit, for those who ask chunk by chunk on a
// thread of their own. One thread.
//
// It holds a read transaction between two questions, which pins pages of LMDB: whoever is about to
// wait for something calls release().
#pragma once

#include <memory>

#include "base/lmdb.h"
#include "service/pending_chunks.h"
#include "store/store.h"

namespace holdfast {

class StoredIndex {
 public:
  // All of them outlive it.
  StoredIndex(LmdbEnv& env, const Store& store, const PendingChunks& pending)
      : env_(env), store_(store), pending_(pending) {}

  // Sees everything that was released from PendingChunks up to seen_commits().
  bool has(const ChunkId& id) {
    const uint64_t commits = pending_.commits();
    if (!txn_ || commits != seen_commits_) {
      txn_.reset();
      auto begun = env_.begin_read();
      if (!begun.ok()) return false;  // stored once more, then
      txn_ = std::move(*begun);
      seen_commits_ = commits;
    }
    return store_.has(*txn_, id);
  }
  uint64_t seen_commits() const { return seen_commits_; }
  void release() { txn_.reset(); }

 private:
  LmdbEnv& env_;
  const Store& store_;
  const PendingChunks& pending_;
  std::unique_ptr<ReadTxn> txn_;
  uint64_t seen_commits_ = 0;
};

}  // namespace holdfast
