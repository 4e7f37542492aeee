// SqliteView: what a SQLite database holds at one moment, read while other programs write to it.
//
// SQLite is not asked: its files are read, under the locks that its own readers take
// (docs/sqlite.md). Those are taken as open file description locks, which belong to a descriptor
// and not to the process, so that closing another descriptor of the file does not drop them. Every
// descriptor is open for reading only and found beneath the directory: nothing is written, made or
// removed, no checkpoint is run, and nobody is waited for longer than kSqliteLockWaitNs.
//
// While a view lives, what it reads does not change: the database's own bytes, patched with pages
// of the write-ahead log, or with those that a crashed program's rollback journal brings back. A
// view that could not get that says so in unproven(), and reads the file's bytes as they are.
// One thread; blocking.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/fs.h"
#include "base/fs_type.h"
#include "base/result.h"
#include "base/sqlite_format.h"
#include "base/types.h"

namespace holdfast {

inline constexpr int64_t kSqliteLockWaitNs = 1'000'000'000;
// How long a writer may be kept waiting while a view is read, at the first try; then twice that,
// and four times, and then it is not tried any more.
inline constexpr int64_t kSqliteHoldNs = 500'000'000;

// A page whose bytes are not those of the database file.
struct PagePatch {
  uint32_t page = 0;    // from 1
  uint64_t offset = 0;  // in the file beside it
};

class SqliteView {
 public:
  // `fd` is open for reading, is the file that `name` leads to in the open directory, and outlives
  // the view. nullptr: it is no SQLite database.
  static std::unique_ptr<SqliteView> open(int dir_fd, const std::string& name, int fd,
                                          const FsTraits& fs);
  ~SqliteView();
  SqliteView(const SqliteView&) = delete;
  SqliteView& operator=(const SqliteView&) = delete;

  // It is not the file's own bytes.
  bool is_live() const { return patched_; }
  uint64_t size() const { return size_; }
  // As pread_full().
  Result<size_t> read(char* out, size_t size, uint64_t at) const;
  // Whether the log is still what was read; always where the locks see to that. To be asked when
  // everything was read, beside the file's own stamps.
  bool still_holds() const;
  // Whether the log holds frames of a transaction that may be on its way to be committed, with no
  // further write.
  bool is_in_flight() const { return in_flight_; }
  // "": what was read is one moment of the database. Else why that is not sure.
  const std::string& unproven() const { return unproven_; }
  // While it lives, nobody can commit.
  bool holds_up_writers() const { return locked_ && !log_; }
  // Lets go of all locks, when everything was read and still_holds() was asked.
  void release();
  // From here on it is the file's bytes as they are, without any lock.
  void give_up(const std::string& why);

 private:
  SqliteView(int dir_fd, std::string name, int fd)
      : dir_fd_(dir_fd), name_(std::move(name)), fd_(fd) {}
  void look(const FsTraits& fs);
  void look_at_log();
  void look_at_journal();
  Result<Fd> open_beside(const char* ending) const;
  bool lock_database(int64_t wait_ns);
  void unlock_database();
  bool join_readers();
  bool take_log_of_index();
  void take_log_by_itself();
  Result<bool> is_hot(const Fd& journal) const;
  void take_journal();
  void patch(std::vector<PagePatch> patches, uint32_t page_bytes, uint32_t pages);
  void note_in_flight(const WalSalt& salt, uint64_t end);

  const int dir_fd_;
  const std::string name_;
  const int fd_;
  bool locked_ = false;
  Fd log_, index_, journal_;
  StatxResult log_stat_;
  bool watch_log_ = false;  // no lock keeps the log as it is
  bool patched_ = false, in_flight_ = false;
  uint32_t page_bytes_ = 0;
  uint64_t size_ = 0;
  std::vector<PagePatch> patches_;  // by page
  std::string unproven_;
};

// The content's hash as the journal has it; nullopt: it is no database, or no view that holds, or
// its writers would have to wait for longer than kSqliteHoldNs while the file's own bytes are read.
// The file is dropped from the page cache before, where that is asked for.
Result<std::optional<ContentHash>> hash_of_sqlite_view(int dir_fd, const std::string& name, int fd,
                                                       const FsTraits& fs, bool drop_cache);

// How a database with a rollback journal, whose writers a view holds up, was found before its lock.
struct DatabaseStamp {
  StatxResult stat;
  std::string head;  // the first kSqliteHeaderBytes
  bool racy = true;  // one more change could leave the same stamps
};
// nullopt: a database of another kind, or none.
std::optional<DatabaseStamp> stamp_of_rollback_database(int fd, const FsTraits& fs);
// Whether the file is the version, as it has been since then: no page was written, and none is to
// be taken from a log or journal. A transaction that writes pages before its commit moves the
// stamps at that, and once more at its end. `now`: of the file, since the view is there.
bool is_at_rest_since(const DatabaseStamp& stamp, const SqliteView& view, int fd,
                      const StatxResult& now);

// Whether the open directory has a SQLite database under that name.
bool is_sqlite_database(int dir_fd, const std::string& name);

}  // namespace holdfast
