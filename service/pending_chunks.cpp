#include "service/pending_chunks.h"

namespace holdfast {

bool PendingChunks::claim(const ChunkId& id) {
  Shard& shard = shard_of(id);
  std::lock_guard lock(shard.mutex);
  return shard.ids.insert(id).second;
}

bool PendingChunks::contains(const ChunkId& id) {
  Shard& shard = shard_of(id);
  std::lock_guard lock(shard.mutex);
  return shard.ids.contains(id);
}

void PendingChunks::release(const ChunkId& id) {
  Shard& shard = shard_of(id);
  std::lock_guard lock(shard.mutex);
  shard.ids.erase(id);
}

void PendingChunks::release_committed(const std::vector<ChunkId>& ids) {
  commits_.fetch_add(1, std::memory_order_acq_rel);
  for (const ChunkId& id : ids) release(id);
}

void PendingChunks::clear() {
  for (Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    shard.ids.clear();
  }
}

}  // namespace holdfast
