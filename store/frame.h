// Frame: the compressed, checksummed, self-delimiting unit of a pack (docs/formats/pack.md).
//
//   header 48 bytes | chunk table: entries x 40 bytes | payload
//
// Data frames hold chunks (and recipe chunks) one after the other; a journal frame holds a batch of
// records (one of type kBatches, of several batches) and no table; a footer holds the pack's frame
// table. The header is checksummed by itself, so that a reader can find the next frame after
// damage; table and payload by another checksum. Values and pure functions, except
// Compressor/Decompressor: one each per thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace holdfast {

enum class FrameType : uint8_t {
  kData = 1,
  kJournal = 2,
  kFooter = 3,
  kBatches = 4,  // the records of several batches: in compacted packs, in place of journal frames
};
enum class ChunkKind : uint8_t { kData = 0, kRecipe = 1 };

inline constexpr uint32_t kFrameMagic = 0x52464648;  // "HFFR" in file order
inline constexpr size_t kFrameHeaderBytes = 48;
inline constexpr size_t kChunkTableEntryBytes = 40;
inline constexpr uint32_t kFrameRawBytesMax = 64 * 1024 * 1024;  // a bound for decoders
inline constexpr size_t kFrameTargetBytes = 256 * 1024;  // small chunks are grouped up to here
inline constexpr size_t kFrameEntriesMax = 65535;  // the index has 16 bits for them: group no more
inline constexpr uint64_t kFrameBytesMax =
    kFrameHeaderBytes + kFrameEntriesMax * kChunkTableEntryBytes + kFrameRawBytesMax;

struct ChunkInFrame {
  ChunkId id;
  uint32_t bytes = 0;  // of the chunk, uncompressed
  ChunkKind kind = ChunkKind::kData;
};

struct FrameHeader {
  FrameType type = FrameType::kData;
  bool compressed = false;     // zstd, else raw
  uint32_t raw_bytes = 0;      // payload before compression
  uint32_t stored_bytes = 0;   // payload as stored
  uint32_t entries = 0;        // of the chunk table
  uint64_t body_checksum = 0;  // XXH3-64 of table and payload as stored
  uint64_t frame_bytes() const {
    return kFrameHeaderBytes + uint64_t{entries} * kChunkTableEntryBytes + stored_bytes;
  }
};

// The compressor of one thread. compress() returns false and leaves `out` alone where it would save
// less than 3 %. Input beyond 64 KiB is not even tried where neither its first 8 KiB nor its first
// 64 KiB save that much.
class Compressor {
 public:
  explicit Compressor(int level);
  ~Compressor();
  bool compress(std::string_view raw, std::string& out);
  // The same without a copy: valid until the next call, empty where it would save too little.
  std::string_view compress_view(std::string_view raw);

 private:
  size_t compress_into_scratch(std::string_view raw, size_t bytes_max);  // 0: does not fit
  struct Free {
    void operator()(ZSTD_CCtx_s*) const;
  };
  std::unique_ptr<ZSTD_CCtx_s, Free> context_;
  int level_;
  std::unique_ptr<char[]> scratch_;  // kept from call to call, never cleared
  size_t scratch_bytes_ = 0;
};

class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  // Exactly raw_bytes, or kDamaged.
  Result<std::string> decompress(std::string_view stored, uint32_t raw_bytes);

 private:
  struct Free {
    void operator()(ZSTD_DCtx_s*) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, Free> context_;
};

// A whole frame as bytes. The sizes of `chunks` must add up to raw.size() for data frames; at least
// one and at most kFrameEntriesMax of them, none in other frames; raw.size() is at most
// kFrameRawBytesMax.
std::string encode_frame(FrameType type, const std::vector<ChunkInFrame>& chunks,
                         std::string_view raw, Compressor& compressor);
// Header alone: magic, header checksum, bounds. kDamaged otherwise.
Result<FrameHeader> decode_frame_header(std::string_view bytes);
struct DecodedFrame {
  FrameHeader header;
  std::vector<ChunkInFrame> chunks;
  std::string raw;  // the payload, decompressed
};
// A whole frame, of frame_bytes(): header, body checksum, table (sizes add up), decompression.
Result<DecodedFrame> decode_frame(std::string_view bytes, Decompressor& decompressor);
// The table alone, from the first bytes of a frame, not verified: for a quick look through a pack.
Result<std::vector<ChunkInFrame>> decode_unverified_table(const FrameHeader& header,
                                                          std::string_view bytes);
// Header and table, with the checksum over the body verified, but the payload not decompressed.
Result<std::vector<ChunkInFrame>> decode_frame_table(std::string_view bytes);

}  // namespace holdfast
