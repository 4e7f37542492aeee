#include "service/child_guard.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "service/spawn.h"

namespace holdfast {

namespace {
constexpr int kGraceMs = 5'000;  // between SIGTERM and SIGKILL
}

Result<ChildGuard> ChildGuard::start() {
  TRY_ASSIGN(Pipe tie, make_pipe());
  Spawn spawn;
  spawn.read_from(tie.read_end.get());
  spawn.discard_output();  // nobody shall wait for the end of ours
  spawn.block_signals();   // the group's are not for it
  spawn.into_group(0);
  TRY_ASSIGN(const pid_t pid, spawn.run("/proc/self/exe", {"holdfast", kGuardCommand}, {}));
  return ChildGuard(pid, std::move(tie.write_end));
}

ChildGuard::ChildGuard(ChildGuard&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), tie_(std::move(other.tie_)) {}

ChildGuard::~ChildGuard() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void run_child_guard() {
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) {
  }
  ::kill(0, SIGTERM);
  ::poll(nullptr, 0, kGraceMs);
  ::kill(0, SIGKILL);
  ::_exit(1);
}

}  // namespace holdfast
