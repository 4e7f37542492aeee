// `holdfast import`: sends an archive, of a file or of standard input, and says what it became.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/log.h"

namespace holdfast {

struct ImportArguments {
  CLI::App* app = nullptr;
  std::string root, file = "-", message;
  size_t strip = 0;
};
void add_import_command(CLI::App& app, ImportArguments& arguments);

struct ImportRun {
  std::string state_dir;
  bool json = false, quiet = false;
};
// 5: some members were left out, each is named on stderr.
int run_import(const ImportArguments& arguments, const ImportRun& how, Log& log);

}  // namespace holdfast
