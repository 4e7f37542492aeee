// `holdfast seed`: the command line of service/seeder.h, and what it prints.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace holdfast {

struct SeedArguments {
  std::string source, dest, policy;
  std::vector<std::string> force, mine, excludes;
  bool dry_run = false, remove = false, respect_deletes = false;
  CLI::App* app = nullptr;
};

// What stands beside the command's own options.
struct SeedSurroundings {
  std::string state_dir, working_directory;
  bool json = false, quiet = false, verbose = false;
};

void add_seed_command(CLI::App& app, SeedArguments& arguments);
int run_seed(const SeedArguments& arguments, const SeedSurroundings& around);

}  // namespace holdfast
