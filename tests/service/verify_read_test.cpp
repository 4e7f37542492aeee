// DiskReader: the hash of a file as the disk has it, by any way of reading. RateLimit.
#include "service/verify_read.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/fs.h"
#include "base/hash.h"
#include "service/capture.h"

namespace holdfast {
namespace {

constexpr size_t kMiB = 1 << 20;

class TempDir {
 public:
  TempDir() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "holdfast-test-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
    fd_ = Fd(::open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(fd_.valid());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  int fd() const { return fd_.get(); }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  Fd fd_;
};

struct Piece {
  size_t offset;
  std::string bytes;
};

std::string pattern_of(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(1 + (i * 31 + i / 4096) % 255);
  return bytes;
}

// Writes only the pieces, so that what is between them are holes; returns the content.
std::string write_pieces(const std::string& path, size_t size, const std::vector<Piece>& pieces) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  REQUIRE(fd.valid());
  REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
  std::string content(size, '\0');
  for (const Piece& piece : pieces) {
    REQUIRE(pwrite_full(fd.get(), piece.bytes, piece.offset).ok());
    content.replace(piece.offset, piece.bytes.size(), piece.bytes);
  }
  REQUIRE(::fsync(fd.get()) == 0);
  return content;
}

ContentHash hash_of(const std::string& content) {
  ContentHasher hasher;
  hasher.update(content);
  return hasher.finish();
}

}  // namespace

TEST_CASE("a file's hash is that of its content, whatever holes it has", "[verify]") {
  struct Case {
    const char* what;
    size_t size;
    std::vector<Piece> pieces;
  };
  const std::vector<Case> cases{
      {"empty", 0, {}},
      {"one byte", 1, {{0, "x"}}},
      {"one block", 4096, {{0, pattern_of(4096)}}},
      {"unaligned end", 4097, {{0, pattern_of(4097)}}},
      {"a whole buffer", kMiB, {{0, pattern_of(kMiB)}}},
      {"more than a buffer, unaligned", 3 * kMiB + 77, {{0, pattern_of(3 * kMiB + 77)}}},
      {"only a hole", 3 * kMiB + 5, {}},
      {"begins with a hole", 2 * kMiB, {{kMiB + 4096, pattern_of(kMiB - 4096)}}},
      {"ends with a hole", 3 * kMiB + 100, {{0, pattern_of(10'000)}}},
      {"ends after a hole", 2 * kMiB + 99, {{2 * kMiB, pattern_of(99)}}},
      {"a hole within",
       5 * kMiB + 3,
       {{0, pattern_of(1'500'000)}, {4 * kMiB, pattern_of(kMiB + 3)}}},
      {"many holes",
       8 * kMiB,
       {{8192, pattern_of(100)}, {kMiB - 1, pattern_of(2)}, {5 * kMiB + 1, pattern_of(70'000)}}},
  };
  TempDir dir;
  std::atomic<bool> cancelled{false};
  // A limited rate reads in smaller pieces.
  for (const uint64_t rate : {uint64_t{0}, uint64_t{1} << 40}) {
    RateLimit limit(rate);
    DiskReader reader(limit, cancelled);
    for (const Case& test : cases) {
      INFO(test.what << ", rate " << rate);
      const std::string content = write_pieces(dir.path("file"), test.size, test.pieces);
      for (const bool drop_cache : {false, true}) {
        const auto hash = reader.hash(dir.fd(), "file", drop_cache);
        REQUIRE(hash.ok());
        REQUIRE(*hash == hash_of(content));
      }
    }
  }
}

TEST_CASE("a cancelled reading ends with an error and not with a hash", "[verify]") {
  TempDir dir;
  write_pieces(dir.path("file"), 100, {{0, pattern_of(100)}});
  RateLimit limit(0);
  std::atomic<bool> cancelled{true};
  DiskReader reader(limit, cancelled);
  const auto hash = reader.hash(dir.fd(), "file", false);
  REQUIRE(!hash.ok());
  REQUIRE(hash.error().code == ErrorCode::kInterrupted);
}

TEST_CASE("what cannot be looked at is neither missing nor a failing disk", "[verify]") {
  TempDir dir;
  RateLimit limit(0);
  std::atomic<bool> cancelled{false};
  DiskReader reader(limit, cancelled);
  Record version;
  version.name = "file";
  version.type = FileType::kFile;
  const FsTraits fs;
  const FileReport missing = reader.verify(dir.fd(), "file", version, fs);
  REQUIRE((missing.missing && missing.moved && !missing.unread));
  // ENAMETOOLONG stands for any error that says nothing of the file.
  const FileReport unread = reader.verify(dir.fd(), std::string(300, 'n'), version, fs);
  REQUIRE((unread.unread && !unread.missing && !unread.moved));
  REQUIRE(unread.verdict == Verdict::kNone);
  REQUIRE(unread.now.name == "file");
}

TEST_CASE("another content under the same stamps is judged by what the stamps are worth",
          "[verify]") {
  TempDir dir;
  write_pieces(dir.path("file"), 5000, {{0, pattern_of(5000)}});
  REQUIRE(::symlink("where it leads", dir.path("link").c_str()) == 0);
  RateLimit limit(0);
  std::atomic<bool> cancelled{false};
  DiskReader reader(limit, cancelled);
  for (const std::string name : {"file", "link"}) {
    INFO(name);
    const auto stat = statx_name(dir.fd(), name);
    REQUIRE(stat.ok());
    Record version;
    version.name = name;
    version.stat = to_file_stat(*stat);
    version.type = name == "file" ? FileType::kFile : FileType::kSymlink;
    version.hash = hash_of(pattern_of(5000));
    version.link_target = "where it leads";
    FsTraits fs;
    fs.stable_inodes = fs.stamps_trusted = true;
    REQUIRE(reader.verify(dir.fd(), name, version, fs).verdict == Verdict::kOk);
    version.hash = hash_of("other bytes");
    version.link_target = "somewhere else";
    const FileReport rotten = reader.verify(dir.fd(), name, version, fs);
    REQUIRE(rotten.verdict == Verdict::kCorrupt);
    REQUIRE((!rotten.moved && !rotten.unread));
    fs.stamps_trusted = false;
    REQUIRE(reader.verify(dir.fd(), name, version, fs).verdict == Verdict::kSuspect);
    fs.stamps_trusted = true;
    version.flags = kFlagRacy;
    REQUIRE(reader.verify(dir.fd(), name, version, fs).verdict == Verdict::kSuspect);
    version.flags = 0;
    version.stat.mtime_ns += 1;
    REQUIRE(reader.verify(dir.fd(), name, version, fs).moved);
    version.stat.mtime_ns -= 1;
    if (name == "link") continue;
    const Fd writer(::open(dir.path(name).c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(writer.valid());
    REQUIRE(reader.verify(dir.fd(), name, version, fs).verdict == Verdict::kUnstable);
  }
}

TEST_CASE("only errors of the medium are read errors", "[verify]") {
  for (const int number : {EIO, EBADMSG, EUCLEAN}) {
    REQUIRE(is_of_medium(number));
  }
  for (const int number : {EACCES, EMFILE, ENOMEM, ESTALE, ENOENT, EINVAL}) {
    REQUIRE(!is_of_medium(number));
  }
}

TEST_CASE("a rate limit holds back what is more than its rate", "[verify]") {
  using Clock = std::chrono::steady_clock;
  SECTION("none") {
    RateLimit limit(0);
    REQUIRE(limit.take(uint64_t{1} << 50));
    REQUIRE(!limit.is_limited());
  }
  SECTION("over all that is taken") {
    RateLimit limit(10'000'000);
    const auto begin = Clock::now();
    for (int i = 0; i < 10; ++i) REQUIRE(limit.take(200'000));
    // 2 MB take 200 ms, of which 20 ms may have been saved up.
    REQUIRE(Clock::now() - begin >= std::chrono::milliseconds(179));
  }
  SECTION("stopping ends the waiting, for good") {
    RateLimit limit(1);
    bool taken = true;
    std::thread waiting([&] { taken = limit.take(1'000'000); });
    limit.stop();
    waiting.join();
    REQUIRE(!taken);
    REQUIRE(!limit.take(1));
  }
}

}  // namespace holdfast
