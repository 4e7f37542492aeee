// Questions to a running service over one open connection to its socket, timed: what a query takes
// in the service, without a process being started for it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace holdfast::growth {

struct Asked {
  double median_ms = 0, worst_ms = 0;
  uint64_t bytes = 0, lines = 0;  // of one answer
};

// Sends `GET target` ("/v1/history?path=…") `times` times, one after the other.
Result<Asked> ask(const std::string& socket_path, const std::string& target, int times);

}  // namespace holdfast::growth
