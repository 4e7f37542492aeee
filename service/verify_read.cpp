#include "service/verify_read.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <new>

#include "base/fs.h"
#include "base/hash.h"
#include "service/capture.h"
#include "service/sqlite_view.h"

namespace holdfast {

namespace {

constexpr size_t kReadBytes = 1024 * 1024;
// At a limited rate: others wait for the disk no longer than this takes.
constexpr size_t kLimitedReadBytes = 128 * 1024;
constexpr size_t kAlignment = 4096;  // of buffer, offset and length for O_DIRECT
constexpr int64_t kBurstNs = 20'000'000;
// linux/ioprio.h, which Debian's kernel headers have only since Linux 6.1.
constexpr int kIoprioWhoProcess = 1;
constexpr int kIoprioIdle = 3 << 13;

int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

bool same_stamps(const StatxResult& a, const StatxResult& b) {
  return a.size == b.size && a.mtime_ns == b.mtime_ns && a.ctime_ns == b.ctime_ns;
}

bool refuses_direct(const Error& error) {
  return error.sys_errno == EINVAL || error.sys_errno == EOPNOTSUPP;
}

// Where the kernel does not say what it makes of O_DIRECT: file systems that take the flag and read
// what they compress, or everything, through the page cache.
bool buffers_silently(int fd) {
  const auto fs = fs_traits_of(fd);
  return !fs.ok() || fs->name == "btrfs" || fs->name == "f2fs" || fs->name == "zfs";
}

// What a failed look at a name tells.
void take_error(const Error& error, FileReport& report) {
  report.note = error.message;
  if (error.code == ErrorCode::kNotFound) {
    report.moved = report.missing = true;
  } else if (is_of_medium(error.sys_errno)) {
    report.verdict = Verdict::kReadError;
  } else {
    report.set_unread(error.message);
  }
}

}  // namespace

bool is_of_medium(int sys_errno) {
  return sys_errno == EIO || sys_errno == EBADMSG || sys_errno == EUCLEAN;
}

void become_idle() {
  const auto self = static_cast<pid_t>(::syscall(SYS_gettid));
  ::syscall(SYS_ioprio_set, kIoprioWhoProcess, self, kIoprioIdle);
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(self), 19);
}

bool RateLimit::take(uint64_t bytes) {
  std::unique_lock lock(mutex_);
  if (stopped_ || rate_ == 0) return !stopped_;
  const int64_t now = monotonic_ns();
  free_at_ns_ = std::max(free_at_ns_, now - kBurstNs);
  free_at_ns_ +=
      static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(rate_));
  const int64_t wait_ns = free_at_ns_ - now;
  if (wait_ns > 0) {
    stopped_changed_.wait_for(lock, std::chrono::nanoseconds(wait_ns), [&] { return stopped_; });
  }
  return !stopped_;
}

void RateLimit::stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  stopped_changed_.notify_all();
}

void DiskReader::Free::operator()(char* bytes) const { std::free(bytes); }

DiskReader::DiskReader(RateLimit& rate, const std::atomic<bool>& cancelled)
    : buffer_(static_cast<char*>(std::aligned_alloc(kAlignment, kReadBytes))),
      rate_(rate),
      cancelled_(cancelled) {
  CHECK(buffer_ != nullptr);
}

Result<ContentHash> DiskReader::read_all(int fd, uint64_t size, bool sparse) {
  ContentHasher hasher;
  const size_t read_bytes = rate_.is_limited() ? kLimitedReadBytes : kReadBytes;
  uint64_t at = 0, hole_end = 0;
  for (;;) {
    if (sparse && at >= hole_end && at < size) {
      const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
      const uint64_t end = data < 0 && errno == ENXIO ? size : static_cast<uint64_t>(data);
      if (data >= 0 || errno == ENXIO) {
        // Holes end where blocks do, so that what follows is aligned.
        if (end > at) hasher.update_zeros(std::min(end, size) - at);
        at = std::max(at, std::min(end, size));
        const off_t hole = at < size ? ::lseek(fd, static_cast<off_t>(at), SEEK_HOLE) : -1;
        hole_end = hole < 0 ? size : static_cast<uint64_t>(hole);
      }
    }
    // No more than there is: a direct read clears all of the buffer that lies behind the end.
    uint64_t want = at < size ? std::min<uint64_t>(size - at, read_bytes) : read_bytes;
    if (sparse && hole_end > at) want = std::min(want, hole_end - at);
    const size_t aligned = (want + kAlignment - 1) / kAlignment * kAlignment;
    if (cancelled_ || !rate_.take(std::min<uint64_t>(aligned, size > at ? size - at : 0))) {
      return make_error(ErrorCode::kInterrupted, "interrupted");
    }
    const ssize_t got = ::pread(fd, buffer_.get(), aligned, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "reading at byte " + std::to_string(at));
    if (got == 0) return hasher.finish();
    hasher.update({buffer_.get(), static_cast<size_t>(got)});
    at += static_cast<uint64_t>(got);
    // The end, where another O_DIRECT read would not be aligned. Anywhere else it was cut short.
    if (at >= size && static_cast<size_t>(got) % kAlignment != 0) return hasher.finish();
  }
}

Result<DiskReader::OpenFile> DiskReader::open_file(int dir_fd, const std::string& name) {
  auto fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOATIME | O_DIRECT);
  if (!fd.ok() && fd.error().sys_errno == EPERM) {
    fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK | O_DIRECT);
  }
  OpenFile file;
  file.flagged = fd.ok();
  if (!file.flagged && !refuses_direct(fd.error())) return fd.error();
  if (!file.flagged) fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return fd.error();
  file.fd = std::move(*fd);
  if (file.flagged) {
    const DirectReads answer = direct_reads_of(file.fd.get());
    file.direct = answer == DirectReads::kYes ||
                  (answer == DirectReads::kUnknown && !buffers_silently(file.fd.get()));
  }
  return file;
}

Result<ContentHash> DiskReader::hash_file(OpenFile& file, bool drop_cache) {
  const int fd = file.fd.get();
  TRY_ASSIGN(const StatxResult st, statx_fd(fd));
  const bool sparse = st.blocks * 512 < st.size;
  if (drop_cache || !file.direct) ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  auto hash = read_all(fd, st.size, sparse);
  if (file.flagged && !hash.ok() && refuses_direct(hash.error())) {
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
    file.direct = file.flagged = false;
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    hash = read_all(fd, st.size, sparse);
  }
  if (!file.direct) ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  return hash;
}

Result<ContentHash> DiskReader::hash(int dir_fd, const std::string& name, bool drop_cache) {
  TRY_ASSIGN(OpenFile file, open_file(dir_fd, name));
  return hash_file(file, drop_cache);
}

// Nothing of a symlink's target goes through a descriptor that could go around the page cache; it
// is read twice, and where stamps are not worth enough another target is no alarm.
FileReport DiskReader::compare_link(int dir_fd, const std::string& name, const Record& version,
                                    const FsTraits& fs, FileReport report) {
  const auto target = read_link(dir_fd, name);
  const auto again = target.ok() ? read_link(dir_fd, name) : target;
  if (!again.ok()) {
    if (again.error().sys_errno == EINVAL) {
      report.moved = true;  // no link any more
    } else {
      take_error(again.error(), report);
    }
    return report;
  }
  report.now.link_target = *again;
  if (report.moved || (*target == version.link_target && *again == *target)) return report;
  const auto after = statx_name(dir_fd, name);
  if (!after.ok() || to_file_stat(*after) != report.now.stat) {
    report.moved = true;
    return report;
  }
  Evidence evidence = evidence_of(version, report.now);
  evidence.same_content = false;
  evidence.told = Told::kUnseen;
  evidence.clean_baseline = evidence.clean_baseline && fs.stamps_trusted;
  if (*again != *target) evidence.reading = Reading::kDisagrees;
  report.verdict = classify(evidence);
  report.note = "it leads to " + *again;
  return report;
}

FileReport DiskReader::verify(int dir_fd, const std::string& name, const Record& version,
                              const FsTraits& fs) {
  FileReport report;
  report.now = version;
  auto before = statx_name(dir_fd, name);
  if (!before.ok()) {
    take_error(before.error(), report);
    return report;
  }
  report.now.type = file_type_of_mode(before->mode);
  report.now.stat = to_file_stat(*before);
  FileStat expected = version.stat;
  // A directory's own stamps move with its entries, which are looked at one by one.
  if (version.type == FileType::kDir && report.now.type == FileType::kDir) return report;
  if (!fs.stable_inodes) {
    expected.inode = report.now.stat.inode;
    expected.btime_ns = report.now.stat.btime_ns;
  }
  const bool live = (version.flags & kFlagLive) != 0;
  if (live) expected.size = report.now.stat.size;  // was the content's
  report.moved = report.now.type != version.type || expected != report.now.stat;
  if (report.moved && report.now.stat.inode != version.stat.inode) {
    const auto dir = statx_fd(dir_fd);
    if (dir.ok() && dir->mount_id != before->mount_id) {
      report.moved = false;
      report.set_unread("something is mounted over it");
      return report;
    }
  }
  if (version.type == FileType::kSymlink && report.now.type == FileType::kSymlink) {
    return compare_link(dir_fd, name, version, fs, std::move(report));
  }
  if (report.moved || version.type != FileType::kFile) return report;
  if (live) return compare_live(dir_fd, name, version, fs, std::move(report));
  auto file = open_file(dir_fd, name);
  auto hash = file.ok() ? hash_file(*file, false) : Result<ContentHash>(file.error());
  if (!hash.ok()) {
    take_error(hash.error(), report);
    return report;
  }
  report.bytes = before->size;
  report.now.hash = *hash;
  auto after = statx_name(dir_fd, name);
  if (!after.ok() || !same_stamps(*before, *after) || after->inode != before->inode) {
    report.moved = true;  // an ordinary change, which is being told right now
    return report;
  }
  if (*hash != version.hash) {
    confirm(*file, version, fs, is_sqlite_database(dir_fd, name), report);
  }
  return report;
}

// Of a database whose version was taken from its log too, what it shows is compared. Where that is
// not the same, its log may have grown, which the file's stamps do not tell: the engine looks.
FileReport DiskReader::compare_live(int dir_fd, const std::string& name, const Record& version,
                                    const FsTraits& fs, FileReport report) {
  const auto fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK);
  const auto hash = fd.ok() ? hash_of_sqlite_view(dir_fd, name, fd->get(), fs, true)
                            : Result<std::optional<ContentHash>>(fd.error());
  if (!hash.ok()) {
    take_error(hash.error(), report);
    return report;
  }
  report.now.stat.size = version.stat.size;
  report.bytes = version.stat.size;
  report.moved = !*hash || **hash != version.hash;
  return report;
}

Result<ContentHash> DiskReader::hash_shown(int dir_fd, const std::string& name,
                                           const FsTraits& fs) {
  if (is_sqlite_database(dir_fd, name)) {
    TRY_ASSIGN(const Fd fd, open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK));
    TRY_ASSIGN(const auto shown, hash_of_sqlite_view(dir_fd, name, fd.get(), fs, true));
    if (shown) return *shown;
  }
  return hash(dir_fd, name, false);
}

// Nothing moved and the content is another one: is it a writer, the reading, or the disk? All
// readings go through one descriptor, so that they are of one file whatever becomes of its name.
// A program that has a database open does not write through a mapping, and else moves a stamp.
void DiskReader::confirm(OpenFile& file, const Record& version, const FsTraits& fs, bool database,
                         FileReport& report) {
  const int fd = file.fd.get();
  Evidence evidence = evidence_of(version, report.now);
  evidence.same_content = false;
  evidence.told = Told::kUnseen;
  evidence.clean_baseline = evidence.clean_baseline && fs.stamps_trusted;
  const auto unsettled = [&] {
    const bool writer = !database && ask_for_writers(fd) == Writers::kSome;
    const auto now = statx_fd(fd);
    const bool changed = !now.ok() || to_file_stat(*now) != report.now.stat;
    if (!writer && !changed) return false;
    evidence.reading = Reading::kUnsettled;
    report.note = writer ? "a program has it open for writing" : "it changed while it was read";
    return true;
  };
  if (!unsettled()) {
    const auto first = hash_file(file, true);
    const auto second = first.ok() ? hash_file(file, true) : first;
    report.bytes += 2 * report.now.stat.size;
    if (!second.ok() && !is_of_medium(second.error().sys_errno)) {
      // It went while it was read, or the reading was refused for a reason of its own.
      take_error(second.error(), report);
      return;
    }
    if (!second.ok()) {
      evidence.reading = Reading::kFailed;
      report.note = second.error().message;
    } else if (!unsettled() && (*first != *second || *first != report.now.hash)) {
      evidence.reading = Reading::kDisagrees;
      report.note = "readings in a row gave " + to_hex(report.now.hash.bytes.data(), 16) + ", " +
                    to_hex(first->bytes.data(), 16) + " and " + to_hex(second->bytes.data(), 16);
    }
  }
  report.verdict = classify(evidence);
}

}  // namespace holdfast
