// PendingSet: the pending directories of a dirty set, ordered by their earliest item and bounded.
//
// When there are too many directories, they collapse until three quarters of the bound are left:
// first into recursive looks that are pending above them anyway, then siblings into their parent
// (the largest groups first, so that few parents give way), then, where nothing has a sibling, one
// level up each. Pure; owns its memory; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/types.h"
#include "watcher/dirty_set.h"
#include "watcher/pending_dir.h"

namespace holdfast {

class PendingSet {
 public:
  PendingSet(NodeId root, DirtySetLimits limits, std::function<NodeId(NodeId)> parent_of);

  void put_name(NodeId dir, std::string_view name, DirtyItem item);
  void put_mark(NodeId dir, PendingDir::Mark mark, DirtyItem item);
  void postpone_name(NodeId dir, std::string_view name, int64_t due_ns);
  void erase(NodeId dir);
  // The first directory with something due that `blocked` does not refuse.
  std::optional<DirtyDir> take(int64_t now_ns, const std::function<bool(NodeId)>& blocked);
  std::optional<int64_t> first_due_after(int64_t now_ns) const;
  std::optional<int64_t> first_due() const;
  const DirtyTotals& totals() const { return totals_; }
  size_t dir_count() const { return dirs_.size(); }

 private:
  struct Slot {
    Slot(NodeId dir, DirtyTotals& totals) : pending(dir, totals) {}
    PendingDir pending;
    std::optional<DirtyRank> filed;  // where by_rank_ has it
  };
  using RankedSlot = std::pair<DirtyRank, Slot*>;

  Slot& slot(NodeId dir);
  void file(Slot& slot);  // after a change: under its rank, or out when empty
  NodeId parent_within(NodeId dir) const;

  void collapse_if_needed();
  void move_up(NodeId from, NodeId into);
  void absorb_below_recursive();
  bool collapse_siblings(size_t target);
  void lift_all();

  NodeId root_;
  DirtySetLimits limits_;
  std::function<NodeId(NodeId)> parent_of_;
  DirtyTotals totals_;  // before dirs_, which count in it until their end
  std::unordered_map<NodeId, std::unique_ptr<Slot>, NodeIdHash> dirs_;
  std::set<RankedSlot> by_rank_;
  uint64_t arrivals_ = 0;
};

}  // namespace holdfast
