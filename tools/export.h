// `holdfast export`: asks what the tar would hold, says what it cannot, and writes it to standard
// output.
#pragma once

#include <cstdint>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "service/api.h"

namespace holdfast {

// `request` has the parameters. Returns how many files were left out, each named on stderr.
Result<uint64_t> run_export(const std::string& state_dir, const ApiRequest& request, Log& log);

}  // namespace holdfast
