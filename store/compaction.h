// Compaction: rewriting packs without what is not needed any more (docs/formats/pack.md).
//
// A compacted pack stands for a range of the log. Writing one changes nothing that is there; the
// index is moved to it afterwards, chunk by chunk, and only then the packs of before are condemned
// and deleted. Killed at any point, either the old packs are complete, or the new one is.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/pack_storage.h"
#include "store/store.h"

namespace holdfast {

// A pack and the part of the log that it holds.
struct PackRange {
  uint32_t pack = 0;
  uint32_t first = 0, last = 0;  // of a log pack: itself
  auto operator<=>(const PackRange&) const = default;
};

// Of ranges that are disjoint or nested, those that together hold the log from its first pack on,
// in its order; where a range is there as a whole and in pieces, the pieces: they have all that the
// whole has. The result ends before the first gap. Pure.
std::vector<PackRange> choose_packs(std::vector<PackRange> available);

// The ranges of all packs in the storage; of compacted ones only the complete ones.
Result<std::vector<PackRange>> pack_ranges(PackStorage& storage, const RepositoryInfo& info);

// Writes one compacted pack: chunks in any order, then batches in that of the log. One thread,
// with others that compress for it. Memory: kEncodersMax frames more than the one that is filled.
// Of each chunk it notes where it was and where it is now, for the index.
// Until finish() returns, the file is nothing that anybody reads; an unfinished one is removed.
class CompactedPackWriter {
 public:
  // What comes chunk by chunk is grouped and compressed anew, at zstd's `level`.
  static Result<std::unique_ptr<CompactedPackWriter>> create(PackStorage& storage,
                                                             const RepositoryInfo& info,
                                                             const PackRange& range, int level);
  ~CompactedPackWriter();
  Status add_chunk(const ChunkInFrame& chunk, const ChunkLocation& from, std::string_view bytes);
  // A whole data frame, byte for byte. kDamaged where its checksum does not fit it.
  Status add_stored(const ChunkLocation& from, std::string_view frame);
  Status add_batch(std::string_view records);  // an empty one leaves nothing behind
  Status finish();                             // complete and durable on return
  // Complete after finish(), and then in the order of the index: who applies them in it changes
  // few of its pages at a time.
  const std::vector<Store::Move>& moves() const { return moves_; }
  PackEntry entry() const { return {end_, true, false, range_.first, range_.last}; }
  uint64_t bytes() const { return end_; }  // so far, what is not compressed yet left out

 private:
  CompactedPackWriter(PackStorage& storage, const RepositoryInfo& info, const PackRange& range,
                      int level)
      : storage_(storage), info_(info), range_(range), level_(level), compressor_(kBatchesLevel) {}
  Status write_chunks();
  Status take_encoded();
  Status end_chunks();
  Status write_batches();
  ChunkLocation next_location(size_t frame_bytes) const;
  Status add_frame(FrameType type, std::string_view bytes);
  Status write_pending();

  static constexpr size_t kEncodersMax = 2;
  static constexpr int kBatchesLevel = 3;  // hashes for the most part: more effort saves nothing
  // Chunks that become a frame.
  struct Filling {
    std::string raw;
    std::vector<ChunkInFrame> table;
    std::vector<ChunkLocation> from;  // of each chunk in the table
  };
  struct Encoding {
    std::unique_ptr<Filling> filling;  // the thread reads it until `bytes` are there
    std::unique_ptr<Compressor> compressor;
    std::future<std::string> bytes;
  };

  PackStorage& storage_;
  const RepositoryInfo info_;
  const PackRange range_;
  const int level_;
  Compressor compressor_;             // of batches
  Filling filling_;                   // of the chunks to come
  std::deque<Encoding> encoding_;     // the oldest first
  std::vector<std::string> batches_;  // to come
  size_t batch_bytes_ = 0;
  bool chunks_ended_ = false;
  std::string pending_;  // before end_, not yet handed to the storage
  uint64_t end_ = 0;
  std::vector<FrameInPack> frames_;
  std::vector<Store::Move> moves_;
  bool finished_ = false;
};

// Walks through a pack that is complete. Anything damaged is an error that names the place.
enum class Wanted : uint8_t { kNothing, kStored, kDecoded };
struct PackVisitor {
  // The chunk table of each data frame, and where it stands; what of the frame is wanted.
  std::function<Result<Wanted>(const ChunkLocation& frame, const FrameHeader& header,
                               const std::vector<ChunkInFrame>& chunks)>
      table;
  // The whole frame as it is stored, not verified.
  std::function<Status(const ChunkLocation& frame, std::string_view bytes)> stored;
  // What it holds, verified against its checksum.
  std::function<Status(const ChunkLocation& frame, const DecodedFrame& decoded)> decoded;
  std::function<Status(std::string_view records)> batch;  // unset: not read
};
Status visit_pack(PackStorage& storage, const RepositoryInfo& info, uint32_t pack,
                  uint64_t pack_bytes, const PackVisitor& visitor);

}  // namespace holdfast
