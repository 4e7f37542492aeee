// Hard case 28: an uploader can make as many files with one and the same XXH3-128 as he likes. The
// hash is there to notice change quickly; which bytes are which is decided by keyed BLAKE2b alone.
#include <xxhash.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <set>

#include "base/types.h"
#include "tests/support/watched.h"

// Contents are compared in double parentheses, so that a failure does not print random bytes.
namespace holdfast {
namespace {

constexpr int kFiles = 100;

// XXH3 of more than 240 bytes adds, for each 8 bytes of a stripe of 64, the bytes themselves to one
// accumulator, and to another the product of both halves of (bytes xor secret). The secret is
// public. Where the upper half equals the secret's, the product is zero whatever the lower half is.
// The first 8 bytes of two stripes go to the same accumulators, so that any two lower halves with
// the same sum give the same hash.
std::string with_one_hash(std::string bytes, uint32_t which) {
  // Bytes 4 to 7 and 12 to 15 of XXH3's default secret.
  constexpr unsigned char kFirst[] = {0x23, 0xa4, 0x4b, 0xbe};
  constexpr unsigned char kSecond[] = {0xf7, 0x21, 0xad, 0x1c};
  const uint32_t lower[] = {1000 + which, 2'000'000 - which};
  std::memcpy(bytes.data(), &lower[0], 4);
  std::memcpy(bytes.data() + 4, kFirst, 4);
  std::memcpy(bytes.data() + 64, &lower[1], 4);
  std::memcpy(bytes.data() + 68, kSecond, 4);
  return bytes;
}

std::string hash_of(const std::string& bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  return "xxh3:" + to_hex(canonical.digest, sizeof canonical.digest);
}

// `size` bytes; all of them different, with one hash.
std::vector<std::string> colliding(size_t size) {
  const std::string base = random_bytes_of(size, 28);
  std::vector<std::string> all;
  for (uint32_t i = 0; i < kFiles; ++i) all.push_back(with_one_hash(base, i));
  const std::set<std::string> different(all.begin(), all.end());
  REQUIRE(different.size() == kFiles);
  for (const std::string& bytes : all) REQUIRE(hash_of(bytes) == hash_of(all[0]));
  return all;
}

std::string name_of(int i) { return "upload" + std::to_string(i); }

}  // namespace

TEST_CASE("hard 28: a hundred files with one XXH3-128 are a hundred files", "[hard2]") {
  // A file in a shared frame, one in a chunk of its own, and one of several chunks.
  const size_t size = GENERATE(as<size_t>(), 300, 70'000, 600'000);
  INFO("of " << size << " bytes");
  const std::vector<std::string> uploads = colliding(size);
  Watched w;
  for (int i = 0; i < kFiles; ++i) write_file(w.in(name_of(i)), uploads[static_cast<size_t>(i)]);
  const uint64_t seq = w.holdfast.flush();
  for (const TestJson& line : w.holdfast.lines({"ls"})) {
    REQUIRE(line.at("hash") == hash_of(uploads[0]));
  }
  for (int i = 0; i < kFiles; i += 9) {
    REQUIRE((w.content(name_of(i)) == uploads[static_cast<size_t>(i)]));
  }
  // Compared byte by byte: the trees of other tests are compared by this very hash.
  const std::string target = w.work.path("restored");
  w.holdfast.text({"restore", "--at", at(seq), "--to", target});
  for (int i = 0; i < kFiles; ++i) {
    INFO(name_of(i));
    REQUIRE((read_file(target + "/" + name_of(i)) == uploads[static_cast<size_t>(i)]));
  }
  w.holdfast.require_clean(true);
}

TEST_CASE("hard 28: another content with the same hash, size and mtime is a change", "[hard2]") {
  const size_t size = GENERATE(as<size_t>(), 300, 600'000);
  const std::vector<std::string> uploads = colliding(size);
  Watched w;
  std::vector<uint64_t> moments;
  for (size_t i = 0; i < 5; ++i) {
    write_file(w.in("file"), uploads[i]);
    run_tool({"touch", "-d", "@1700000000", w.in("file")});
    moments.push_back(w.holdfast.flush());
  }
  w.holdfast.stop();
  write_file(w.in("file"), uploads[5]);
  run_tool({"touch", "-d", "@1700000000", w.in("file")});
  w.holdfast.start({"data=" + w.root});
  moments.push_back(w.holdfast.flush());
  for (size_t i = 0; i < moments.size(); ++i) {
    REQUIRE((w.content("file", moments[i]) == uploads[i]));
  }
}

TEST_CASE("hard 28: a restore over a file with the same hash writes the right bytes", "[hard2]") {
  const size_t size = GENERATE(as<size_t>(), 300, 600'000);
  const std::vector<std::string> uploads = colliding(size);
  Watched w;
  write_file(w.in("file"), uploads[0]);
  const uint64_t first = w.holdfast.flush();
  write_file(w.in("file"), uploads[1]);
  w.holdfast.flush();
  const std::string target = w.work.make("target");
  SECTION("in place") {
    w.holdfast.text({"restore", "--at", at(first), "--in-place"});
    REQUIRE((read_file(w.in("file")) == uploads[0]));
  }
  SECTION("into a directory where the other one is already") {
    write_file(target + "/file", uploads[2]);
    w.holdfast.text({"restore", "--at", at(first), "--to", target});
    REQUIRE((read_file(target + "/file") == uploads[0]));
  }
}

}  // namespace holdfast
