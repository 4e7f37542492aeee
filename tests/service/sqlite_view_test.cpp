// What SqliteView says of files that no program has open. Those that one has:
// tests/integration/sqlite_test.cpp.
#include "service/sqlite_view.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/hash.h"

namespace holdfast {
namespace {

struct Files {
  std::string path;
  Fd dir;
  FsTraits fs = fs_traits(0xEF53, {6, 18});

  Files() {
    path = (std::filesystem::temp_directory_path() / "holdfast-test-XXXXXX").string();
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    dir = Fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  ~Files() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  void put(const std::string& name, const std::string& bytes) const {
    const Fd fd(::open((path + "/" + name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600));
    REQUIRE(write_full(fd.get(), bytes).ok());
  }
  Fd open(const std::string& name) const {
    return Fd(::open((path + "/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  }
};

// The head of a database of one page; `version` 1: with a rollback journal, 2: with a log.
std::string database(char version) {
  std::string bytes("SQLite format 3\0", 16);
  bytes += std::string{'\x10', '\0', version, version, '\0', '\x40', '\x20', '\x20'};
  bytes.resize(4096, 'x');
  return bytes;
}

}  // namespace

TEST_CASE("a view of what is no database is none", "[sqlite_view]") {
  Files files;
  files.put("text", "SQLite format 3");
  const Fd fd = files.open("text");
  REQUIRE(SqliteView::open(files.dir.get(), "text", fd.get(), files.fs) == nullptr);
}

TEST_CASE("a view of a database at rest is its own bytes", "[sqlite_view]") {
  Files files;
  const auto version = GENERATE('\1', '\2');
  files.put("db", database(version));
  const Fd fd = files.open("db");
  const auto view = SqliteView::open(files.dir.get(), "db", fd.get(), files.fs);
  REQUIRE(view != nullptr);
  REQUIRE(view->unproven().empty());
  REQUIRE_FALSE(view->is_live());
  std::string bytes(5000, '\0');
  const auto got = view->read(bytes.data(), bytes.size(), 0);
  REQUIRE(got.ok());
  REQUIRE(bytes.substr(0, *got) == database(version));
}

TEST_CASE("where locks say nothing, a view proves nothing", "[sqlite_view]") {
  Files files;
  files.put("db", database(1));
  const Fd fd = files.open("db");
  for (const uint64_t magic : {0x6969ull, 0x01021997ull, 0x65735546ull}) {  // NFS, 9p, FUSE
    const auto view = SqliteView::open(files.dir.get(), "db", fd.get(), fs_traits(magic, {6, 18}));
    REQUIRE(view != nullptr);
    REQUIRE_FALSE(view->unproven().empty());
    REQUIRE_FALSE(view->is_live());
  }
}

TEST_CASE("the shared lock of a view is there for another program, and goes with it",
          "[sqlite_view]") {
  Files files;
  files.put("db", database(1));
  const Fd fd = files.open("db");
  const Fd other(::open((files.path + "/db").c_str(), O_RDWR | O_CLOEXEC));
  const auto can_write = [&] {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_start = 0x40000000 + 2;
    lock.l_len = 510;
    REQUIRE(::fcntl(other.get(), F_OFD_GETLK, &lock) == 0);
    return lock.l_type == F_UNLCK;
  };
  {
    const auto view = SqliteView::open(files.dir.get(), "db", fd.get(), files.fs);
    files.open("db").reset();  // closing another descriptor drops nothing
    REQUIRE_FALSE(can_write());
  }
  REQUIRE(can_write());
}

TEST_CASE("a log of garbage counts for nothing", "[sqlite_view]") {
  Files files;
  files.put("db", database(2));
  files.put("db-wal", std::string(100'000, 'w'));
  const Fd fd = files.open("db");
  const auto view = SqliteView::open(files.dir.get(), "db", fd.get(), files.fs);
  REQUIRE(view->unproven().empty());
  REQUIRE_FALSE(view->is_live());
  REQUIRE(view->still_holds());
  files.put("db-wal", "shorter");
  REQUIRE_FALSE(view->still_holds());
}

// Sparse, so that only the reading takes time.
static void put_large(const Files& files, uint64_t bytes) {
  files.put("db", database(1));
  REQUIRE(::truncate((files.path + "/db").c_str(), static_cast<off_t>(bytes)) == 0);
}

TEST_CASE("writers do not wait while a database at rest is hashed", "[sqlite_view]") {
  Files files;
  put_large(files, 1ull << 30);
  const Fd fd = files.open("db");
  const Fd other(::open((files.path + "/db").c_str(), O_RDWR | O_CLOEXEC));
  std::atomic<bool> done{false};
  std::optional<ContentHash> hash;
  std::thread hashing([&] {
    const auto got = hash_of_sqlite_view(files.dir.get(), "db", fd.get(), files.fs, false);
    if (got.ok()) hash = *got;
    done = true;
  });
  uint64_t free = 0, held = 0;
  while (!done) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_start = 0x40000000 + 2;
    lock.l_len = 510;
    if (::fcntl(other.get(), F_OFD_GETLK, &lock) != 0) break;
    (lock.l_type == F_UNLCK ? free : held) += 1;
  }
  hashing.join();
  ContentHasher whole;
  const std::string zeros(1 << 20, '\0');
  whole.update(database(1) + std::string((1 << 20) - 4096, '\0'));
  for (int i = 1; i < 1024; ++i) whole.update(zeros);
  REQUIRE(hash == whole.finish());
  INFO("seen without the lock " << free << " times, with it " << held << " times");
  REQUIRE(free > held);
}

TEST_CASE("writers do not wait for long while a database that was just written is hashed",
          "[sqlite_view]") {
  Files files;
  files.fs.fine_stamps = false;
  files.fs.granularity_ns = 3600 * kSecondNs;  // whatever was written: it may have been just now
  put_large(files, 64ull << 30);               // reading that takes many times as long
  const Fd fd = files.open("db");
  const auto hash = hash_of_sqlite_view(files.dir.get(), "db", fd.get(), files.fs, false);
  REQUIRE(hash.ok());
  REQUIRE_FALSE(hash->has_value());
}

}  // namespace holdfast
