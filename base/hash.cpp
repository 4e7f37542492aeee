#include "base/hash.h"

#include <sodium.h>
#include <xxhash.h>

#include <algorithm>

#include "base/result.h"
#include "base/seeded_hash.h"

namespace holdfast {

namespace {
ContentHash canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  ContentHash result;
  std::copy(std::begin(bytes.digest), std::end(bytes.digest), result.bytes.begin());
  return result;
}
const unsigned char* data_of(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
// Until it is initialized, libsodium hashes without the machine's vector instructions.
void prepare_sodium() {
  static const bool ready = sodium_init() >= 0;
  CHECK(ready);
}
}  // namespace

uint64_t xxh3_64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t seeded_hash(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

ContentHash content_hash(std::string_view bytes) {
  return canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

ChunkId chunk_id(const ChunkKey& key, std::string_view bytes) {
  prepare_sodium();
  ChunkId id;
  crypto_generichash(id.bytes.data(), id.bytes.size(), data_of(bytes), bytes.size(), key.data(),
                     key.size());
  return id;
}

std::array<uint8_t, 16> chain_link(const ChunkKey& key, std::string_view previous,
                                   std::string_view record) {
  prepare_sodium();
  std::array<uint8_t, 16> link{};
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.data(), key.size(), link.size());
  crypto_generichash_update(&state, data_of(previous), previous.size());
  crypto_generichash_update(&state, data_of(record), record.size());
  crypto_generichash_final(&state, link.data(), link.size());
  return link;
}

void random_bytes(void* out, size_t size) { randombytes_buf(out, size); }

ContentHasher::ContentHasher() : state_(XXH3_createState()) {
  CHECK(state_ != nullptr);
  XXH3_128bits_reset(state_.get());
}
ContentHasher::~ContentHasher() = default;
void ContentHasher::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

void ContentHasher::update(std::string_view bytes) {
  XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

void ContentHasher::update_zeros(uint64_t size) {
  static constexpr char kZeros[64 * 1024] = {};
  while (size > 0) {
    const size_t step = std::min<uint64_t>(size, sizeof kZeros);
    update(std::string_view(kZeros, step));
    size -= step;
  }
}

ContentHash ContentHasher::finish() const { return canonical(XXH3_128bits_digest(state_.get())); }

}  // namespace holdfast
