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
  enum class Claim : uint8_t {
    kMine,    // the caller must store it
    kOthers,  // somebody is storing it
    kClosed,  // nobody is to store it
  };
  Claim claim(const ChunkId& id);
  // While it is closed nothing more is claimed, because what is new is not to be stored. What was
  // claimed before may not be stored either: who read closings() before it claimed, and finds
  // another number at the end, cannot rely on what it claimed. The engine's thread.
  void set_open(bool open);
  bool is_open() const { return open_.load(); }
  uint64_t closings() const { return closings_.load(); }
  bool contains(const ChunkId& id);
  void release(const ChunkId& id);
  void release_committed(const std::vector<ChunkId>& ids);
  // Grows before what was committed is released: a read transaction that began at this count has
  // every chunk that was released up to it.
  uint64_t commits() const { return commits_.load(std::memory_order_acquire); }
  void clear();

 private:
  std::atomic<uint64_t> commits_{0};
  std::atomic<bool> open_{true};
  std::atomic<uint64_t> closings_{0};  // grows after open_ is false, never before
  struct Shard {
    std::mutex mutex;
    std::unordered_set<ChunkId, ChunkIdHash> ids;
  };
  std::array<Shard, 16> shards_;
  Shard& shard_of(const ChunkId& id) { return shards_[id.bytes[31] & 15]; }
};

}  // namespace holdfast
