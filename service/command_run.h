// CommandRun: a command run to its end, with the last of its output kept, a time limit, and a way
// to find what is left of it. No shell. Blocking; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "service/child.h"

namespace holdfast {

inline constexpr size_t kCommandOutputMax = 64 * 1024;

struct CommandRun {
  std::vector<std::string> args;
  Environment env;
  int stdin_fd = -1;  // -1: /dev/null
  int64_t timeout_ns = 0;
};

struct CommandEnd {
  ChildEnd end;
  bool timed_out = false, stopped = false;
  std::string output;       // standard output and error, the last kCommandOutputMax bytes
  uint64_t output_cut = 0;  // bytes before them
};

// `stop` is asked five times a second; then, as when the time is over, the command's process group
// is told to end, and killed five seconds later.
Result<CommandEnd> run_to_end(const CommandRun& run, const std::function<bool()>& stop);

// Kills every process whose environment has the variable with that value: what a command of a run
// before this one left. How many there were.
size_t kill_by_environment(const std::string& name, const std::string& value);

}  // namespace holdfast
