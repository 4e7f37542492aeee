// The commands that work on a state as files, with no service and without opening it as one:
// rebuild and repair.
#pragma once

#include <string>

namespace holdfast {

struct MendOptions {
  std::string state_dir;
  bool json = false, quiet = false;
};

// Exit codes.
int run_rebuild(const MendOptions& options);
int run_repair(const MendOptions& options);

}  // namespace holdfast
