// Reading a file again, to find out whether it still is what the journal says: from the disk and
// not from the page cache, and twice more before anything is called wrong.
//
// Blocking; a DiskReader belongs to one thread. Writes nothing, and leaves the page cache of a
// sound file as it was wherever the file system can read around it (O_DIRECT).
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "base/fd.h"
#include "base/fs_type.h"
#include "journal/record.h"
#include "journal/verdict.h"

namespace holdfast {

// Bytes a second over all threads that share it; 0: as fast as can be. Thread-safe.
class RateLimit {
 public:
  explicit RateLimit(uint64_t bytes_per_second) : rate_(bytes_per_second) {}
  // Returns when `bytes` more may be read, or false once stop() was called.
  bool take(uint64_t bytes);
  void stop();
  bool is_limited() const { return rate_ > 0; }

 private:
  const uint64_t rate_;
  std::mutex mutex_;
  std::condition_variable stopped_changed_;
  bool stopped_ = false;
  int64_t free_at_ns_ = 0;  // CLOCK_MONOTONIC
};

// What has become of a file since its version.
struct FileReport {
  Verdict verdict = Verdict::kOk;
  // Its stamps are not the version's: whoever owns the journal has to look at it.
  bool moved = false;
  bool missing = false;
  // It could not be looked at, so that nobody knows: neither sound nor lost. The verdict is kNone.
  bool unread = false;
  Record now;        // what is there: stat, hash (zero where it was not read), handle, type
  std::string note;  // why it could not be read, or what was seen
  uint64_t bytes = 0;

  void set_unread(const std::string& why) {
    unread = true;
    verdict = Verdict::kNone;
    note = why;
  }
};

// EIO, EBADMSG, EUCLEAN: the disk or its checksums refuse. Any other error says nothing of them.
bool is_of_medium(int sys_errno);

class DiskReader {
 public:
  DiskReader(RateLimit& rate, const std::atomic<bool>& cancelled);
  // Compares the name in the open directory with its version.
  FileReport verify(int dir_fd, const std::string& name, const Record& version, const FsTraits& fs);
  // The same, of a database what it shows (service/sqlite_view.h).
  Result<ContentHash> hash_shown(int dir_fd, const std::string& name, const FsTraits& fs);
  // The content of a file as it is on the disk.
  Result<ContentHash> hash(int dir_fd, const std::string& name, bool drop_cache);

 private:
  struct OpenFile {
    Fd fd;
    bool direct = false;   // reads go around the page cache
    bool flagged = false;  // it has O_DIRECT
  };
  Result<OpenFile> open_file(int dir_fd, const std::string& name);
  Result<ContentHash> hash_file(OpenFile& file, bool drop_cache);
  FileReport compare_link(int dir_fd, const std::string& name, const Record& version,
                          const FsTraits& fs, FileReport report);
  FileReport compare_live(int dir_fd, const std::string& name, const Record& version,
                          const FsTraits& fs, FileReport report);
  void confirm(OpenFile& file, const Record& version, const FsTraits& fs, bool database,
               FileReport& report);
  Result<ContentHash> read_all(int fd, uint64_t size, bool sparse);

  struct Free {
    void operator()(char* bytes) const;
  };
  std::unique_ptr<char, Free> buffer_;  // aligned for O_DIRECT
  RateLimit& rate_;
  const std::atomic<bool>& cancelled_;
};

// The calling thread's reads give way to everybody else's (I/O class idle, and nice).
void become_idle();

}  // namespace holdfast
