// KnownChunks: what one reading of a file found where, so that the next one of the same file has to
// ask the store, compress and keep only what is not the same any more.
//
// A chunk is told by its place and a hash with a seed that nobody else knows: whoever writes into
// the file cannot choose bytes that are taken for those of before. One thread; no more than kMax
// are remembered, and what is not is only slower.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/seeded_hash.h"
#include "base/types.h"

namespace holdfast {

class KnownChunks {
 public:
  static constexpr size_t kMax = 512 * 1024;

  explicit KnownChunks(uint64_t seed) : seed_(seed) {}

  uint64_t seed() const { return seed_; }
  uint64_t hash(std::string_view bytes) const { return seeded_hash(bytes, seed_); }
  // In the order of the file.
  void add(uint64_t at, uint64_t hash, const ChunkId& id) {
    if (chunks_.size() < kMax) chunks_.push_back({at, hash, id});
  }
  // nullptr: another one, or none, begins there. From call to call `at` only grows, until rewind().
  const ChunkId* find(uint64_t at, uint64_t hash) {
    while (next_ < chunks_.size() && chunks_[next_].at < at) ++next_;
    if (next_ == chunks_.size()) return nullptr;
    const Chunk& chunk = chunks_[next_];
    return chunk.at == at && chunk.hash == hash ? &chunk.id : nullptr;
  }
  void rewind() { next_ = 0; }

 private:
  struct Chunk {
    uint64_t at = 0, hash = 0;
    ChunkId id;
  };
  uint64_t seed_;
  std::vector<Chunk> chunks_;
  size_t next_ = 0;
};

}  // namespace holdfast
