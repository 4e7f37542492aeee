// What is to be verified, a batch at a time: the names below paths as the journal has them, with
// their open directories.
//
// Bounded: a batch has at most kVerifyItemsMax names of at most kVerifyDirsMax directories, each of
// which holds a descriptor. Of a directory of a million files only the names are kept. Reads
// through short transactions. One thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/fs_type.h"
#include "service/query.h"

namespace holdfast {

inline constexpr size_t kVerifyItemsMax = 4096;
inline constexpr size_t kVerifyDirsMax = 256;

// A directory whose names are verified, opened or not.
struct VerifyDir {
  Root root;
  FsTraits fs;
  Fd fd;
  bool missing = false;  // without fd: it is not there
  bool root_missing = false;
  std::string why;  // without fd, for a person
};
// Never fails: a directory that cannot be opened says why, and whether that means it is gone.
std::shared_ptr<VerifyDir> open_verify_dir(const Root& root, const std::string& path);

// One name to verify.
struct VerifyItem {
  std::shared_ptr<VerifyDir> dir;
  std::string path;  // relative to the root
  std::string name;
  Record version;
};

class VerifyWalk {
 public:
  VerifyWalk(State& state, Sequence at) : state_(state), at_(at) {}
  Status add(const UserPath& path);
  // The next batch; empty: all have been given.
  Result<std::vector<VerifyItem>> next();

 private:
  struct Level {
    Root root;
    NodeId node;
    std::string path;
    bool listed = false;
    std::vector<Entry> entries;  // of which those before `at` are done
    size_t at = 0;
    bool descending = false;  // the entries are the directories among them, to be entered
  };
  Status list(Level& level);
  Status take(Level& level, std::vector<VerifyItem>& items);

  State& state_;
  const Sequence at_;
  std::vector<VerifyItem> single_;  // paths that are no directories
  std::vector<Level> stack_;
};

}  // namespace holdfast
