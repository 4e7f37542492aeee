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

}  // namespace

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
    const uint64_t want =
        sparse && hole_end > at ? std::min<uint64_t>(hole_end - at, read_bytes) : read_bytes;
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
    if (static_cast<size_t>(got) % kAlignment != 0) return hasher.finish();  // the end
  }
}

Result<ContentHash> DiskReader::hash(int dir_fd, const std::string& name, bool drop_cache) {
  auto fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK | O_NOATIME | O_DIRECT);
  if (!fd.ok() && fd.error().sys_errno == EPERM) {
    fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK | O_DIRECT);
  }
  const bool direct = fd.ok();
  if (!direct && !refuses_direct(fd.error())) return fd.error();
  if (!direct) fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) return fd.error();
  TRY_ASSIGN(const StatxResult st, statx_fd(fd->get()));
  const bool sparse = st.blocks * 512 < st.size;
  // Some file systems take O_DIRECT and read through the cache nevertheless.
  if (drop_cache || !direct) ::posix_fadvise(fd->get(), 0, 0, POSIX_FADV_DONTNEED);
  auto hash = read_all(fd->get(), st.size, sparse);
  if (direct && !hash.ok() && refuses_direct(hash.error())) {
    ::fcntl(fd->get(), F_SETFL, O_NONBLOCK);
    hash = read_all(fd->get(), st.size, sparse);
  }
  if (!direct) ::posix_fadvise(fd->get(), 0, 0, POSIX_FADV_DONTNEED);
  return hash;
}

FileReport DiskReader::compare_special(int dir_fd, const std::string& name, const Record& version,
                                       FileReport report) {
  if (version.type != FileType::kSymlink || report.moved) return report;
  auto target = read_link(dir_fd, name);
  if (!target.ok() || *target == version.link_target) return report;
  report.now.link_target = *target;
  report.verdict = Verdict::kCorrupt;
  report.note = "it leads to " + *target;
  return report;
}

FileReport DiskReader::verify(int dir_fd, const std::string& name, const Record& version,
                              const FsTraits& fs, bool on_disk) {
  FileReport report;
  auto before = statx_name(dir_fd, name);
  if (!before.ok()) {
    report.missing = before.error().code == ErrorCode::kNotFound;
    report.moved = report.missing;
    if (!report.missing) report.verdict = Verdict::kReadError;
    report.note = before.error().message;
    return report;
  }
  report.now = version;
  report.now.type = file_type_of_mode(before->mode);
  report.now.stat = to_file_stat(*before);
  const bool file = report.now.type == FileType::kFile && version.type == FileType::kFile;
  FileStat expected = version.stat;
  // A directory's own stamps move with its entries, which are looked at one by one.
  if (version.type == FileType::kDir && report.now.type == FileType::kDir) return report;
  if (!fs.stable_inodes) {
    expected.inode = report.now.stat.inode;
    expected.btime_ns = report.now.stat.btime_ns;
  }
  report.moved = report.now.type != version.type || expected != report.now.stat;
  if (!file) return compare_special(dir_fd, name, version, std::move(report));
  if (report.moved) return report;
  if (!on_disk) return report;
  auto hash = this->hash(dir_fd, name, false);
  report.bytes = before->size;
  if (!hash.ok()) {
    const bool medium = hash.error().sys_errno == EIO || hash.error().sys_errno == EBADMSG;
    report.verdict = medium ? Verdict::kReadError : Verdict::kNone;
    if (hash.error().code == ErrorCode::kNotFound) report.moved = report.missing = true;
    report.note = hash.error().message;
    return report;
  }
  report.now.hash = *hash;
  auto after = statx_name(dir_fd, name);
  if (!after.ok() || !same_stamps(*before, *after) || after->inode != before->inode) {
    report.moved = true;  // an ordinary change, which is being told right now
    return report;
  }
  if (*hash != version.hash) confirm(dir_fd, name, version, fs, report);
  return report;
}

// Nothing moved and the content is another one: is it a writer, the reading, or the disk?
void DiskReader::confirm(int dir_fd, const std::string& name, const Record& version,
                         const FsTraits& fs, FileReport& report) {
  auto fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK);
  if (!fd.ok()) {
    report.moved = true;
    return;
  }
  Evidence evidence = evidence_of(version, report.now);
  evidence.same_content = false;
  evidence.told = Told::kUnseen;
  evidence.clean_baseline = evidence.clean_baseline && fs.stamps_trusted;
  const auto first = hash(dir_fd, name, true);
  const auto second = hash(dir_fd, name, true);
  const auto after = statx_fd(fd->get());
  const bool writer = ask_for_writers(fd->get()) == Writers::kSome;
  FileStat stat = after.ok() ? to_file_stat(*after) : FileStat{};
  report.bytes += 2 * report.now.stat.size;
  if (!first.ok() || !second.ok()) {
    const Error& error = first.ok() ? second.error() : first.error();
    if (error.code == ErrorCode::kInterrupted) {
      report.verdict = Verdict::kNone;
      report.note = error.message;
      return;
    }
    evidence.reading = Reading::kFailed;
    report.note = error.message;
  } else if (writer || stat != report.now.stat) {
    evidence.reading = Reading::kUnsettled;
    report.note = writer ? "a program has it open for writing" : "it changed while it was read";
  } else if (*first != *second || *first != report.now.hash) {
    evidence.reading = Reading::kDisagrees;
    report.note = "readings in a row gave " + to_hex(report.now.hash.bytes.data(), 16) + ", " +
                  to_hex(first->bytes.data(), 16) + " and " + to_hex(second->bytes.data(), 16);
  }
  report.verdict = classify(evidence);
}

}  // namespace holdfast
