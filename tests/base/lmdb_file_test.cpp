// What a look at the journal's file finds: nothing in a sound one, and every place that would lead
// LMDB astray in a damaged one.
#include "base/lmdb_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/fs.h"
#include "base/lmdb.h"

namespace holdfast {
namespace {

namespace fs = std::filesystem;
constexpr size_t kPageBytes = 4096;
constexpr uint16_t kBranch = 1, kLeaf = 2;  // flags of pages, as LMDB writes them
constexpr std::array<uint16_t, 4> kAnyPage = {kBranch, kLeaf, 4, 8};

// An environment with two tables in branches and leaves, values in pages of their own, and pages
// that are free.
class SomeFile {
 public:
  SomeFile() {
    std::string pattern = (fs::temp_directory_path() / "holdfast-lmdb-file-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    dir_ = pattern;
    fill();
    std::ifstream in(path(), std::ios::binary);
    good_.assign(std::istreambuf_iterator<char>(in), {});
    REQUIRE(good_.size() > 30 * kPageBytes);
  }
  SomeFile(const SomeFile&) = delete;
  SomeFile& operator=(const SomeFile&) = delete;
  ~SomeFile() {
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
  }
  std::string path() const { return dir_ + "/data.mdb"; }
  const std::string& good() const { return good_; }
  void put(const std::string& bytes) const {
    std::ofstream(path(), std::ios::binary | std::ios::trunc) << bytes;
  }
  void put_byte(size_t at, char byte) const {
    const Fd fd(::open(path().c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(fd);
    REQUIRE(pwrite_full(fd.get(), {&byte, 1}, at).ok());
  }
  std::vector<std::string> findings(LmdbDepth depth = LmdbDepth::kAll,
                                    LmdbAccess access = LmdbAccess::kRead) const {
    std::vector<std::string> found;
    const auto looked = check_lmdb_file(
        path(), depth, [&](const std::string& finding) { found.push_back(finding); }, access);
    INFO((looked.ok() ? "" : looked.error().message));
    REQUIRE(looked.ok());
    return found;
  }
  // Pages whose head has this flag.
  std::vector<size_t> pages_of(uint16_t flag) const {
    std::vector<size_t> pages;
    for (size_t at = 0; at + kPageBytes <= good_.size(); at += kPageBytes) {
      const bool named = get_le<uint64_t>(good_.data() + at) == at / kPageBytes;
      if (named && get_le<uint16_t>(good_.data() + at + 10) == flag) pages.push_back(at);
    }
    return pages;
  }

 private:
  void fill() const {
    auto env = LmdbEnv::open(dir_, 64 << 20, 4);
    REQUIRE(env.ok());
    const auto few = (*env)->table("few"), many = (*env)->table("many");
    REQUIRE((few.ok() && many.ok()));
    for (int round = 0; round < 5; ++round) {
      auto txn = (*env)->begin_write();
      REQUIRE(txn.ok());
      for (int i = 0; i < 1500; ++i) {
        const std::string key = "key" + std::to_string(i * 7919 % 1500 + 10'000);
        REQUIRE((*txn)->put(*many, key, std::string(static_cast<size_t>(20 + round), 'v')).ok());
      }
      REQUIRE((*txn)->put(*few, "long", std::string(9000, static_cast<char>('a' + round))).ok());
      REQUIRE((*txn)->commit().ok());
    }
  }
  std::string dir_, good_;
};

}  // namespace

TEST_CASE("a sound file of LMDB has no findings, however it is looked at", "[lmdb_file]") {
  const SomeFile file;
  for (const LmdbDepth depth : {LmdbDepth::kBranches, LmdbDepth::kAll}) {
    for (const LmdbAccess access : {LmdbAccess::kRead, LmdbAccess::kMap}) {
      REQUIRE(file.findings(depth, access).empty());
    }
  }
}

TEST_CASE("what is no file of LMDB is said to be none", "[lmdb_file]") {
  const SomeFile file;
  SECTION("missing") {
    fs::remove(file.path());
    REQUIRE_FALSE(check_lmdb_file(file.path(), LmdbDepth::kAll, [](const auto&) {}).ok());
    return;
  }
  SECTION("a FIFO, which nobody waits for") {
    fs::remove(file.path());
    REQUIRE(::mkfifo(file.path().c_str(), 0600) == 0);
  }
  SECTION("empty") { file.put(""); }
  SECTION("shorter than a page") { file.put(file.good().substr(0, kPageBytes - 1)); }
  SECTION("zeros") { file.put(std::string(file.good().size(), '\0')); }
  SECTION("text") { file.put(std::string(file.good().size(), 'x')); }
  REQUIRE_FALSE(file.findings().empty());
  REQUIRE_FALSE(file.findings(LmdbDepth::kBranches).empty());
}

TEST_CASE("wherever a file of LMDB was cut, that is found", "[lmdb_file]") {
  const SomeFile file;
  size_t end = 0;  // of the last page that is in use
  for (const uint16_t flag : kAnyPage) {
    for (const size_t at : file.pages_of(flag)) end = std::max(end, at + kPageBytes);
  }
  // Free pages at the end are nobody's: from the first cut that is found on, all are.
  bool needed = false;
  for (size_t bytes = end; bytes > 0;) {
    bytes -= std::min<size_t>(bytes, kPageBytes);
    file.put(file.good().substr(0, bytes + 7));
    INFO(bytes << " of " << end);
    const bool found = !file.findings().empty();
    REQUIRE((found || !needed));
    needed = needed || found;
    if (bytes < end / 2) REQUIRE(found);
    if (found) REQUIRE_FALSE(file.findings(LmdbDepth::kAll, LmdbAccess::kRead).empty());
  }
}

TEST_CASE("a flipped bit in the head of a page in use is found", "[lmdb_file]") {
  const SomeFile file;
  // The pages of the newest commit: flipping the number of a free one is nothing.
  size_t found = 0, in_use = 0;
  for (const uint16_t flag : {kBranch, kLeaf}) {
    for (const size_t page : file.pages_of(flag)) {
      file.put_byte(page, static_cast<char>(file.good()[page] ^ 1));
      const bool used = !file.findings().empty();
      file.put_byte(page, file.good()[page]);
      if (!used) continue;
      ++in_use;
      for (const size_t at : {0, 7, 10, 11, 12, 13, 14, 15}) {
        for (int bit = 0; bit < 8; ++bit) {
          file.put_byte(page + at, static_cast<char>(file.good()[page + at] ^ (1 << bit)));
          INFO("page " << page / kPageBytes << " byte " << at << " bit " << bit);
          REQUIRE_FALSE(file.findings().empty());
          ++found;
        }
        file.put_byte(page + at, file.good()[page + at]);
      }
    }
  }
  REQUIRE(in_use > 10);
  REQUIRE(found == in_use * 64);
  REQUIRE(file.findings().empty());
}

TEST_CASE("a key out of its order, and a page that nobody has, are found", "[lmdb_file]") {
  const SomeFile file;
  size_t found = 0;
  for (const size_t page : file.pages_of(kLeaf)) {
    // The last one in the page: before it there may be what is left of former ones.
    const size_t at = file.good().rfind("key1", page + kPageBytes - 4);
    if (at == std::string::npos || at < page) continue;
    file.put_byte(at, 'z');
    for (const std::string& finding : file.findings()) {
      found += finding.find("out of place") != std::string::npos ? 1U : 0U;
    }
    file.put_byte(at, 'k');
  }
  REQUIRE(found > 10);
}

TEST_CASE("whatever a page holds, looking at it ends in findings and no crash", "[lmdb_file]") {
  const SomeFile file;
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = file.good();
    const size_t flips = 1 + random() % 40;
    for (size_t i = 0; i < flips; ++i) {
      // In the first pages for the half of them, where the trees begin; by bits or whole words.
      const size_t range = random() % 2 == 0 ? 4 * kPageBytes : bytes.size();
      const size_t at = random() % (range - 8);
      if (random() % 2 == 0) {
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
      } else {
        const uint64_t word = random() % 3 == 0 ? random() : random() % 300;
        for (size_t b = 0; b < 8; ++b) bytes[at / 8 * 8 + b] = static_cast<char>(word >> 8 * b);
      }
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    file.put(bytes);
    const auto all = file.findings(LmdbDepth::kAll, LmdbAccess::kRead);
    REQUIRE(all.size() <= 100);
    REQUIRE(file.findings(LmdbDepth::kAll, LmdbAccess::kMap) == all);
  }
}

}  // namespace holdfast
