#include "watcher/fanotify_watcher.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/fs.h"

namespace holdfast {

namespace {

constexpr size_t kBufferBytes = 256 * 1024;
constexpr unsigned kInitFlags = FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME_TARGET |
                                FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS | FAN_NONBLOCK |
                                FAN_CLOEXEC;
constexpr uint64_t kMarkMask =
    FAN_CREATE | FAN_DELETE | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_RENAME | FAN_ONDIR;
// Of the root alone: on the whole file system these would double every deletion and rename.
constexpr uint64_t kRootMask = FAN_DELETE_SELF | FAN_MOVE_SELF | FAN_ONDIR;
constexpr const char* kCapabilities =
    "it needs the capabilities CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH in the machine's own user "
    "namespace: run as root, or in a systemd unit say AmbientCapabilities=CAP_SYS_ADMIN "
    "CAP_DAC_READ_SEARCH, or for a container cap_add: [SYS_ADMIN, DAC_READ_SEARCH]";

// What an event of the queue counts for in FIONREAD, however long it really is (the kernel's
// fanotify_ioctl(): FAN_EVENT_METADATA_LEN).
constexpr uint64_t kQueuedEventBytes = 24;
constexpr unsigned kNoMemoryWaitMaxUs = 10'000;

Error unsupported(int sys_errno, const std::string& message) {
  return {ErrorCode::kUnsupported, sys_errno, message};
}

Error init_error(int sys_errno) {
  const std::string doing = "starting fanotify";
  switch (sys_errno) {
    case EPERM: return {ErrorCode::kPermission, EPERM, doing + ": not permitted; " + kCapabilities};
    case EINVAL:
    case ENOSYS:
      return unsupported(sys_errno, doing +
                                        ": this kernel cannot report renames by file handle; "
                                        "that takes Linux 5.17 with CONFIG_FANOTIFY");
    case EMFILE: {
      Error error = errno_error(sys_errno, doing);
      error.message +=
          ": the limit fs.fanotify.max_user_groups is reached; raise it with: sysctl -w "
          "fs.fanotify.max_user_groups=1024";
      return error;
    }
    default: return errno_error(sys_errno, doing);
  }
}

Error mark_error(int sys_errno) {
  const std::string doing = "marking the file system for fanotify";
  switch (sys_errno) {
    case EPERM: return {ErrorCode::kPermission, EPERM, doing + ": not permitted; " + kCapabilities};
    case EXDEV:
      return unsupported(EXDEV, doing +
                                    ": a btrfs subvolume cannot be marked, only the file system's "
                                    "top can; watch that, or let inotify watch the subvolume");
    case ENODEV:
    case EOPNOTSUPP:
      return unsupported(sys_errno, doing + ": this file system has no file handles to tell of (" +
                                        std::strerror(sys_errno) + ")");
    default: return errno_error(sys_errno, doing);
  }
}

Error handle_error(int sys_errno) {
  const std::string doing = "opening a directory by its handle";
  if (sys_errno == EPERM) {
    return {ErrorCode::kPermission, EPERM, doing + ": not permitted; " + kCapabilities};
  }
  return unsupported(sys_errno,
                     doing + ": this file system cannot (" + std::strerror(sys_errno) + ")");
}

// `handle` as file_handle_of() gives it. While a directory is being removed, Linux (seen with ext4
// on 6.18) answers ENOMEM for a moment, and then ESTALE: a lack of memory is believed when it
// lasts.
Fd open_handle(int root_fd, std::string_view handle) {
  alignas(file_handle) char space[sizeof(file_handle) + MAX_HANDLE_SZ];
  auto* kernel_handle = reinterpret_cast<file_handle*>(space);
  const size_t bytes = handle.size() - sizeof(int);
  CHECK(handle.size() > sizeof(int) && bytes <= MAX_HANDLE_SZ);
  kernel_handle->handle_bytes = static_cast<unsigned>(bytes);
  std::memcpy(&kernel_handle->handle_type, handle.data(), sizeof(int));
  std::memcpy(kernel_handle->f_handle, handle.data() + sizeof(int), bytes);
  for (unsigned wait_us = 20;; wait_us *= 2) {
    Fd fd(::open_by_handle_at(root_fd, kernel_handle, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (fd || errno != ENOMEM || wait_us > kNoMemoryWaitMaxUs) return fd;
    ::usleep(wait_us);
  }
}

uint8_t what_of(uint64_t mask) {
  unsigned what = 0;
  if (mask & FAN_CREATE) what |= kWhatCreated;
  if (mask & FAN_DELETE) what |= kWhatRemoved;
  if (mask & FAN_MODIFY) what |= kWhatModified;
  if (mask & FAN_CLOSE_WRITE) what |= kWhatClosed;
  if (mask & FAN_ATTRIB) what |= kWhatAttributes;
  return static_cast<uint8_t>(what);
}

}  // namespace

FanotifyWatcher::FanotifyWatcher(Fd fd, Fd root_fd, Resolver resolver, size_t handles_max)
    : fd_(std::move(fd)),
      root_fd_(std::move(root_fd)),
      resolver_(std::move(resolver)),
      handles_(handles_max),
      ignored_(fd_.get()),
      buffer_(kBufferBytes) {}

Result<std::unique_ptr<FanotifyWatcher>> FanotifyWatcher::create(int root_fd, Resolver resolver,
                                                                 size_t handles_max) {
  Fd fd(::fanotify_init(kInitFlags, O_RDONLY | O_CLOEXEC));
  if (!fd) return init_error(errno);
  // Of its own, because neither a mark nor a handle goes by an O_PATH descriptor.
  Fd root(::openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return errno_error(errno, "opening the directory for fanotify");
  if (::fanotify_mark(fd.get(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, kMarkMask, root.get(),
                      nullptr) != 0) {
    return mark_error(errno);
  }
  const std::string handle = file_handle_of(root.get());
  if (handle.empty()) return handle_error(errno);
  if (const Fd opened = open_handle(root.get(), handle); !opened) return handle_error(errno);
  std::unique_ptr<FanotifyWatcher> watcher(
      new FanotifyWatcher(std::move(fd), std::move(root), std::move(resolver), handles_max));
  TRY(watcher->mark_root());
  return watcher;
}

Status FanotifyWatcher::mark_root() {
  if (::fanotify_mark(fd_.get(), FAN_MARK_ADD | FAN_MARK_INODE, kRootMask, root_fd_.get(),
                      nullptr) != 0) {
    return mark_error(errno);
  }
  return {};
}

Status FanotifyWatcher::add_dir(NodeId dir, int dir_fd) {
  struct stat st {};
  const std::string doing = "watching a directory with fanotify";
  if (::fstat(dir_fd, &st) != 0) return errno_error(errno, doing);
  if (!S_ISDIR(st.st_mode)) return errno_error(ENOTDIR, doing);
  const std::string handle = file_handle_of(dir_fd);
  if (handle.empty()) return errno_error(errno, doing);
  // What was told of it was told of another directory, and may not be looked at in this one.
  const HandleCache::Entry* known = handles_.find(handle);
  const bool renamed = known != nullptr && known->dir && !(*known->dir == dir);
  handles_.put(handle, dir);
  return renamed ? rearm() : Status();
}

Status FanotifyWatcher::drain(const Sink& sink) {
  CHECK(!draining_);  // the names of the outer drain() would be overwritten
  int queued_bytes = 0;
  if (::ioctl(fd_.get(), FIONREAD, &queued_bytes) != 0) {
    return errno_error(errno, "asking how many fanotify events wait");
  }
  draining_ = true;
  uint64_t left = static_cast<uint32_t>(queued_bytes) / kQueuedEventBytes;
  Status status;
  while (left > 0) {
    const Result<size_t> events = read_once(sink);
    if (!events.ok()) {
      status = events.error();
      break;
    }
    if (*events == 0) break;
    left -= std::min<uint64_t>(left, *events);
  }
  draining_ = false;
  if (std::exchange(removed_, false)) {
    if (auto dropped = ignored_.drop_removed(); !dropped.ok()) {
      TRY(mark_anew());
      return dropped;
    }
  }
  return status;
}

Status FanotifyWatcher::rearm() {
  Status cleared = ignored_.clear();
  if (cleared.ok()) return cleared;
  TRY(mark_anew());
  return cleared;
}

// All marks of single inodes go, and the root's comes again.
Status FanotifyWatcher::mark_anew() {
  static_cast<void>(ignored_.clear());
  ::fanotify_mark(fd_.get(), FAN_MARK_FLUSH, 0, AT_FDCWD, nullptr);
  return mark_root();
}

Result<size_t> FanotifyWatcher::read_once(const Sink& sink) {
  ssize_t size = 0;
  do {
    size = ::read(fd_.get(), buffer_.data(), buffer_.size());
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) return size_t{0};
  if (size <= 0) return errno_error(size < 0 ? errno : EIO, "reading fanotify events");
  FanotifyDecoder decoder(std::string_view(buffer_.data(), static_cast<size_t>(size)));
  size_t events = 0;
  while (const auto event = decoder.next()) {
    ++events;
    deliver(*event, sink);
  }
  if (!decoder.damaged()) return events;
  sink(overflow_hint());
  return make_error(ErrorCode::kDamaged,
                    "reading fanotify events: the kernel's bytes make no sense; events were lost");
}

void FanotifyWatcher::deliver(const FanotifyEvent& event, const Sink& sink) {
  if (event.mask & FAN_Q_OVERFLOW) return sink(overflow_hint());
  Hint hint;
  hint.is_dir = (event.mask & FAN_ONDIR) != 0;
  removed_ = removed_ || (event.mask & (FAN_DELETE | FAN_RENAME)) != 0;
  if (event.mask & FAN_RENAME) {
    hint.cookie = ++cookie_ != 0 ? cookie_ : ++cookie_;
    hint.what = kWhatRemoved | kWhatMoved;
    deliver_place(event.from, hint, sink);
    hint.what = kWhatCreated | kWhatMoved;
    deliver_place(event.to, hint, sink);
    return;
  }
  if (event.mask & (FAN_DELETE_SELF | FAN_MOVE_SELF)) {
    hint.kind = HintKind::kDirGone;
    return deliver_place(event.place, hint, sink);
  }
  hint.what = what_of(event.mask);
  if (hint.what == 0) return;
  deliver_place(event.place, hint, sink);
  if (hint.what == kWhatModified) ignore_more(event.place);
}

// Of what was told to the sink.
void FanotifyWatcher::ignore_more(const FanotifyPlace& place) {
  const HandleCache::Entry* dir = handles_.find(place.handle);
  if (dir == nullptr || !dir->dir || !ignored_.count(place.handle, place.name)) return;
  if (const Fd fd = open_handle(root_fd_.get(), place.handle)) {
    ignored_.add(fd.get(), std::string(place.name));
  }
}

void FanotifyWatcher::deliver_place(const FanotifyPlace& place, Hint hint, const Sink& sink) {
  if (!place.told()) return;  // of a file whose directory the kernel does not know
  const auto dir = dir_of(place.handle);
  if (!dir.ok()) return sink(overflow_hint());
  if (!*dir) return;
  hint.dir = **dir;
  if (hint.kind == HintKind::kEntry) {
    if (place.name == ".") {
      hint.kind = HintKind::kSelf;
    } else {
      hint.name = place.name;
    }
  }
  sink(hint);
}

Result<std::optional<NodeId>> FanotifyWatcher::dir_of(std::string_view handle) {
  if (const HandleCache::Entry* known = handles_.find(handle)) return known->dir;
  std::optional<NodeId> dir;
  if (const Fd fd = open_handle(root_fd_.get(), handle)) {
    TRY_ASSIGN(const StatxResult st, statx_fd(fd.get()));
    const auto path = [&fd] {
      auto target = read_link(AT_FDCWD, "/proc/self/fd/" + std::to_string(fd.get()));
      return target.ok() ? *target : std::string();
    };
    TRY_ASSIGN(dir, resolver_(st.inode, st.btime_ns, path));
  } else if (errno != ESTALE && errno != ENOTDIR) {
    return errno_error(errno, "opening a directory by its handle");
  }  // else it was deleted meanwhile, which its parent's event tells
  handles_.put(handle, dir);
  return dir;
}

}  // namespace holdfast
