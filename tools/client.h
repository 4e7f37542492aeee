// Client: one command's request, answered by the running service or, where none runs, by the same
// code in this process under the state's lock.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/result.h"
#include "service/api.h"

namespace holdfast {

// Runs the request; hands each line (or piece, for raw answers) on. kBusy: the state is locked by a
// process that does not answer.
Status run_request(const std::string& state_dir, const ApiRequest& request, bool raw, Log& log,
                   const std::function<void(std::string_view)>& take);

int exit_code_of(const Error& error);

}  // namespace holdfast
