// Known vectors. The XXH3 ones are what `xxhsum -H2` and `-H3` (0.8.1) print; the BLAKE2b ones come
// from Python's hashlib.blake2b (digest_size, key), an implementation that shares nothing with
// libsodium.
#include <catch2/catch.hpp>
#include <string>

#include "base/hash.h"
#include "base/types.h"

using namespace holdfast;

namespace {
std::string hex(const ContentHash& hash) { return to_hex(hash.bytes.data(), hash.bytes.size()); }
std::string hex(const ChunkId& id) { return to_hex(id.bytes.data(), id.bytes.size()); }

ChunkKey counting_key() {
  ChunkKey key{};
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i);
  return key;
}
}  // namespace

TEST_CASE("content hashes are what xxh128sum prints", "[hash]") {
  CHECK(hex(content_hash("")) == "99aa06d3014798d86001c324468d497f");
  CHECK(hex(content_hash("abc")) == "06b05ab6733a618578af5f94892f3950");
  CHECK(hex(content_hash(std::string(1000, 'x'))) == "50a1af5a5f2dcf01c0a4877b962cba82");
}

TEST_CASE("xxh3_64 is what xxhsum prints", "[hash]") {
  CHECK(xxh3_64("") == 0x2d06800538d394c2);
  CHECK(xxh3_64("abc") == 0x78af5f94892f3950);
}

TEST_CASE("a content in pieces has the hash of the whole", "[hash]") {
  std::string content;
  for (int i = 0; i < 300'000; ++i) content += static_cast<char>(i * 31 >> 3);
  for (const size_t piece : {1u, 7u, 256u, 4096u, 65536u, 300'000u}) {
    ContentHasher hasher;
    for (size_t at = 0; at < content.size(); at += piece) {
      hasher.update(std::string_view(content).substr(at, piece));
    }
    CHECK(hasher.finish() == content_hash(content));
  }
  CHECK(ContentHasher().finish() == content_hash(""));
}

TEST_CASE("a hole hashes as the zeros it stands for", "[hash]") {
  for (const size_t size : {0u, 1u, 65'535u, 65'536u, 200'000u}) {
    ContentHasher hasher;
    hasher.update("head");
    hasher.update_zeros(size);
    hasher.update("tail");
    CHECK(hasher.finish() == content_hash("head" + std::string(size, '\0') + "tail"));
  }
}

TEST_CASE("chunk ids are keyed BLAKE2b-256", "[hash]") {
  const ChunkKey key = counting_key();
  CHECK(hex(chunk_id(key, "")) ==
        "4e51e7a913fc80137da52880fecca175bf81e117d5c68126dc2774033517ea0d");
  CHECK(hex(chunk_id(key, "abc")) ==
        "d63a32d3e44738d7907f964316c241adaba0abfeabc32349677578a15a203f7f");
  ChunkKey other = key;
  other[31] ^= 1;
  CHECK(chunk_id(other, "abc") != chunk_id(key, "abc"));
}

TEST_CASE("the chain link covers key, predecessor and record", "[hash]") {
  const ChunkKey key = counting_key();
  const auto link = chain_link(key, "previous", "record");
  CHECK(to_hex(link.data(), link.size()) == "44b08198d96fdfef5b03fce62d5067e9");
  ChunkKey other = key;
  other[0] ^= 1;
  CHECK(chain_link(other, "previous", "record") != link);
  CHECK(chain_link(key, "Previous", "record") != link);
  CHECK(chain_link(key, "previous", "Record") != link);
}

TEST_CASE("random bytes are filled and differ", "[hash]") {
  std::string a(64, '\0');
  std::string b(64, '\0');
  random_bytes(a.data(), a.size());
  random_bytes(b.data(), b.size());
  CHECK(a != b);
}

TEST_CASE("hex is lower case and two digits a byte", "[hash]") {
  const uint8_t bytes[] = {0x00, 0x0f, 0xa0, 0xff};
  CHECK(to_hex(bytes, sizeof bytes) == "000fa0ff");
  CHECK(to_hex(bytes, 0).empty());
}
