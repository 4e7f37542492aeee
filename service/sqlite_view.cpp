#include "service/sqlite_view.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/hash.h"
#include "service/capture.h"
#include "service/sqlite_log.h"

namespace holdfast {

namespace {

// Where SQLite's locks lie (os.h, os_unix.c, and https://www.sqlite.org/walformat.html).
constexpr off_t kPendingLockByte = 0x40000000;
constexpr off_t kReservedByte = kPendingLockByte + 1;
constexpr off_t kSharedFirst = kPendingLockByte + 2;
constexpr off_t kSharedBytes = 510;
constexpr off_t kReadLock0 = 120 + 3;  // of X-shm: while it is held, no page goes into the database
constexpr off_t kDeadManSwitch = 128;  // of X-shm: held by everybody who uses it

// A log whose program holds the database for itself: asked for only shortly.
constexpr int64_t kLogLockWaitNs = 50'000'000;
constexpr int kTries = 5;
constexpr int64_t kInFlightNs = 10'000'000'000;

enum class Locking { kTaken, kBusy, kRefused };

struct flock lock_of(short type, off_t at, off_t bytes) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = at;
  lock.l_len = bytes;
  return lock;
}

Locking lock_bytes(int fd, off_t at, off_t bytes) {
  struct flock lock = lock_of(F_RDLCK, at, bytes);
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return Locking::kTaken;
  return errno == EAGAIN || errno == EACCES ? Locking::kBusy : Locking::kRefused;
}

void unlock_bytes(int fd, off_t at, off_t bytes) {
  struct flock lock = lock_of(F_UNLCK, at, bytes);
  ::fcntl(fd, F_OFD_SETLK, &lock);
}

// Whether anybody else has a lock there that a writer would have to wait for.
bool is_locked(int fd, off_t at) {
  struct flock lock = lock_of(F_WRLCK, at, 1);
  return ::fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

// Tries until it is taken, refused, or the time is over. A writer that is waited for leaves the
// database between two transactions only for the time of a write to its disk.
template <class Try>
Locking keep_trying(int64_t wait_ns, Try attempt) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(wait_ns);
  for (;;) {
    const Locking got = attempt();
    if (got != Locking::kBusy || std::chrono::steady_clock::now() >= end) return got;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

bool same_file(const StatxResult& a, const StatxResult& b) {
  return a.inode == b.inode && a.size == b.size && a.mtime_ns == b.mtime_ns &&
         a.ctime_ns == b.ctime_ns;
}

std::optional<SqliteHeader> header_of(int fd) {
  char bytes[kSqliteHeaderBytes];
  const auto got = pread_full(fd, bytes, sizeof bytes, 0);
  return got.ok() ? parse_sqlite_header({bytes, *got}) : std::nullopt;
}

// The head of a database of which a view would hold up writers; "" for all other files.
std::string head_of_rollback_database(int fd) {
  std::string bytes(kSqliteHeaderBytes, '\0');
  const auto got = pread_full(fd, bytes.data(), bytes.size(), 0);
  const auto header = got.ok() ? parse_sqlite_header({bytes.data(), *got}) : std::nullopt;
  return header && !header->wal ? bytes : "";
}

// nullopt: it took longer.
template <class Read>
Result<std::optional<ContentHash>> hash_of(const Read& read, uint64_t size, int64_t until_ns) {
  ContentHasher hasher;
  std::string buffer(1 << 20, '\0');
  for (uint64_t at = 0; at < size;) {
    if (until_ns != INT64_MAX && read_clock_ns(CLOCK_MONOTONIC) > until_ns) {
      return std::optional<ContentHash>();
    }
    TRY_ASSIGN(const size_t got, read(buffer.data(), buffer.size(), at));
    if (got == 0) break;
    hasher.update({buffer.data(), got});
    at += got;
  }
  return std::optional(hasher.finish());
}

}  // namespace

std::unique_ptr<SqliteView> SqliteView::open(int dir_fd, const std::string& name, int fd,
                                             const FsTraits& fs) {
  if (!header_of(fd)) return nullptr;
  std::unique_ptr<SqliteView> view(new SqliteView(dir_fd, name, fd));
  view->look(fs);
  return view;
}

SqliteView::~SqliteView() { unlock_database(); }

void SqliteView::give_up(const std::string& why) {
  unproven_ = why;
  unlock_database();
  log_.reset();
  index_.reset();
  journal_.reset();
  patches_.clear();
  patched_ = false;
}

void SqliteView::look(const FsTraits& fs) {
  const auto st = statx_fd(fd_);
  size_ = st.ok() ? st->size : 0;
  if (fs.network) return give_up("locks say nothing of who else writes on " + fs.name);
  auto header = header_of(fd_);
  const bool locked = lock_database(header && header->wal ? kLogLockWaitNs : kSqliteLockWaitNs);
  if (!unproven_.empty()) return;
  // Who converts it between the two kinds needs it for himself: from here on it stays what it is.
  header = header_of(fd_);
  if (!header) return give_up("its first page is being changed");
  page_bytes_ = header->page_bytes;
  if (header->wal) return look_at_log();
  if (!locked) return give_up("a program has had it locked for itself all the time");
  look_at_journal();
}

bool SqliteView::lock_database(int64_t wait_ns) {
  const Locking got = keep_trying(wait_ns, [&] {
    // The pending byte says that a writer waits for the readers that are there to leave.
    if (const auto pending = lock_bytes(fd_, kPendingLockByte, 1); pending != Locking::kTaken) {
      return pending;
    }
    const Locking shared = lock_bytes(fd_, kSharedFirst, kSharedBytes);
    unlock_bytes(fd_, kPendingLockByte, 1);
    return shared;
  });
  locked_ = got == Locking::kTaken;
  if (got == Locking::kRefused) give_up("its file system refuses to lock it");
  return locked_;
}

void SqliteView::release() {
  unlock_database();
  index_.reset();
}

void SqliteView::unlock_database() {
  if (locked_) unlock_bytes(fd_, kSharedFirst, kSharedBytes);
  locked_ = false;
}

// A file beside the database; an Fd that is not valid where there is none, or no regular file.
Result<Fd> SqliteView::open_beside(const char* ending) const {
  const std::string name = name_ + ending;
  const auto there = statx_name(dir_fd_, name);
  if (!there.ok() && there.error().code == ErrorCode::kNotFound) return Fd();
  if (!there.ok()) return there.error();
  if (!S_ISREG(there->mode)) return Fd();
  auto fd = open_beneath(dir_fd_, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd.ok()) return fd.error().code == ErrorCode::kNotFound ? Result<Fd>(Fd()) : fd.error();
  TRY_ASSIGN(const StatxResult opened, statx_fd(fd->get()));
  if (!S_ISREG(opened.mode)) return Fd();
  return std::move(*fd);
}

// Of a database that has, or had, a write-ahead log.
void SqliteView::look_at_log() {
  auto log = open_beside("-wal");
  if (!log.ok()) return give_up("its -wal: " + log.error().message);
  const auto st = statx_fd(fd_);
  size_ = st.ok() ? st->size : 0;
  const auto log_stat = *log ? statx_fd(log->get()) : Result<StatxResult>(StatxResult{});
  if (!log_stat.ok()) return give_up("its -wal: " + log_stat.error().message);
  if (log_stat->size == 0) {
    // Everything is in the database. Who opens it now makes a log, and is seen by the stamps of
    // the database when that goes there: no lock of ours shall keep him from tidying up.
    unlock_database();
    if (!*log && st.ok() && st->nlink > 1) {
      give_up("it has several names, and its -wal may lie beside another one");
    }
    return;
  }
  log_ = std::move(*log);
  log_stat_ = *log_stat;
  auto index = open_beside("-shm");
  if (!index.ok()) return give_up("its -shm: " + index.error().message);
  index_ = std::move(*index);
  if (locked_ && index_ && is_locked(index_.get(), kDeadManSwitch)) {
    if (!join_readers()) return give_up("its write-ahead log has been busy all the time");
    for (int tried = 0; tried < kTries; ++tried) {
      if (take_log_of_index()) return;
    }
    return give_up("its write-ahead log is not what its index says");
  }
  index_.reset();
  unlock_database();
  take_log_by_itself();
}

// Takes the place of a reader who finds everything in the database: nothing goes from the log into
// the database meanwhile, and the log does not begin anew unless all of it was there.
bool SqliteView::join_readers() {
  if (lock_bytes(index_.get(), kDeadManSwitch, 1) != Locking::kTaken) return false;
  return keep_trying(kSqliteLockWaitNs, [&] { return lock_bytes(index_.get(), kReadLock0, 1); }) ==
         Locking::kTaken;
}

// The index is read twice: in between nothing begins anew if the salt is the same.
bool SqliteView::take_log_of_index() {
  std::optional<WalIndex> first;
  for (int tried = 0; tried < 1000; ++tried) {
    char bytes[kWalIndexBytes];
    const auto got = pread_full(index_.get(), bytes, sizeof bytes, 0);
    const auto index = got.ok() ? parse_wal_index({bytes, *got}) : std::nullopt;
    const bool same =
        index && first && index->salt == first->salt && index->backfilled == first->backfilled;
    if (same) break;
    first = index;
    if (tried == 999) return false;
  }
  const WalIndex& index = *first;
  const uint64_t end = kWalHeaderBytes + uint64_t{index.frames} * (kWalFrameBytes + page_bytes_);
  note_in_flight(index.salt, index.frames == 0 ? kWalHeaderBytes : end);
  if (index.backfilled == index.frames) return true;  // the database's own bytes are all of it
  auto patches = patches_of_log(log_.get(), index);
  if (!patches.ok()) return false;
  patch(std::move(*patches), index.page_bytes, index.pages);
  return true;
}

// Nobody is there who could say how much of the log is valid, or who is there keeps that to
// himself: the log tells, and the stamps tell whether it stayed so.
void SqliteView::take_log_by_itself() {
  watch_log_ = true;
  auto valid = valid_log(log_.get());
  if (!valid.ok()) return give_up("its -wal: " + valid.error().message);
  if (valid->pages > 0) patch(std::move(valid->patches), valid->page_bytes, valid->pages);
}

// A commit is a last frame, then a sync, then the index, and the index makes no event. Frames that
// are not valid yet may be just before that.
void SqliteView::note_in_flight(const WalSalt& salt, uint64_t end) {
  char bytes[kWalFrameBytes];
  const auto got = pread_full(log_.get(), bytes, sizeof bytes, end);
  if (!got.ok() || *got < sizeof bytes || parse_wal_frame({bytes, sizeof bytes}).salt != salt) {
    return;
  }
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const int64_t now_ns = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  in_flight_ = log_stat_.mtime_ns + kInFlightNs > now_ns;
}

// Of a database with a rollback journal, and nobody writes to it now. A journal that is left is
// that of a program that is preparing to write, or of one that crashed.
void SqliteView::look_at_journal() {
  const auto st = statx_fd(fd_);
  size_ = st.ok() ? st->size : 0;
  auto journal = open_beside("-journal");
  if (!journal.ok()) return give_up("its -journal: " + journal.error().message);
  if (!*journal) return;
  for (int tried = 0; tried < kTries; ++tried) {
    auto hot = is_hot(*journal);
    if (!hot.ok()) return give_up("its -journal: " + hot.error().message);
    if (!*hot) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  journal_ = std::move(*journal);
  take_journal();
}

Result<bool> SqliteView::is_hot(const Fd& journal) const {
  if (is_locked(fd_, kReservedByte)) return false;
  char first = 0;
  TRY_ASSIGN(const size_t got, pread_full(journal.get(), &first, 1, 0));
  if (got == 0 || first == 0) return false;
  TRY_ASSIGN(const StatxResult st, statx_fd(journal.get()));
  return st.nlink > 0 && !is_locked(fd_, kReservedByte);
}

void SqliteView::take_journal() {
  auto before = pages_of_journal(journal_.get());
  if (!before.ok()) return give_up("its -journal: " + before.error().message);
  if (before->page_bytes > 0) {
    patch(std::move(before->patches), before->page_bytes, before->pages);
  }
}

void SqliteView::patch(std::vector<PagePatch> patches, uint32_t page_bytes, uint32_t pages) {
  patched_ = true;
  patches_ = std::move(patches);
  page_bytes_ = page_bytes;
  size_ = uint64_t{pages} * page_bytes;
}

Result<size_t> SqliteView::read(char* out, size_t size, uint64_t at) const {
  if (!patched_) return pread_full(fd_, out, size, at);
  const size_t wanted = at >= size_ ? 0 : std::min<uint64_t>(size, size_ - at);
  TRY_ASSIGN(const size_t got, pread_full(fd_, out, wanted, at));
  std::memset(out + got, 0, wanted - got);  // pages that are in the log only
  const int beside = log_ ? log_.get() : journal_.get();
  const auto first = static_cast<uint32_t>(at / page_bytes_) + 1;
  auto next = std::lower_bound(patches_.begin(), patches_.end(), first,
                               [](const PagePatch& a, uint32_t page) { return a.page < page; });
  for (; next != patches_.end(); ++next) {
    const uint64_t page_at = uint64_t{next->page - 1} * page_bytes_;
    if (page_at >= at + wanted) break;
    const uint64_t begin = std::max(page_at, at);
    const uint64_t end = std::min(page_at + page_bytes_, at + wanted);
    TRY_ASSIGN(const size_t patched,
               pread_full(beside, out + (begin - at), end - begin, next->offset + begin - page_at));
    if (patched < end - begin) {
      return make_error(ErrorCode::kChanged, "its -wal or -journal got shorter");
    }
  }
  return wanted;
}

bool SqliteView::still_holds() const {
  if (!watch_log_) return true;
  const auto now = statx_name(dir_fd_, name_ + "-wal");
  return now.ok() && same_file(*now, log_stat_);
}

std::optional<DatabaseStamp> stamp_of_rollback_database(int fd, const FsTraits& fs) {
  DatabaseStamp stamp;
  const auto st = statx_fd(fd);
  stamp.head = head_of_rollback_database(fd);
  if (!st.ok() || stamp.head.empty()) return std::nullopt;
  stamp.stat = *st;
  stamp.racy = is_racy(fs, st->ctime_ns, read_clock_ns(CLOCK_REALTIME_COARSE));
  return stamp;
}

bool is_at_rest_since(const DatabaseStamp& stamp, const SqliteView& view, int fd,
                      const StatxResult& now) {
  return view.holds_up_writers() && !view.is_live() && view.unproven().empty() && !stamp.racy &&
         same_file(stamp.stat, now) && stamp.head == head_of_rollback_database(fd);
}

Result<std::optional<ContentHash>> hash_of_sqlite_view(int dir_fd, const std::string& name, int fd,
                                                       const FsTraits& fs, bool drop_cache) {
  if (drop_cache) ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  // Writers wait while there is a lock, so it comes after the reading where that is good enough.
  const auto stamp = stamp_of_rollback_database(fd, fs);
  std::optional<ContentHash> before;
  if (stamp && !stamp->racy) {
    TRY_ASSIGN(before, hash_of([&](char* out, size_t size,
                                   uint64_t at) { return pread_full(fd, out, size, at); },
                               stamp->stat.size, INT64_MAX));
  }
  const auto view = SqliteView::open(dir_fd, name, fd, fs);
  if (!view || !view->unproven().empty()) return std::optional<ContentHash>();
  TRY_ASSIGN(const StatxResult now, statx_fd(fd));
  if (before && is_at_rest_since(*stamp, *view, fd, now)) return before;
  // Who gets nothing may read the file's own bytes: where those are not what it shows, it is read
  // on.
  const bool bounded = view->holds_up_writers() && !view->is_live();
  const int64_t until_ns = bounded ? read_clock_ns(CLOCK_MONOTONIC) + kSqliteHoldNs : INT64_MAX;
  TRY_ASSIGN(const auto shown,
             hash_of([&](char* out, size_t size, uint64_t at) { return view->read(out, size, at); },
                     view->size(), until_ns));
  if (!view->still_holds()) return std::optional<ContentHash>();
  return shown;
}

bool is_sqlite_database(int dir_fd, const std::string& name) {
  const auto there = statx_name(dir_fd, name);
  if (!there.ok() || !S_ISREG(there->mode) || there->size < kSqliteHeaderBytes) return false;
  const auto fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  return fd.ok() && header_of(fd->get()).has_value();
}

}  // namespace holdfast
