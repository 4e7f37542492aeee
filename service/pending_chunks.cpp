#include "service/pending_chunks.h"

namespace holdfast {

PendingChunks::Claim PendingChunks::claim(const ChunkId& id) {
  Shard& shard = shard_of(id);
  std::lock_guard lock(shard.mutex);
  if (!open_.load()) return shard.ids.contains(id) ? Claim::kOthers : Claim::kClosed;
  return shard.ids.insert(id).second ? Claim::kMine : Claim::kOthers;
}

void PendingChunks::set_open(bool open) {
  const bool was_open = open_.exchange(open);
  if (was_open && !open) closings_.fetch_add(1);
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
