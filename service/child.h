// Child: a command that Holdfast runs for somebody (a dump, a hook, the receiver of a restore), in
// a process group of its own, so that what it starts ends with it. One owner, one thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "service/child_guard.h"
#include "service/spawn.h"

namespace holdfast {

struct ChildEnd {
  int exit_status = 0;
  int signal = 0;  // that ended it; 0: none did
  bool ok() const { return exit_status == 0 && signal == 0; }
  std::string words() const;  // "exit status 1", "signal 15 (Terminated)"
};

// Pipe ends are for this process; -1 for a descriptor that the command gets as it is.
struct ChildPipes {
  int in = -1, out = -1, err = -1;
};

class Child {
 public:
  // args[0] is looked up in PATH; no shell. A descriptor of -1 is /dev/null for standard input, and
  // our own for the others. Signals that we ignore are not ignored there. `added` is put into our
  // own environment, in the place of what has the same name.
  static Result<Child> start(const std::vector<std::string>& args, const ChildPipes& pipes,
                             const Environment& added = {});
  // One that ends when this process does, killed or not, with all that it started.
  // `held`: as ChildGuard has it.
  static Result<Child> start_guarded(const std::vector<std::string>& args, const ChildPipes& pipes,
                                     int held = -1);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();  // kills what is left of it

  int fd() const { return pid_fd_.get(); }  // readable when it has ended
  std::optional<ChildEnd> try_wait();
  // Waits until it has ended. `stop` is asked five times a second; when it says so, or the time is
  // over, the group is told to end (SIGTERM), and is killed where it does not within five seconds.
  ChildEnd wait(int64_t timeout_ns, const std::function<bool()>& stop, bool& stopped);
  ChildEnd end_group();                // the same at once
  void let_go() { guard_->let_go(); }  // of what was held; only where it is guarded

 private:
  Child(pid_t pid, Fd pid_fd) : pid_(pid), group_(pid), pid_fd_(std::move(pid_fd)) {}
  static Result<Child> start_in(pid_t group, const std::vector<std::string>& args,
                                const ChildPipes& pipes, const Environment& added);
  bool ended_within(int64_t timeout_ns) const;
  pid_t pid_ = -1, group_ = -1;
  Fd pid_fd_;
  std::optional<ChildEnd> end_;
  std::optional<ChildGuard> guard_;  // of the group
};

}  // namespace holdfast
