// DirtySet: hints merged into a bounded, ordered set of directories and names that must be looked at.
//
// Pure: time comes in as an argument, so tests turn it by hand. One per root.
// Bounds: more than names_per_dir_max names in a directory collapse into "the whole directory"; more than
// dirs_max directories collapse into their parents, recursively looked at. Memory is bounded by that
// whatever happens in the tree.
// Readiness: each name is due at a time. A close-after-write or a removal is due at once; a bare create or
// modify waits `settle` for the close that usually follows. A name captured a moment ago is not due before
// its hold ends (hold()). take(force) ignores both: that is what flush uses.
// Epochs: a caller's counter. Each item keeps the lowest epoch it was added with, through merges and
// collapses, so that flush knows when all that was there at its call is done.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "watcher/watcher.h"

namespace holdfast {

struct DirtySetLimits {
  size_t names_per_dir_max = 512;
  size_t dirs_max = 16 * 1024;
  int64_t settle_ns = 100'000'000;
};

struct DirtyDir {
  NodeId dir;
  bool all = false;        // look at every name, not only `names`
  bool recursive = false;  // and at everything below (implies all)
  bool self = false;       // the directory's own attributes
  std::vector<std::string> names;
  uint64_t epoch = 0;      // lowest of its items
};

class DirtySet {
 public:
  // `parent_of` gives the parent of a directory for collapsing (NodeId{0} above the root: then the root
  // itself is used).
  DirtySet(NodeId root, DirtySetLimits limits, std::function<NodeId(NodeId)> parent_of);

  void add(const Hint& hint, uint64_t epoch, int64_t now_ns);  // kOverflow: the root, recursive
  void add_name(NodeId dir, std::string_view name, uint64_t epoch, int64_t due_ns);
  void add_dir(NodeId dir, bool recursive, uint64_t epoch, int64_t due_ns);
  void add_self(NodeId dir, uint64_t epoch, int64_t due_ns);
  // A name is not due again before `until_ns` (bounded memory: old holds are forgotten first).
  void hold(NodeId dir, std::string_view name, int64_t until_ns);
  void forget(NodeId dir);  // the directory is gone

  // The next directory with something due, with only its due names; the rest stays. `blocked` may refuse
  // a directory for now (it is being worked on). With `force`, everything is due.
  std::optional<DirtyDir> take(int64_t now_ns, bool force, const std::function<bool(NodeId)>& blocked);
  bool empty() const;
  size_t size() const;                                   // names and directories held
  std::optional<uint64_t> lowest_epoch() const;          // of what is held
  std::optional<int64_t> next_due_ns() const;            // when take() may have something; nullopt: empty

 private:
  struct Pending;
  NodeId root_;
  DirtySetLimits limits_;
  std::function<NodeId(NodeId)> parent_of_;
};

}  // namespace holdfast
