// `holdfast export`: asks what the tar would hold, says what it cannot, and writes it to standard
// output or to a command.
#pragma once

#include <cstdint>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "service/api.h"

namespace holdfast {

struct ExportRun {
  std::string state_dir, to_command;
  bool json = false, quiet = false;
};
// `request` has the parameters. Returns how many files were left out, each named on stderr. Where
// there is a command, it fails unless that ends with 0.
Result<uint64_t> run_export(const ExportRun& how, const ApiRequest& request, Log& log);

}  // namespace holdfast
