#include "service/hooks.h"

#include <unistd.h>

#include "service/child.h"
#include "service/words.h"

namespace holdfast {

Status run_hook(const std::string& what, const std::vector<std::string>& command,
                int64_t timeout_ns, const std::function<bool()>& cancelled) {
  if (command.empty()) return {};
  auto child = Child::start(command, {-1, STDERR_FILENO, -1});
  if (!child.ok()) return child.error().in(what);
  bool stopped = false;
  const ChildEnd end = child->wait(timeout_ns, cancelled, stopped);
  if (stopped && cancelled()) return make_error(ErrorCode::kInterrupted, "interrupted");
  const std::string name = what + ", " + command[0] + ", ";
  if (stopped) {
    return make_error(ErrorCode::kFailed,
                      name + "did not end within " + words_for_duration(timeout_ns) +
                          " and was ended; hook_timeout in [snapshot] says how long it may take");
  }
  if (!end.ok()) return make_error(ErrorCode::kFailed, name + "failed: " + end.words());
  return {};
}

}  // namespace holdfast
