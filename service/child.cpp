#include "service/child.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"

namespace holdfast {

namespace {
constexpr int64_t kGraceNs = 5'000'000'000;  // between SIGTERM and SIGKILL
constexpr int64_t kAskNs = 200'000'000;

ChildEnd end_of(int status) {
  ChildEnd end;
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  if (WIFEXITED(status)) end.exit_status = WEXITSTATUS(status);
  return end;
}
}  // namespace

std::string ChildEnd::words() const {
  if (signal == 0) return "exit status " + std::to_string(exit_status);
  const char* name = ::strsignal(signal);
  return "signal " + std::to_string(signal) +
         (name != nullptr ? std::string(" (") + name + ")" : "");
}

Result<Child> Child::start(const std::vector<std::string>& args, const ChildPipes& pipes,
                           const Environment& added) {
  return start_in(0, args, pipes, added);
}

Result<Child> Child::start_guarded(const std::vector<std::string>& args, const ChildPipes& pipes,
                                   int held) {
  auto guard = ChildGuard::start(held);
  if (!guard.ok()) return guard.error().in("guarding " + args[0]);
  TRY_ASSIGN(Child child, start_in(guard->group(), args, pipes, {}));
  child.group_ = guard->group();
  child.guard_.emplace(std::move(*guard));
  return child;
}

Result<Child> Child::start_in(pid_t group, const std::vector<std::string>& args,
                              const ChildPipes& pipes, const Environment& added) {
  Spawn spawn;
  spawn.read_from(pipes.in);
  spawn.write_to(pipes.out, pipes.err);
  spawn.into_group(group);
  TRY_ASSIGN(const pid_t pid, spawn.run(args[0], args, added));
  return Child(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      group_(other.group_),
      pid_fd_(std::move(other.pid_fd_)),
      end_(other.end_),
      guard_(std::move(other.guard_)) {}

Child::~Child() {
  if (pid_ < 0 || end_) return;
  ::kill(-group_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

std::optional<ChildEnd> Child::try_wait() {
  if (end_) return end_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == pid_) end_ = end_of(status);
  return end_;
}

bool Child::ended_within(int64_t timeout_ns) const {
  pollfd ended{pid_fd_.get(), POLLIN, 0};
  const int64_t ms = std::max<int64_t>(0, timeout_ns / kMillisecondNs);
  return ::poll(&ended, 1, static_cast<int>(std::min<int64_t>(ms, INT32_MAX))) > 0;
}

ChildEnd Child::wait(int64_t timeout_ns, const std::function<bool()>& stop, bool& stopped) {
  stopped = false;
  for (int64_t left_ns = timeout_ns;; left_ns -= kAskNs) {
    if (auto end = try_wait()) return *end;
    stopped = left_ns <= 0 || stop();
    if (stopped) return end_group();
    (void)ended_within(std::min(left_ns, kAskNs));
  }
}

ChildEnd Child::end_group() {
  if (auto end = try_wait()) return *end;
  ::kill(-group_, SIGTERM);
  if (!ended_within(kGraceNs)) ::kill(-group_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  ::kill(-group_, SIGKILL);  // what it started and left behind
  end_ = end_of(status);
  return *end_;
}

}  // namespace holdfast
