// Who has a file open: asked of /proc, as far as its owner or root may ask. Blocking; thread-safe.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace holdfast {

struct OpenIn {
  pid_t pid = 0;
  std::string command;  // as in /proc/PID/comm
};

// The processes but this one that have the file of that name in the open directory open.
std::vector<OpenIn> who_has_open(int dir_fd, const std::string& name);

}  // namespace holdfast
