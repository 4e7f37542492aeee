// Databases with a rollback journal are captured without making a program wait for more than what
// it wrote meanwhile. The writer here is this thread: it does what SQLite does to the file and its
// locks, whenever the capture hands over frames.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <set>

#include "base/hash.h"
#include "service/capture.h"
#include "tests/store/store_fixture.h"

namespace holdfast {
namespace {

using test::TempDir;
using test::TestStore;

constexpr size_t kPageBytes = 4096;
constexpr size_t kPages = 6000;

std::string page_of(uint64_t seed) { return test::random_text(seed, kPageBytes); }

std::string database(size_t pages = kPages) {
  std::string bytes = test::random_text(1, pages * kPageBytes);
  const std::string head = std::string("SQLite format 3\0", 16) +
                           std::string{'\x10', '\0', '\1', '\1', '\0', '\x40', '\x20', '\x20'} +
                           std::string(4, '\0');
  return bytes.replace(0, head.size(), head);
}

uint64_t bytes_read_by_us() {
  std::ifstream io("/proc/self/io");
  std::string word;
  uint64_t bytes = 0;
  io >> word >> bytes;
  REQUIRE(word == "rchar:");
  return bytes;
}

struct Captured {
  const size_t pages;
  TempDir dir;
  TestStore store;
  PendingChunks pending;
  Fd dir_fd, file;
  uint64_t seed = 100, counter = 0;
  int handed_over = 0;         // so many times
  uint64_t while_waiting = 0;  // bytes that were handed over while nobody could write
  std::function<void()> writer;
  CaptureResult result;

  explicit Captured(size_t pages_in = kPages) : pages(pages_in) {
    REQUIRE(store.open().ok());
    std::ofstream(dir.path + "/db", std::ios::binary) << database(pages);
    dir_fd = Fd(::open(dir.path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    file = Fd(::open((dir.path + "/db").c_str(), O_RDWR | O_CLOEXEC));
  }
  bool set_lock(short type) const {
    struct flock lock {};
    lock.l_type = type;
    lock.l_start = 0x40000000 + 2;
    lock.l_len = 510;
    return ::fcntl(file.get(), F_OFD_SETLK, &lock) == 0;
  }
  void put(size_t page, const std::string& bytes) const {
    REQUIRE(::pwrite(file.get(), bytes.data(), bytes.size(),
                     static_cast<off_t>(page * kPageBytes)) == static_cast<ssize_t>(bytes.size()));
  }
  std::string bytes() const {
    std::string all(pages * kPageBytes, '\0');
    REQUIRE(::pread(file.get(), all.data(), all.size(), 0) == static_cast<ssize_t>(all.size()));
    return all;
  }
  // One transaction, which changes both what was read already and what was not.
  bool commit(const std::vector<size_t>& changed) {
    if (!set_lock(F_WRLCK)) return false;
    for (const size_t page : changed) put(page, page_of(++seed));
    const char count[] = {0, 0, 0, static_cast<char>(++counter)};
    REQUIRE(::pwrite(file.get(), count, sizeof count, 24) == sizeof count);
    return set_lock(F_UNLCK);
  }
  void take(CaptureOutput output) {
    ++handed_over;
    const bool free = set_lock(F_WRLCK);
    if (free) REQUIRE(set_lock(F_UNLCK));
    for (const NewFrame& frame : output.frames) while_waiting += free ? 0 : frame.bytes.size();
    auto txn = store.env->begin_write();
    REQUIRE(txn.ok());
    std::vector<ChunkId> ids;
    for (const NewFrame& frame : output.frames) {
      REQUIRE(store.store->append(**txn, frame).ok());
      for (const ChunkInFrame& chunk : frame.chunks) ids.push_back(chunk.id);
    }
    REQUIRE(store.store->close_batch(**txn, "").ok());
    REQUIRE((*txn)->commit().ok());
    REQUIRE(store.store->after_commit().ok());
    pending.release_committed(ids);
    if (output.finished) {
      REQUIRE(output.results.size() == 1);
      result = std::move(output.results[0]);
    } else if (writer) {
      writer();
    }
  }
  void capture() {
    CaptureContext context;
    context.env = store.env.get();
    context.store = store.store.get();
    context.pending = &pending;
    context.emit = [this](CaptureOutput output) { take(std::move(output)); };
    context.offer_segment = [](Segment&) { return false; };
    context.take_segment = [](Segment&) { return false; };
    CaptureTask task;
    const auto fs = fs_traits_of(dir_fd.get());
    REQUIRE(fs.ok());
    task.fs = *fs;
    task.fs.fine_stamps = true;  // nothing writes within one tick of the clock before
    CaptureItem item;
    item.dir_fd = std::make_shared<Fd>(::open(dir.path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    item.name = "db";
    task.items.push_back(std::move(item));
    Capturer(std::move(context)).capture(task);
    REQUIRE(result.problem == "");
    REQUIRE(result.unproven == "");
    REQUIRE(result.state == CaptureState::kDone);
  }
  // What the version is made of; its hash has to be that of just this.
  std::string content() const {
    const auto txn = store.env->begin_read();
    REQUIRE(txn.ok());
    ChunkReader reader(*store.store, **txn);
    std::string all;
    const auto add = [&](std::string_view part) {
      all += part;
      return Status();
    };
    const auto hole = [&](uint64_t size) {
      all.append(size, '\0');
      return Status();
    };
    REQUIRE(reader.content(result.content, add, hole).ok());
    REQUIRE(content_hash(all) == result.hash);
    REQUIRE(result.stat.size == all.size());
    return all;
  }
};

}  // namespace

TEST_CASE("a database that nobody writes is read once, and nobody would have had to wait",
          "[capture_early]") {
  Captured c;
  const uint64_t before = bytes_read_by_us();
  c.capture();
  REQUIRE(bytes_read_by_us() - before < kPages * kPageBytes * 5 / 4);
  REQUIRE(c.handed_over > 10);
  REQUIRE(c.while_waiting == 0);
  const bool same = c.content() == database();
  REQUIRE(same);
}

TEST_CASE("what is committed while a database is read is in the version", "[capture_early]") {
  Captured c;
  const int when = GENERATE(1, 5, 20);
  c.writer = [&] {
    if (c.handed_over == when) REQUIRE(c.commit({2, 700, 701, 3000, kPages - 1}));
  };
  c.capture();
  REQUIRE(c.handed_over > 20);
  REQUIRE(c.while_waiting == 0);
  const bool same = c.content() == c.bytes();
  REQUIRE(same);
}

TEST_CASE("a database that is never quiet is captured all the same", "[capture_early]") {
  Captured c;
  std::set<std::string> committed{to_hex(content_hash(database()).bytes.data(), 16)};
  int commits = 0;
  // More than is kept in memory, once in a while.
  const size_t step = GENERATE(1000, 2);
  c.writer = [&] {
    std::vector<size_t> pages;
    for (size_t page = 1; page < kPages; page += step) pages.push_back(page);
    if (step < 1000 && c.handed_over % 30 != 0) pages.resize(1);
    if (!c.commit(pages)) return;
    ++commits;
    committed.insert(to_hex(content_hash(c.bytes()).bytes.data(), 16));
  };
  c.capture();
  REQUIRE(commits > 20);
  REQUIRE(c.while_waiting == 0);
  REQUIRE(committed.contains(to_hex(content_hash(c.content()).bytes.data(), 16)));
}

TEST_CASE("pages of a transaction that was taken back are not in the version", "[capture_early]") {
  Captured c(1500);  // so small that it is read only once before the lock
  const size_t first = 1200, end = 1210;
  c.writer = [&] {  // its cache was too small for it: no counter moves
    if (c.handed_over == 1) {
      REQUIRE(c.set_lock(F_WRLCK));
      for (size_t page = first; page < end; ++page) c.put(page, page_of(page));
    }
    if (c.handed_over != 6) return;
    for (size_t page = first; page < end; ++page) {
      c.put(page, database(1500).substr(page * kPageBytes, kPageBytes));
    }
    REQUIRE(c.set_lock(F_UNLCK));
  };
  c.capture();
  REQUIRE(c.handed_over >= 6);
  const bool same = c.content() == database(1500);
  REQUIRE(same);
}

}  // namespace holdfast
