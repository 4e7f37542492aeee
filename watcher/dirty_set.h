// DirtySet: hints merged into a bounded, ordered set of directories and names to look at.
//
// Pure: time comes in as an argument, so tests turn it by hand. One per root, on the loop's thread.
// Bounds: more than names_per_dir_max names in a directory (or names_max in all) collapse into "the
// whole directory"; more than dirs_max directories collapse into their parents, recursively looked
// at. Memory is bounded by that whatever happens in the tree.
// Cost: add(), take() and the questions O(log n); a collapse O(n log n), after which a quarter of
// the room is free.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "watcher/watcher.h"

namespace holdfast {

struct DirtySetLimits {
  size_t names_per_dir_max = 512;
  size_t dirs_max = 16 * 1024;
  int64_t settle_ns = 100'000'000;
  size_t names_max = 64 * 1024;  // over all directories; about 10 MB
  size_t holds_max = 16 * 1024;
};

struct DirtyDir {
  NodeId dir;
  bool all = false;        // look at every name, not only `names`
  bool recursive = false;  // and at everything below (implies all)
  bool self = false;       // the directory's own attributes
  std::vector<std::string> names;
  // Of `names`, those of which no event announced a change of content: only one of attributes, or
  // nothing at all.
  std::vector<std::string> attributes_only, untold;
  uint64_t epoch = 0;  // lowest of its items
};

// Readiness: each name is due at a time. A close-after-write or a removal is due at once; a bare
// create or modify waits `settle` for the close that usually follows, and repeating it does not
// push that time back. A name captured a moment ago is not due before its hold ends (hold()); a
// removal and a move are due even so: looking at what is gone costs nothing, and what moved here
// may be missed elsewhere (who looks can ask held_until() before reading it). take(force) ignores
// both: that is what flush uses.
//
// Order: the directory whose oldest item has been due the longest comes first, so a hot one starves
// none.
//
// Epochs: a caller's counter. Each item keeps the lowest epoch it was added with, through merges
// and collapses, so that flush knows when all that was there at its call is done.
//
// Moves: a recursive look (asked for, from an overflow, or from a collapse) covers what lay below
// the directory when it was made. Whoever sees a directory move while one is pending
// (recursive_pending()) or running must look at the moved one recursively too, or what was pending
// inside it is missed.
class DirtySet {
 public:
  // `parent_of` gives the parent of a directory for collapsing (NodeId{0} above the root: then the
  // root itself is used).
  DirtySet(NodeId root, DirtySetLimits limits, std::function<NodeId(NodeId)> parent_of);
  ~DirtySet();
  DirtySet(DirtySet&&) noexcept;
  DirtySet& operator=(DirtySet&&) noexcept;

  // kOverflow, kSweep: the root, recursive. kDirGone: the directory itself (self), so that the
  // caller looks where it went.
  void add(const Hint& hint, uint64_t epoch, int64_t now_ns);
  void add_name(NodeId dir, std::string_view name, uint64_t epoch, int64_t due_ns);
  // The same for a name of which no event told anything.
  void add_doubt(NodeId dir, std::string_view name, uint64_t epoch, int64_t due_ns);
  void add_dir(NodeId dir, bool recursive, uint64_t epoch, int64_t due_ns);
  void add_self(NodeId dir, uint64_t epoch, int64_t due_ns);
  // A name is not due again before `until_ns` (bounded memory: those that end first are forgotten
  // first).
  void hold(NodeId dir, std::string_view name, int64_t until_ns);
  // When the name's hold ends; nullopt: none. For whoever finds the name by looking at the whole
  // directory.
  std::optional<int64_t> held_until(NodeId dir, std::string_view name) const;
  void forget(NodeId dir);  // the directory is gone

  // The next directory with something due, with only its due names; the rest stays. `blocked` may
  // refuse a directory for now (it is being worked on): it is skipped and stays. With `force`,
  // everything is due.
  std::optional<DirtyDir> take(int64_t now_ns, bool force,
                               const std::function<bool(NodeId)>& blocked);
  bool empty() const;
  bool recursive_pending() const;
  size_t size() const;                           // names and directories held
  std::optional<uint64_t> lowest_epoch() const;  // of what is held
  std::optional<int64_t> next_due_ns() const;    // when take() may have something
  // The first time after `now_ns` at which a directory becomes due: for a timer, after take() found
  // that all that is due now is blocked. nullopt: none.
  std::optional<int64_t> next_due_after(int64_t now_ns) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast
