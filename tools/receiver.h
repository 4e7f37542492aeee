// Receiver: a shell command that gets bytes on its standard input, such as that of restore
// --to-command. One owner, one thread.
//
// Hands pieces on, one behind: the last one goes only when all that came before is known to be
// right. Where it is not, or we are killed, the command is ended before its input ends, so that it
// never sees a part end as if it were whole.
#pragma once

#include <string>
#include <string_view>

#include "base/hash.h"
#include "service/child.h"

namespace holdfast {

class Receiver {
 public:
  // SIGPIPE is ignored from now on. While it lives, Interrupts are only noted.
  static Result<Receiver> start(const std::string& command);

  void take(std::string_view bytes);
  std::string hash() const;  // "xxh3:…" of all that came
  ChildEnd finish();
  void abandon() { child_.end_group(); }  // before its input ends
  bool closed_early() const { return closed_early_; }
  uint64_t size() const { return size_; }

 private:
  Receiver(Child child, Fd in)
      : child_(std::move(child)), in_(std::move(in)), hasher_(std::make_unique<ContentHasher>()) {}
  void send(std::string_view bytes);

  Child child_;
  Fd in_;
  std::unique_ptr<ContentHasher> hasher_;
  std::string held_;
  uint64_t size_ = 0;
  bool closed_early_ = false;
};

}  // namespace holdfast
