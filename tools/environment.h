// The environment, where a secret or a setting is in a file: HOLDFAST_STATE_FILE=/run/secrets/state
// is HOLDFAST_STATE with what that file holds, without its last line's end.
#pragma once

#include "base/result.h"

namespace holdfast {

// Sets each HOLDFAST_X from its HOLDFAST_X_FILE. kUsage: both are set, or the file cannot be read.
// Before threads are started.
Status read_environment_files();

// A flag: set, and not "", "0", "false", "off" or "no".
bool environment_flag(const char* name);

}  // namespace holdfast
