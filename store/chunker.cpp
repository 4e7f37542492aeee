#include "store/chunker.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "base/result.h"

namespace holdfast {

namespace {

// The gear hash forgets a byte after 64 steps, one for each bit that is shifted out.
constexpr size_t kGearWindowBytes = 64;

// The mask looks at the top bits, because only they have seen the whole window.
uint64_t mask_of(int bits) { return ~uint64_t{0} << (64 - std::clamp(bits, 1, 63)); }

// The first position in (from, to] where the hash has no bit of `mask`; `to` + 1 where there is
// none. Four bytes a step: the chain from one hash to the next is one instruction then, and the
// loads, tests and branches run beside it.
size_t scan(const unsigned char* data, size_t from, size_t to, uint64_t mask, const GearTable& gear,
            uint64_t& hash) {
  uint64_t h = hash;
  size_t at = from;
  for (; at + 4 <= to; at += 4) {
    h = (h << 1) + gear[data[at]];
    if ((h & mask) == 0) [[unlikely]]
      return at + 1;
    h = (h << 1) + gear[data[at + 1]];
    if ((h & mask) == 0) [[unlikely]]
      return at + 2;
    h = (h << 1) + gear[data[at + 2]];
    if ((h & mask) == 0) [[unlikely]]
      return at + 3;
    h = (h << 1) + gear[data[at + 3]];
    if ((h & mask) == 0) [[unlikely]]
      return at + 4;
  }
  for (; at < to; ++at) {
    h = (h << 1) + gear[data[at]];
    if ((h & mask) == 0) return at + 1;
  }
  hash = h;
  return to + 1;
}

}  // namespace

GearTable derive_gear_table(const ChunkKey& key) {
  GearTable table{};
  // The prefix keeps these hashes apart from the ids of real chunks.
  std::string input = "holdfast gear table ";
  input.push_back('\0');
  for (size_t i = 0; i < table.size(); ++i) {
    input.back() = static_cast<char>(i);
    const ChunkId id = chunk_id(key, input);
    std::memcpy(&table[i], id.bytes.data(), sizeof table[i]);
  }
  return table;
}

ChunkSizes chunk_sizes_for(uint64_t file_bytes) {
  constexpr uint32_t kKiB = 1024;
  if (file_bytes <= kSingleChunkBytesMax) return {64 * kKiB, 64 * kKiB, 64 * kKiB};
  if (file_bytes <= kMediumFileBytesMax) return {16 * kKiB, 64 * kKiB, 256 * kKiB};
  return {256 * kKiB, 1024 * kKiB, kChunkBytesMax};
}

// The header: 16 bytes of magic, then the page size in two, big-endian, where 1 means 65536
// (https://www.sqlite.org/fileformat2.html#the_database_header).
ChunkSizes chunk_sizes_for(uint64_t file_bytes, std::string_view head) {
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  constexpr uint32_t kPageMin = 512, kPageMax = 65536, kUnitMin = 4096, kLargeUnit = 65536;
  const ChunkSizes usual = chunk_sizes_for(file_bytes);
  if (file_bytes <= kSingleChunkBytesMax || file_bytes > kSqlitePagesMax) return usual;
  if (head.size() < kSqliteHeadBytes || !head.starts_with(kMagic)) return usual;
  uint32_t page =
      uint32_t{static_cast<unsigned char>(head[16])} << 8 | static_cast<unsigned char>(head[17]);
  if (page == 1) page = kPageMax;
  if (page < kPageMin || !std::has_single_bit(page)) return usual;
  const uint32_t least = file_bytes <= kSqliteSinglePagesMax ? kUnitMin : kLargeUnit;
  const uint32_t unit = std::max(page, least);
  return {unit, unit, unit};
}

// Normalisation level 2: two bits more before the average size and two fewer after it, which draws
// the sizes together around the average.
Chunker::Chunker(const GearTable& gear, ChunkSizes sizes) : gear_(gear), sizes_(sizes) {
  CHECK(std::has_single_bit(sizes.average));
  CHECK(sizes.min >= kGearWindowBytes && sizes.min <= sizes.average && sizes.average <= sizes.max);
  const int bits = std::countr_zero(sizes.average);
  mask_small_ = mask_of(bits + 2);
  mask_large_ = mask_of(bits - 2);
}

size_t Chunker::next_cut(std::string_view data) const {
  if (data.size() <= sizes_.min) return data.size();
  const size_t end = std::min<size_t>(data.size(), sizes_.max);
  const size_t normal = std::min<size_t>(end, sizes_.average);
  const auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
  // The window before the first possible cut is hashed too: whether a place is a cut depends on the
  // bytes before it alone and not on where the chunk began, so cuts fall together again sooner.
  uint64_t hash = 0;
  for (size_t at = sizes_.min - kGearWindowBytes; at < sizes_.min; ++at) {
    hash = (hash << 1) + gear_[bytes[at]];
  }
  size_t cut = scan(bytes, sizes_.min, normal, mask_small_, gear_, hash);
  if (cut <= normal) return cut;
  cut = scan(bytes, normal, end, mask_large_, gear_, hash);
  return std::min(cut, end);
}

}  // namespace holdfast
