// The contract of Watcher, as tests that every backend runs: see watcher_contract.cpp.
//
// The kernel queues events inside the modifying system call, so each test drains right after the
// operation and waits for nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "temp_tree.h"
#include "watcher/watcher.h"

namespace holdfast {

struct WatcherContract {
  // The tree's top is the first directory that will be added.
  std::function<std::unique_ptr<Watcher>(const TempTree&)> create;
  // A move or deletion of a watched directory is told for the directory itself (inotify). Backends
  // that only tell its parent leave this off; of the root all tell it.
  bool tells_dir_gone = true;
  // Hints name what changed. A backend that is told nothing leaves this off: then a sweep counts as
  // having told, and nothing else may be said.
  bool precise = true;
};

// A hint with a name of its own, which outlives the drain.
struct SeenHint {
  Hint hint;
  std::string name;
};

std::vector<SeenHint> drain_all(Watcher& watcher);  // asks first

// Runs every test of the contract, each as a section of the calling TEST_CASE.
void check_watcher_contract(const WatcherContract& contract);

}  // namespace holdfast
