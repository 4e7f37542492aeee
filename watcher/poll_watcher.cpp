#include "watcher/poll_watcher.h"

#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

namespace holdfast {

namespace {
timespec to_timespec(int64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}
}  // namespace

Result<std::unique_ptr<PollWatcher>> PollWatcher::create(int64_t interval_ns) {
  // Of boot time, so that what changed while the machine slept is found when it wakes.
  Fd fd(::timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!fd) return errno_error(errno, "making a timer to poll by");
  std::unique_ptr<PollWatcher> watcher(new PollWatcher(std::move(fd), interval_ns));
  if (!watcher->set_timer(interval_ns)) return errno_error(errno, "setting a timer to poll by");
  return watcher;
}

bool PollWatcher::set_timer(int64_t first_ns) {
  itimerspec timer{};
  timer.it_value = to_timespec(first_ns);
  timer.it_interval = to_timespec(interval_ns_);
  return ::timerfd_settime(fd_.get(), 0, &timer, nullptr) == 0;
}

Status PollWatcher::add_dir(NodeId, int dir_fd) {
  struct stat st {};
  const std::string doing = "polling a directory";
  if (::fstat(dir_fd, &st) != 0) return errno_error(errno, doing);
  if (!S_ISDIR(st.st_mode)) return errno_error(ENOTDIR, doing);
  return {};
}

void PollWatcher::ask() {
  asked_ = true;
  set_timer(1);
}

Status PollWatcher::drain(const std::function<void(const Hint&)>& sink) {
  uint64_t fired = 0;
  const ssize_t size = ::read(fd_.get(), &fired, sizeof fired);
  if (size < 0 && errno != EAGAIN && errno != EINTR) return errno_error(errno, "reading a timer");
  if (!asked_ && size <= 0) return {};
  if (asked_) {
    asked_ = false;
    if (!set_timer(interval_ns_)) return errno_error(errno, "setting a timer to poll by");
  }
  Hint hint;
  hint.kind = HintKind::kSweep;
  sink(hint);
  return {};
}

}  // namespace holdfast
