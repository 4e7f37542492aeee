#include "store/live_map.h"

#include <algorithm>

namespace holdfast {

void LiveMap::add_frame(const ChunkLocation& frame, uint32_t chunks) {
  Pack& pack = packs_[frame.pack];
  const auto first = static_cast<uint32_t>(pack.live.size());
  pack.frames.push_back({frame.offset, frame.frame_bytes, first, chunks});
  pack.live.resize(first + chunks);
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
  if (pack->second.live[bit]) return false;
  pack->second.live[bit] = true;
  return true;
}

bool LiveMap::is_live(const ChunkLocation& location) const {
  const auto pack = packs_.find(location.pack);
  if (pack == packs_.end()) return true;
  const Frame* frame = frame_at(pack->second, location);
  return frame == nullptr || pack->second.live[frame->first + location.index];
}

LiveMap::PackUse LiveMap::use_of(uint32_t number) const {
  PackUse use;
  const auto found = packs_.find(number);
  if (found == packs_.end()) return use;
  for (const Frame& frame : found->second.frames) {
    const auto begin = found->second.live.begin() + frame.first;
    const auto live = static_cast<uint64_t>(std::count(begin, begin + frame.chunks, true));
    use.chunks += frame.chunks;
    use.live_chunks += live;
    use.data_bytes += frame.frame_bytes;
    use.live_bytes += frame.frame_bytes * live / std::max(frame.chunks, 1u);
  }
  return use;
}

}  // namespace holdfast
