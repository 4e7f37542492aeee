// ChildGuard: a process of our own in front of a command, so that the command does not outlive us,
// however we end. It leads the process group that the command is born into, and waits at a pipe
// whose other end only we have. When that closes, because we were killed, it tells its group to end
// (SIGTERM), and kills it five seconds later. Being in the group, it keeps the group's number from
// being given to another.
//
// Not the kernel's signal at a parent's death (PR_SET_PDEATHSIG): that reaches neither what the
// command starts nor one that becomes another user, as runuser does.
#pragma once

#include <sys/types.h>

#include "base/fd.h"
#include "base/result.h"

namespace holdfast {

class ChildGuard {
 public:
  // `held`: a descriptor that the guard keeps open, too, until let_go() or its own end; -1: none.
  // Held so, the pipe that the command reads does not end with us as if all had been said.
  static Result<ChildGuard> start(int held = -1);
  ChildGuard(ChildGuard&& other) noexcept;
  ChildGuard& operator=(ChildGuard&&) = delete;
  ~ChildGuard();  // the guard ends, and nothing else of its group
  pid_t group() const { return pid_; }
  void let_go();

 private:
  ChildGuard(pid_t pid, Fd tie) : pid_(pid), tie_(std::move(tie)) {}
  pid_t pid_ = -1;
  Fd tie_;
};

// `holdfast guard-group`, which no help shows: what start() runs. Does not return.
inline constexpr const char* kGuardCommand = "guard-group";
[[noreturn]] void run_child_guard();

}  // namespace holdfast
