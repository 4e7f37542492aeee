#include "store/live_map.h"

#include <algorithm>
#include <atomic>

namespace holdfast {

void LiveMap::add_frame(const ChunkLocation& frame, uint32_t chunks) {
  Pack& pack = packs_[frame.pack];
  const uint32_t first =
      pack.frames.empty() ? 0 : pack.frames.back().first + pack.frames.back().chunks;
  pack.frames.push_back({frame.offset, frame.frame_bytes, first, chunks});
  pack.live.resize((first + chunks + 63) / 64);
}

const LiveMap::Frame* LiveMap::frame_at(const Pack& pack, const ChunkLocation& location) {
  const auto found =
      std::lower_bound(pack.frames.begin(), pack.frames.end(), location.offset,
                       [](const Frame& frame, uint32_t offset) { return frame.offset < offset; });
  if (found == pack.frames.end() || found->offset != location.offset ||
      location.index >= found->chunks) {
    return nullptr;
  }
  return &*found;
}

bool LiveMap::mark(const ChunkLocation& location) {
  const auto pack = packs_.find(location.pack);
  if (pack == packs_.end()) return true;
  const Frame* frame = frame_at(pack->second, location);
  if (frame == nullptr) return true;
  const size_t bit = frame->first + location.index;
  const uint64_t mask = uint64_t{1} << bit % 64;
  const std::atomic_ref word(pack->second.live[bit / 64]);
  return (word.fetch_or(mask, std::memory_order_relaxed) & mask) == 0;
}

bool LiveMap::is_live(const ChunkLocation& location) const {
  const auto pack = packs_.find(location.pack);
  if (pack == packs_.end()) return true;
  const Frame* frame = frame_at(pack->second, location);
  return frame == nullptr || pack->second.is_live(frame->first + location.index);
}

LiveMap::PackUse LiveMap::use_of(uint32_t number) const {
  PackUse use;
  const auto found = packs_.find(number);
  if (found == packs_.end()) return use;
  for (const Frame& frame : found->second.frames) {
    uint64_t live = 0;
    for (uint32_t i = 0; i < frame.chunks; ++i) {
      live += found->second.is_live(frame.first + i) ? 1 : 0;
    }
    use.chunks += frame.chunks;
    use.live_chunks += live;
    use.data_bytes += frame.frame_bytes;
    use.live_bytes += frame.frame_bytes * live / std::max(frame.chunks, 1u);
  }
  return use;
}

}  // namespace holdfast
