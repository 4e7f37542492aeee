// The parts of a pack that are not frames, and what the journal frame and the footer frame hold
// (docs/formats/pack.md). Values and pure functions; decoders trust no size that they read.
//
//   header 128 bytes | frames ... | footer frame | trailer 16 bytes    (the last two once sealed)
//
// The payloads of journal and footer frames begin with a seal: a keyed tag over the payload and
// over the place where it stands. Whoever looks for the next good batch after damage must not take
// for one what an uploader crafted, or a copy of a pack that somebody keeps inside a watched tree.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "store/frame.h"

namespace holdfast {

inline constexpr size_t kPackHeaderBytes = 128;
inline constexpr size_t kPackTrailerBytes = 16;
inline constexpr size_t kBatchHeaderBytes = 32;
inline constexpr uint32_t kPackFormat = 1;

// Packs are of two kinds. The log is packs 1, 2, 3, … as they were written. A compacted pack stands
// for a range of the log: it has the records of all its batches, and of its chunks those that were
// still needed. Their numbers begin here, so that neither kind leaves gaps in the other.
inline constexpr uint32_t kCompactedPackMin = 1u << 31;
inline bool is_compacted(uint32_t pack) { return pack >= kCompactedPackMin; }

// Everything that is needed to read the packs, and so to rebuild from them alone, is in every one.
struct PackHeader {
  uint32_t format = kPackFormat;
  uint32_t pack = 0;
  std::array<uint8_t, 16> repository_id{};
  int64_t repository_created_ns = 0;
  ChunkKey key{};
  // Of a compacted pack: the log packs that it stands for. 0 in others.
  uint32_t first = 0, last = 0;
};

std::string encode_pack_header(const PackHeader& header);  // kPackHeaderBytes long
// kDamaged, or kUnsupported for a newer format and for algorithms that this version does not know.
Result<PackHeader> decode_pack_header(std::string_view bytes);

// kDamaged, in words, where a sound header is of another repository or another pack: swapped files.
Status check_pack_identity(const PackHeader& header, const PackHeader& expected);

// One line of the footer's table.
struct FrameInPack {
  uint32_t offset = 0;
  uint32_t frame_bytes = 0;
  FrameType type = FrameType::kData;
  bool operator==(const FrameInPack&) const = default;
};
inline constexpr size_t kFooterHeaderBytes = 24;
inline constexpr size_t kFooterEntryBytes = 12;
inline constexpr size_t kPackFramesMax =
    (kFrameRawBytesMax - kFooterHeaderBytes) / kFooterEntryBytes;

// The payload of the footer frame that stands at `offset` of `pack`.
std::string encode_footer(const ChunkKey& key, uint32_t pack, uint64_t offset,
                          const std::vector<FrameInPack>& frames);
// kDamaged unless it was made for this very place. The frames are in order and do not overlap; a
// gap between them is what was damaged already when the pack was sealed.
Result<std::vector<FrameInPack>> decode_footer(const ChunkKey& key, uint32_t pack, uint64_t offset,
                                               std::string_view payload);

std::string encode_pack_trailer(uint64_t footer_offset);  // kPackTrailerBytes long
Result<uint64_t> decode_pack_trailer(std::string_view bytes);

// What a journal frame says besides the records.
struct Batch {
  uint64_t first_offset =
      0;  // of the batch's first frame: its data frames reach from here to the journal frame
  std::string_view records;  // into the payload
};
// The payload of the journal frame that stands at `offset` of `pack`.
std::string encode_batch(const ChunkKey& key, uint32_t pack, uint64_t offset, const Batch& batch);
Result<Batch> decode_batch(const ChunkKey& key, uint32_t pack, uint64_t offset,
                           std::string_view payload);

// The payload of the batches frame that stands at `offset` of `pack`: the records of each batch, in
// the order of the log. None is empty.
std::string encode_batches(const ChunkKey& key, uint32_t pack, uint64_t offset,
                           const std::vector<std::string>& batches);
Result<std::vector<std::string_view>> decode_batches(const ChunkKey& key, uint32_t pack,
                                                     uint64_t offset,
                                                     std::string_view payload);  // into it

}  // namespace holdfast
