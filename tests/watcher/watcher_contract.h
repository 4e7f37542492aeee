// The contract of Watcher, as tests that every backend runs: see watcher_contract.cpp.
//
// The kernel queues events inside the modifying system call, so each test drains right after the
// operation and waits for nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "watcher/watcher.h"

namespace holdfast {

struct WatcherContract {
  std::function<std::unique_ptr<Watcher>()> create;
  // A move or deletion of a watched directory is told for the directory itself (inotify). Backends
  // that only tell its parent leave this off.
  bool tells_dir_gone = true;
};

// A hint with a name of its own, which outlives the drain.
struct SeenHint {
  Hint hint;
  std::string name;
};

std::vector<SeenHint> drain_all(Watcher& watcher);

// Runs every test of the contract, each as a section of the calling TEST_CASE.
void check_watcher_contract(const WatcherContract& contract);

}  // namespace holdfast
