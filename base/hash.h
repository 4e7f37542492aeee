// The two hashes, each with one job. XXH3-128 tells whether content changed: fast, not collision
// resistant. Keyed BLAKE2b-256 names chunks: an uploader cannot craft a collision without the key,
// and it alone decides that two chunks are the same. Pure, thread-safe functions.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string_view>

#include "base/types.h"

struct XXH3_state_s;

namespace holdfast {

using ChunkKey = std::array<uint8_t, 32>;  // random per repository

uint64_t xxh3_64(std::string_view bytes);          // checksums of frames and headers
ContentHash content_hash(std::string_view bytes);  // XXH3-128, seed 0
ChunkId chunk_id(const ChunkKey& key, std::string_view bytes);
// 16-byte keyed BLAKE2b over two pieces: the link of the record chain.
std::array<uint8_t, 16> chain_link(const ChunkKey& key, std::string_view previous,
                                   std::string_view record);
void random_bytes(void* out, size_t size);  // from the kernel

// content_hash of a content that arrives in pieces.
class ContentHasher {
 public:
  ContentHasher();
  ~ContentHasher();
  ContentHasher(const ContentHasher&) = delete;
  ContentHasher& operator=(const ContentHasher&) = delete;
  void update(std::string_view bytes);
  void update_zeros(uint64_t size);  // a hole of that many bytes
  ContentHash finish() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace holdfast
