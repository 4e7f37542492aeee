// DumpCommand: a command whose standard output is the body of a put (service/api.h). It is started
// by the first read(), so that nothing runs where the put is refused; how it ended are the
// trailers. One thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "service/api.h"
#include "service/child.h"
#include "service/dump_note.h"

namespace holdfast {

class DumpCommand final : public ApiBody {
 public:
  static constexpr size_t kErrorsBytesMax = 64 * 1024;  // the last ones of standard error are kept

  DumpCommand(std::vector<std::string> command, int64_t timeout_ns, const Clock& clock,
              std::function<bool()> cancelled)
      : command_(std::move(command)),
        timeout_ns_(timeout_ns),
        clock_(clock),
        cancelled_(std::move(cancelled)) {}

  // kInterrupted: cancelled. A command that fails ends the bytes like any other.
  Result<size_t> read(char* out, size_t size) override;
  Trailers trailers() override;
  const std::string& errors() const { return errors_; }  // standard error

 private:
  Status start();
  bool wait_for_output();
  void take_errors();
  void finish(const ChildEnd& end);
  int64_t left_ns() const { return timeout_ns_ - (clock_.boottime_ns() - began_ns_); }

  const std::vector<std::string> command_;
  const int64_t timeout_ns_;
  const Clock& clock_;
  const std::function<bool()> cancelled_;
  std::optional<Child> child_;
  Fd out_, err_;
  int64_t began_ns_ = 0;
  std::string errors_;
  std::optional<DumpNote> note_;  // once it has ended
};

// How a dump went, as far as its command tells; nullopt: the body was not a command's.
std::optional<DumpNote> dump_note_of(const ApiBody::Trailers& trailers);

}  // namespace holdfast
