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

Result<ChildGuard> ChildGuard::start(int held) {
  TRY_ASSIGN(Pipe tie, make_pipe());
  Spawn spawn;
  spawn.read_from(tie.read_end.get());
  spawn.discard_output();  // nobody shall wait for the end of ours
  if (held >= 0) spawn.write_to(held, -1);
  spawn.block_signals();  // the group's are not for it
  spawn.into_group(0);
  TRY_ASSIGN(const pid_t pid, spawn.run("/proc/self/exe", {"holdfast", kGuardCommand}, {}));
  return ChildGuard(pid, std::move(tie.write_end));
}

ChildGuard::ChildGuard(ChildGuard&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), tie_(std::move(other.tie_)) {}

void ChildGuard::let_go() {
  while (::write(tie_.get(), "", 1) < 0 && errno == EINTR) {
  }
}

ChildGuard::~ChildGuard() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void run_child_guard() {
  for (;;) {
    char byte = 0;
    const ssize_t got = ::read(STDIN_FILENO, &byte, 1);
    if (got > 0) ::close(STDOUT_FILENO);  // let_go()
    if (got == 0 || (got < 0 && errno != EINTR)) break;
  }
  ::kill(0, SIGTERM);
  ::poll(nullptr, 0, kGraceMs);
  ::kill(0, SIGKILL);
  ::_exit(1);
}

}  // namespace holdfast
