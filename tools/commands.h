// The command line's words: what can be said, and which request each command becomes.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "service/api.h"

namespace holdfast {

using Printer = std::string (*)(const Json&);

// Everything the command line can say.
struct Arguments {
  std::string state, config_file;
  bool json = false, quiet = false, verbose = false;
  ApiRequest request;
  std::vector<std::string> watch, excludes, paths, tags;
  std::string backend = "auto";
  std::string scrub_every, scrub_rate, snapshot_every;
  std::string listen;
  std::string quota, reserve;
  bool check_health = false;
  std::string max_age;
  std::string dump, to_command;
  bool no_dumps = false;
};

struct Command {
  CLI::App* app;
  const char* method;
  const char* path;
  Printer print;
};

// Commands that become one request each are added to `commands`.
void add_looking_commands(CLI::App& app, Arguments& arguments, std::vector<Command>& commands);
void add_acting_commands(CLI::App& app, Arguments& arguments, std::vector<Command>& commands);
void add_truth_commands(CLI::App& app, Arguments& arguments, std::vector<Command>& commands);
void add_export(CLI::App& app, Arguments& arguments);
CLI::App* add_run_dump(CLI::App& app, Arguments& arguments);
void add_options_of_all(CLI::App& app, Arguments& arguments);
CLI::App* add_watch(CLI::App& app, Arguments& arguments);
std::pair<CLI::App*, CLI::App*> add_mending(CLI::App& app);  // rebuild, repair
CLI::App* add_test_alert(CLI::App& app);

}  // namespace holdfast
