// PendingChunks: what is being stored by somebody right now.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "base/types.h"

namespace holdfast {

// Chunks that a worker has taken on and that no transaction has committed yet, so that two workers
// do not store the same chunk. Thread-safe; bounded by what a batch holds.
class PendingChunks {
 public:
  bool claim(const ChunkId& id);  // true: the caller must store it
  bool contains(const ChunkId& id);
  void release(const ChunkId& id);
  void release_committed(const std::vector<ChunkId>& ids);
  // Grows before what was committed is released: a read transaction that began at this count has
  // every chunk that was released up to it.
  uint64_t commits() const { return commits_.load(std::memory_order_acquire); }
  void clear();

 private:
  std::atomic<uint64_t> commits_{0};
  struct Shard {
    std::mutex mutex;
    std::unordered_set<ChunkId, ChunkIdHash> ids;
  };
  std::array<Shard, 16> shards_;
  Shard& shard_of(const ChunkId& id) { return shards_[id.bytes[31] & 15]; }
};

}  // namespace holdfast
