#include "service/seed_manifest.h"

#include <catch2/catch.hpp>
#include <random>

#include "base/bytes.h"
#include "base/hash.h"

namespace holdfast {
namespace {

SeedValue file(const std::string& content) { return {FileType::kFile, content_hash(content)}; }

SeedManifest example() {
  SeedManifest manifest;
  SeedEntry conf{"app.conf", true, Seeded{file("b"), 0640, 1000, 1001}, {file("a")}, {}, {}};
  conf.reading = SeedReading{24, 1'795'183'403'000'000'000, -5, 131073, content_hash("b")};
  conf.kept = SeedReading{5, 6, 7, 8, content_hash("kept")};
  manifest.entries.push_back(conf);
  manifest.entries.push_back({"app.d", true, Seeded{{FileType::kDir, {}}, 0755, 0, 0}, {}, {}, {}});
  manifest.entries.push_back({"app.d/\xff\n", false, std::nullopt, {file("x"), file("y")}, {}, {}});
  return manifest;
}

// The bytes with another one in the middle, and a checksum that fits.
std::string with_byte(std::string bytes, size_t at, char byte) {
  bytes[at] = byte;
  bytes.resize(bytes.size() - 8);
  put_le(bytes, xxh3_64(bytes));
  return bytes;
}

}  // namespace

TEST_CASE("a manifest is read as it was written", "[seed]") {
  SeedManifest manifest = example();
  for (const bool unfinished : {false, true}) {
    manifest.unfinished = unfinished;
    const auto read = decode_seed_manifest(encode_seed_manifest(manifest));
    REQUIRE(read.ok());
    CHECK(*read == manifest);
  }
  CHECK(decode_seed_manifest(encode_seed_manifest({})).ok());
}

TEST_CASE("the bytes of a manifest are those of the documentation", "[seed]") {
  SeedManifest manifest;
  manifest.entries.push_back({"ab", true, Seeded{{FileType::kDir, {}}, 0755, 1, 2}, {}, {}, {}});
  manifest.entries.push_back({"ac", false, std::nullopt, {{FileType::kFifo, {}}}, {}, {}});
  const std::string zeros(16, '\0');
  std::string expected = "HFSM" + std::string("\x01\0\0\0\x02\0\0\0\0\0\0\0", 12);
  expected += std::string("\0\0\x02\0ab\x03\0\x02", 9) + zeros;
  expected += std::string("\xed\x01\0\0\x01\0\0\0\x02\0\0\0", 12);
  expected += std::string("\x01\0\x01\0c\0\x01\x04", 8) + zeros;
  put_le(expected, xxh3_64(expected));
  CHECK((encode_seed_manifest(manifest) == expected));
}

TEST_CASE("a manifest with any byte changed or missing is refused", "[seed]") {
  const std::string bytes = encode_seed_manifest(example());
  for (size_t size = 0; size < bytes.size(); ++size) {
    REQUIRE_FALSE(decode_seed_manifest(std::string_view(bytes).substr(0, size)).ok());
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string other = bytes;
    other[at] = static_cast<char>(other[at] ^ 0x10);
    REQUIRE_FALSE(decode_seed_manifest(other).ok());
  }
}

TEST_CASE("what decodes is what encoding it again gives, also with a checksum that fits",
          "[seed]") {
  const std::string bytes = encode_seed_manifest(example());
  size_t accepted = 0;
  for (size_t at = 0; at + 8 < bytes.size(); ++at) {
    for (const int byte : {0, 1, 2, 0x2f, 0x2e, 0x62, 0x7f, 0xff}) {
      const std::string other = with_byte(bytes, at, static_cast<char>(byte));
      const auto read = decode_seed_manifest(other);
      if (!read.ok()) continue;
      ++accepted;
      REQUIRE((encode_seed_manifest(*read) == other));
      for (const SeedEntry& entry : read->entries) REQUIRE(is_safe_relative_path(entry.path));
    }
  }
  CHECK(accepted > 100);  // bytes of hashes and times
}

TEST_CASE("only paths that stay below a directory are taken", "[seed]") {
  for (const char* good : {"a", "a/b", "...", "a/.b", " "}) CHECK(is_safe_relative_path(good));
  for (const char* bad : {"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b"}) {
    CHECK_FALSE(is_safe_relative_path(bad));
  }
  CHECK_FALSE(is_safe_relative_path(std::string_view("a\0b", 3)));
}

TEST_CASE("what was seeded before is remembered, once and not without end", "[seed]") {
  SeedEntry entry;
  remember_seen(entry, file("1"));
  remember_seen(entry, file("1"));
  CHECK(entry.earlier == std::vector{file("1")});
  remember_seeded(entry, {file("1"), 0644, 0, 0});
  CHECK(entry.earlier.empty());
  remember_seeded(entry, {file("2"), 0644, 0, 0});
  CHECK(entry.earlier == std::vector{file("1")});
  remember_seeded(entry, {file("1"), 0600, 0, 0});  // back again
  CHECK(entry.earlier == std::vector{file("2")});
  for (int i = 3; i < 200; ++i) remember_seeded(entry, {file(std::to_string(i)), 0644, 0, 0});
  CHECK(entry.earlier.size() == kSeedEarlierMax);
  CHECK(entry.earlier.back() == file("198"));
}

}  // namespace holdfast
