// The commands around dumps: run-dump, snapshot (which makes them first), and restore --to-command.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "service/config.h"

namespace holdfast {

struct DumpOptions {
  std::string state_dir, config_file;
  const Config& config;
  Log& log;
  bool json = false, quiet = false;
};

// Exit codes: 0 good, 3 kept but not believable, 1 failed.
int run_run_dump(const DumpOptions& options, const std::string& name);

// `params` are those of POST /v1/snapshots. 3: it is taken, but a dump or the hook after it failed.
int run_snapshot(const DumpOptions& options,
                 const std::vector<std::pair<std::string, std::string>>& params, bool no_dumps);

// The content of one file of a moment, on the standard input of a shell command.
int run_to_command(const DumpOptions& options, const std::string& path, const std::string& at,
                   const std::string& cwd, const std::string& command);

std::string shell_word(const std::string& word);  // quoted

}  // namespace holdfast
