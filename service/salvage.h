// Salvage: what is sound in a pack that may be damaged, and a whole pack made of it.
//
// A replacement has the number of the pack that it replaces, its sound data frames byte for byte,
// and its batches with seals for their new places. It is written beside the pack, synced, and
// renamed over it; the damaged file is linked into `damaged/` before that. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "service/damaged_dir.h"
#include "store/store.h"

namespace holdfast {

// A sound frame of a pack; for journal and batches frames the records in it (0: none).
struct SoundFrame {
  uint64_t offset = 0, bytes = 0;
  FrameType type = FrameType::kData;
  Sequence first, last;
};

struct SalvagedPack {
  uint32_t pack = 0;
  uint32_t range_first = 0, range_last = 0;  // the log packs that it stands for
  bool there = false;
  bool sealed = false;
  std::vector<std::string> damage;  // places, in words; empty: all of it is sound
  std::vector<std::string> tail;    // the same behind its last batch: of the last pack, what a
                                    // power cut or a kill leaves
  bool torn = false;                // ends with frames, or bytes, that no batch closes
  std::vector<SoundFrame> frames;
  Sequence first() const;  // of its records; 0: it has none
  Sequence last() const;
};

// Reads every byte. An Error: the disk cannot be read, or a newer version wrote it.
Result<SalvagedPack> salvage_pack(PackStorage& storage, const RepositoryInfo& info, uint32_t pack,
                                  const std::function<void(uint64_t)>& read_bytes);

// A batch of records to stand before the frame `before` of the pack, as many as there are before
// it.
struct AddedBatch {
  size_t before = 0;  // index into frames; frames.size(): at the end
  std::string records;
};

// Writes the replacement. `sealed`: with footer and trailer.
Status replace_pack(PackStorage& storage, const RepositoryInfo& info, const DamagedDir& damaged,
                    const SalvagedPack& pack, const std::vector<AddedBatch>& added, bool sealed);

// Gives packs whose headers tell another number than their names their names back, and moves those
// into `damaged` that have no place left. Returns what was done, in words.
Result<std::vector<std::string>> unswap_packs(const std::string& packs_dir,
                                              const RepositoryInfo& info,
                                              const DamagedDir& damaged);

}  // namespace holdfast
