// Content-defined chunking: FastCDC with normalised chunking (Xia et al., USENIX ATC 2016), with a
// gear table derived from the repository key so that cut points cannot be predicted by an uploader.
// A SQLite database is cut at its pages instead: SQLite writes pages in place, and a cut that
// followed the content would store everything around each of them again.
// Pure; a Chunker is used by one thread, a GearTable is shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/hash.h"

namespace holdfast {

using GearTable = std::array<uint64_t, 256>;
GearTable derive_gear_table(const ChunkKey& key);

struct ChunkSizes {
  uint32_t min = 0, average = 0, max = 0;  // bytes; average is a power of two
};
inline constexpr uint64_t kSingleChunkBytesMax = 64 * 1024;        // smaller files are one chunk
inline constexpr uint64_t kMediumFileBytesMax = 64 * 1024 * 1024;  // 16/64/256 KiB up to here
inline constexpr uint32_t kChunkBytesMax = 4 * 1024 * 1024;        // 256 KiB/1 MiB/4 MiB beyond
ChunkSizes chunk_sizes_for(uint64_t file_bytes);

// For a file that begins with `head` (kSqliteHeadBytes of it are enough). Where least, average and
// most are one number, every chunk but the last has that many bytes. A large database is cut into
// several pages at a time, or the list of its chunks would be as long as what changed.
inline constexpr size_t kSqliteHeadBytes = 18;
inline constexpr uint64_t kSqliteSinglePagesMax = 1024ull * 1024 * 1024;  // 4 KiB up to here
inline constexpr uint64_t kSqlitePagesMax = 16ull * 1024 * 1024 * 1024;   // 64 KiB up to here
ChunkSizes chunk_sizes_for(uint64_t file_bytes, std::string_view head);

class Chunker {
 public:
  Chunker(const GearTable& gear, ChunkSizes sizes);
  // The length of the first chunk of `data`. `data` must hold at least sizes.max bytes unless it is
  // the end of the content. 0 only for empty data. Depends on nothing but the bytes.
  size_t next_cut(std::string_view data) const;

 private:
  const GearTable& gear_;
  ChunkSizes sizes_;
  uint64_t mask_small_, mask_large_;
};

}  // namespace holdfast
