// Hooks: commands around a snapshot, such as those that make an application pause.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace holdfast {

// Runs it to its end; its output goes to our standard error. Done where there is none. `what` is
// for the error: "the hook before the snapshot".
Status run_hook(const std::string& what, const std::vector<std::string>& command,
                int64_t timeout_ns, const std::function<bool()>& cancelled);

}  // namespace holdfast
