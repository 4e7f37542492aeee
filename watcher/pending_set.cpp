#include "watcher/pending_set.h"

#include <algorithm>

namespace holdfast {

PendingSet::PendingSet(NodeId root, DirtySetLimits limits, std::function<NodeId(NodeId)> parent_of)
    : root_(root), limits_(limits), parent_of_(std::move(parent_of)) {
  limits_.dirs_max = std::max<size_t>(limits_.dirs_max, 1);
}

PendingSet::Slot& PendingSet::slot(NodeId dir) {
  auto& owner = dirs_[dir];
  if (!owner) owner = std::make_unique<Slot>(dir, totals_);
  return *owner;
}

void PendingSet::file(Slot& slot) {
  const bool empty = slot.pending.empty();
  if (slot.filed && (empty || *slot.filed != slot.pending.rank())) {
    by_rank_.erase({*slot.filed, &slot});
    slot.filed.reset();
  }
  if (empty) {
    dirs_.erase(slot.pending.dir());
  } else if (!slot.filed) {
    slot.filed = slot.pending.rank();
    by_rank_.emplace(*slot.filed, &slot);
  }
}

void PendingSet::put_name(NodeId dir, std::string_view name, DirtyItem item) {
  item.arrival = ++arrivals_;
  Slot& target = slot(dir);
  target.pending.put_name(name, item);
  if (target.pending.name_count() > limits_.names_per_dir_max ||
      totals_.names > limits_.names_max) {
    target.pending.collapse_names();
  }
  file(target);
  collapse_if_needed();
}

void PendingSet::put_mark(NodeId dir, PendingDir::Mark mark, DirtyItem item) {
  item.arrival = ++arrivals_;
  Slot& target = slot(dir);
  target.pending.put_mark(mark, item);
  file(target);
  collapse_if_needed();
}

void PendingSet::postpone_name(NodeId dir, std::string_view name, int64_t due_ns) {
  const auto at = dirs_.find(dir);
  if (at == dirs_.end()) return;
  at->second->pending.postpone_name(name, due_ns);
  file(*at->second);
}

void PendingSet::erase(NodeId dir) {
  const auto at = dirs_.find(dir);
  if (at == dirs_.end()) return;
  by_rank_.erase({*at->second->filed, at->second.get()});
  dirs_.erase(at);
}

std::optional<DirtyDir> PendingSet::take(int64_t now_ns,
                                         const std::function<bool(NodeId)>& blocked) {
  for (const auto& [rank, candidate] : by_rank_) {
    if (rank.first > now_ns) break;
    if (blocked && blocked(candidate->pending.dir())) continue;
    Slot& chosen = *candidate;
    DirtyDir taken = chosen.pending.take_due(now_ns);
    file(chosen);
    return taken;
  }
  return std::nullopt;
}

std::optional<int64_t> PendingSet::first_due() const {
  if (by_rank_.empty()) return std::nullopt;
  return by_rank_.begin()->first.first;
}

std::optional<int64_t> PendingSet::first_due_after(int64_t now_ns) const {
  const auto at = by_rank_.upper_bound({{now_ns, UINT64_MAX}, nullptr});
  if (at == by_rank_.end()) return std::nullopt;
  return at->first.first;
}

NodeId PendingSet::parent_within(NodeId dir) const {
  const NodeId parent = parent_of_ ? parent_of_(dir) : NodeId{};
  return parent == NodeId{} || parent == dir ? root_ : parent;
}

}  // namespace holdfast
