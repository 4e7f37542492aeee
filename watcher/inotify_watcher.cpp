#include "watcher/inotify_watcher.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <string>

namespace holdfast {

namespace {

constexpr size_t kReadBytes = 256 * 1024;  // about 8,000 events with short names in one system call
constexpr uint64_t kQueueEventsDefault = 16384;
// IN_EXCL_UNLINK is left out on purpose. With it, writes through a descriptor that was opened
// before link + unlink, or with O_TMPFILE before linkat, leave no event at all (seen on Linux 6.18,
// ext4 and tmpfs); without it the directory and the old name are told: at least a place to look.
constexpr uint32_t kWatchMask = IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB |
                                IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
                                IN_ONLYDIR;

// The present value of fs.inotify.<name>, or 0 where /proc does not say.
uint64_t read_limit(const std::string& name) {
  const Fd fd(::open(("/proc/sys/fs/inotify/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  char text[32];
  const ssize_t size = fd ? ::read(fd.get(), text, sizeof text) : -1;
  uint64_t value = 0;
  if (size > 0) std::from_chars(text, text + size, value);
  return value;
}

Error limit_error(int sys_errno, const std::string& doing, const std::string& name,
                  uint64_t least_advice) {
  const uint64_t now = read_limit(name);
  const uint64_t advice = now * 2 > least_advice ? now * 2 : least_advice;
  Error error = errno_error(sys_errno, doing);
  error.message += ": the limit fs.inotify." + name + " (now " +
                   (now == 0 ? std::string("unknown") : std::to_string(now)) +
                   ", shared by all programs of this user) is reached; raise it with: sysctl -w "
                   "fs.inotify." +
                   name + "=" + std::to_string(advice);
  return error;
}

Error create_error(int sys_errno) {
  const std::string doing = "starting inotify";
  // EMFILE stands for both limits; the per-process one is the rarer and `ulimit` shows it.
  if (sys_errno == EMFILE) {
    Error error = limit_error(sys_errno, doing, "max_user_instances", 1024);
    error.message += " (or, if this process has too many files open, raise: ulimit -n)";
    return error;
  }
  return errno_error(sys_errno, doing);
}

Error add_error(int sys_errno) {
  const std::string doing = "watching a directory with inotify";
  switch (sys_errno) {
    case ENOSPC: return limit_error(sys_errno, doing, "max_user_watches", 524288);
    case ENOENT:
      return {ErrorCode::kUnsupported, sys_errno,
              doing + ": /proc/self/fd is missing; mount proc on /proc"};
    case EACCES:
      return {ErrorCode::kPermission, sys_errno,
              doing + ": Permission denied; the service's user needs read permission on it"};
    default: return errno_error(sys_errno, doing);
  }
}

uint8_t what_of(uint32_t mask) {
  unsigned what = 0;
  if (mask & (IN_CREATE | IN_MOVED_TO)) what |= kWhatCreated;
  if (mask & (IN_DELETE | IN_MOVED_FROM)) what |= kWhatRemoved;
  if (mask & IN_MODIFY) what |= kWhatModified;
  if (mask & IN_CLOSE_WRITE) what |= kWhatClosed;
  if (mask & IN_ATTRIB) what |= kWhatAttributes;
  if (mask & (IN_MOVED_FROM | IN_MOVED_TO)) what |= kWhatMoved;
  return static_cast<uint8_t>(what);
}

Hint dir_gone(NodeId dir, bool unwatched) {
  Hint hint;
  hint.kind = HintKind::kDirGone;
  hint.dir = dir;
  hint.is_dir = true;
  hint.unwatched = unwatched;
  return hint;
}

}  // namespace

InotifyWatcher::InotifyWatcher(Fd fd, uint64_t queue_events_max)
    : fd_(std::move(fd)), queue_events_max_(queue_events_max), buffer_(kReadBytes) {}

Result<std::unique_ptr<InotifyWatcher>> InotifyWatcher::create() {
  Fd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) return create_error(errno);
  // The kernel fixes an instance's queue length when it is made, so it is read once.
  const uint64_t limit = read_limit("max_queued_events");
  return std::unique_ptr<InotifyWatcher>(
      new InotifyWatcher(std::move(fd), limit == 0 ? kQueueEventsDefault : limit));
}

Status InotifyWatcher::add_dir(NodeId dir, int dir_fd) {
  // The descriptor's own link in /proc names the inode that the caller has open; a path could have
  // been swapped for a symlink in between.
  const std::string path = "/proc/self/fd/" + std::to_string(dir_fd);
  const int wd = ::inotify_add_watch(fd_.get(), path.c_str(), kWatchMask);
  if (wd < 0) return add_error(errno);
  if (watches_.dir_of(wd) == dir) return {};
  if (const auto old_wd = watches_.wd_of(dir)) {  // the id now stands for another inode
    ::inotify_rm_watch(fd_.get(), *old_wd);
    unwatch(*old_wd);
  }
  watches_.erase(wd);  // the same inode under an earlier id
  watches_.insert(wd, dir);
  return {};
}

void InotifyWatcher::remove_dir(NodeId dir) {
  const auto wd = watches_.wd_of(dir);
  if (!wd) return;
  // EINVAL means that the kernel dropped it already and its IN_IGNORED is on the way, or was lost.
  ::inotify_rm_watch(fd_.get(), *wd);
  unwatch(*wd);
}

void InotifyWatcher::unwatch(int32_t wd) {
  watches_.erase(wd);
  retired_.insert(wd);
}

Status InotifyWatcher::drain(const Sink& sink) {
  CHECK(!draining_);  // the names of the outer drain() would be overwritten
  draining_ = true;
  Status status;
  uint64_t delivered = 0;
  while (delivered <= queue_events_max_) {
    const Result<bool> more = read_once(sink, delivered);
    if (!more.ok()) {
      status = more.error();
      break;
    }
    if (!*more) break;
  }
  draining_ = false;
  return status;
}

Result<bool> InotifyWatcher::read_once(const Sink& sink, uint64_t& delivered) {
  ssize_t size = 0;
  do {
    size = ::read(fd_.get(), buffer_.data(), buffer_.size());
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) {
    retired_.clear();  // the queue was empty: nothing is left that could be misread
    return false;
  }
  if (size <= 0) return errno_error(size < 0 ? errno : EIO, "reading inotify events");
  InotifyDecoder decoder(std::string_view(buffer_.data(), static_cast<size_t>(size)));
  while (const auto event = decoder.next()) {
    ++delivered;
    deliver(*event, sink);
  }
  if (!decoder.damaged()) return true;
  sink(overflow_hint());
  return make_error(ErrorCode::kDamaged,
                    "reading inotify events: the kernel's bytes make no sense; events were lost");
}

void InotifyWatcher::deliver(const InotifyEvent& event, const Sink& sink) {
  if (event.mask & IN_Q_OVERFLOW) {
    retired_.clear();  // the IN_IGNORED of a removed watch may be among the lost events
    sink(overflow_hint());
    return;
  }
  if (retired_.contains(event.wd)) {
    if (event.mask & IN_IGNORED) retired_.erase(event.wd);
    return;
  }
  const auto dir = watches_.dir_of(event.wd);
  if (!dir) return;
  if (event.mask & (IN_DELETE_SELF | IN_UNMOUNT)) {
    unwatch(event.wd);  // its IN_IGNORED follows
    sink(dir_gone(*dir, true));
  } else if (event.mask & IN_IGNORED) {  // the kernel dropped the watch and the reason was lost
    watches_.erase(event.wd);
    sink(dir_gone(*dir, true));
  } else if (event.mask & IN_MOVE_SELF) {
    sink(dir_gone(*dir, false));
  } else if (const uint8_t what = what_of(event.mask); what != 0) {
    Hint hint;
    hint.kind = event.name.empty() ? HintKind::kSelf : HintKind::kEntry;
    hint.dir = *dir;
    hint.name = event.name;
    hint.what = what;
    hint.is_dir = (event.mask & IN_ISDIR) != 0;
    hint.cookie = event.cookie;
    sink(hint);
  }
}

size_t InotifyWatcher::memory_bytes() const {
  constexpr size_t kSetNodeBytes = 32;  // libstdc++'s node of a set of ints, with malloc's rounding
  return watches_.memory_bytes() + retired_.size() * kSetNodeBytes;
}

}  // namespace holdfast
