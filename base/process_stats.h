// What the kernel tells of this process, from /proc. Any thread.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace holdfast {

struct ProcessStats {
  double cpu_seconds = 0;
  double start_seconds = 0;  // since 1970
  uint64_t virtual_bytes = 0, resident_bytes = 0;
  uint64_t open_fds = 0, max_fds = 0;
};
Result<ProcessStats> read_process_stats();

}  // namespace holdfast
