// LiveMap: which chunks of the packs are needed, a bit for each. Any threads may mark at once; one
// adds frames before that, and one asks after it. Memory: 16 bytes a frame and a bit a chunk; some
// 100 MB for a terabyte.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "store/store.h"

namespace holdfast {

class LiveMap {
 public:
  struct PackUse {
    uint64_t bytes = 0;       // of the file
    uint64_t data_bytes = 0;  // of its data frames
    uint64_t live_bytes = 0;  // of those, in proportion to the needed chunks of each frame
    uint64_t chunks = 0, live_chunks = 0;
  };

  // Frames of a pack in the order in which they stand.
  void add_frame(const ChunkLocation& frame, uint32_t chunks);
  // True: it was not marked before, or it is in no pack that is known here. Of threads that mark
  // the same chunk, one gets it.
  bool mark(const ChunkLocation& location);
  bool is_live(const ChunkLocation& location) const;
  PackUse use_of(uint32_t pack) const;
  bool knows(uint32_t pack) const { return packs_.contains(pack); }

 private:
  struct Frame {
    uint32_t offset = 0, frame_bytes = 0, first = 0, chunks = 0;
  };
  struct Pack {
    std::vector<Frame> frames;
    std::vector<uint64_t> live;  // bits
    bool is_live(size_t bit) const { return (live[bit / 64] >> bit % 64 & 1) != 0; }
  };
  static const Frame* frame_at(const Pack& pack, const ChunkLocation& location);
  std::map<uint32_t, Pack> packs_;
};

}  // namespace holdfast
