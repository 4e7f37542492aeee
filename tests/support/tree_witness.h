// TreeWitness: sees every change that anybody makes on a file system, with who made it.
//
// A fanotify listener on the whole file system: nothing but the test may write there, so whatever
// it hears is either the test's own doing or a mistake of the program under test. Events are queued
// within the system call that causes them, so that events() right after a call has them all. What
// is stored through a mapping is not heard. Root only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"

namespace holdfast {

struct WitnessedChange {
  uint64_t mask = 0;  // FAN_CREATE and so on
  pid_t pid = 0;      // who
  std::string path;   // relative to the mount, as far as it can still be found
  std::string text() const;
};

class TreeWitness {
 public:
  explicit TreeWitness(const std::string& mount_path);
  // What happened since the last call.
  std::vector<WitnessedChange> changes();
  // One line a change; empty where nothing happened.
  std::string words();

 private:
  std::string name_of(const void* info) const;
  Fd fan_, mount_;
};

}  // namespace holdfast
