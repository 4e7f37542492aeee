// InboxFolder: the folder of an inbox, watched: which dropped file is complete and comes next.
//
// inotify tells of what closes or comes; where it cannot (a network file system, no instance left)
// the folder is looked at every two seconds. A look is a handful of statx and, for each file that
// waits, a lease taken for a moment. One thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/fd.h"
#include "base/log.h"
#include "service/config.h"
#include "service/inbox_rules.h"

namespace holdfast {

class InboxFolder {
 public:
  InboxFolder(const InboxConfig& config, Log& log) : config_(config), log_(log) {}

  int fd() const { return events_.get(); }  // readable when something happened; -1: nobody tells
  void take_events();

  struct Look {
    std::optional<Dropped> ready;
    std::vector<std::string> waiting;  // what is not complete, and what is complete but not ready
    int64_t again_ns = 0;              // look again after this time at the latest
  };
  // An error: the folder cannot be looked at.
  Result<Look> look(int64_t now_ns);

  const InboxConfig& config() const { return config_; }

 private:
  struct Known {
    Dropped seen;
    Watching watching;
  };
  void watch(int dir_fd, const StatxResult& st);
  Result<std::map<std::string, Dropped>> list(int dir_fd);
  void tell_once(const std::string& name, const std::string& why);

  const InboxConfig& config_;
  Log& log_;
  Fd events_;
  bool polled_ = false;
  uint64_t dev_ = 0, inode_ = 0;  // of the directory that is watched
  std::set<std::string> closed_;  // by events since the last look
  std::map<std::string, Known> known_;
  std::set<std::string> told_;
};

// What a file in the folder is by its open descriptor.
Dropped dropped_of(const std::string& name, const StatxResult& st);

}  // namespace holdfast
