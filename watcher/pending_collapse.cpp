// The collapse of a PendingSet: fewer, wider looks when there are too many directories.
#include <algorithm>
#include <vector>

#include "watcher/pending_set.h"

namespace holdfast {

namespace {
// A tree is never that deep; parents that form a ring are taken for children of the root.
constexpr size_t kDepthMax = 4096;
constexpr int kRoundsMax = 256;
}  // namespace

void PendingSet::collapse_if_needed() {
  if (dirs_.size() <= limits_.dirs_max) return;
  const size_t target = std::max<size_t>(limits_.dirs_max / 4 * 3, 1);
  for (int round = 0; round < kRoundsMax && dirs_.size() > target; ++round) {
    absorb_below_recursive();
    if (dirs_.size() > target && !collapse_siblings(target)) lift_all();
  }
  if (dirs_.size() <= limits_.dirs_max) return;
  std::vector<NodeId> all;
  for (const auto& [dir, owner] : dirs_) all.push_back(dir);
  for (const NodeId dir : all) move_up(dir, root_);
}

// Everything pending in `from` becomes part of a recursive look at `into`.
void PendingSet::move_up(NodeId from, NodeId into) {
  const auto at = dirs_.find(from);
  if (at == dirs_.end() || from == into) return;
  const DirtyItem sum = at->second->pending.summary();
  erase(from);
  Slot& target = slot(into);
  target.pending.put_mark(PendingDir::kRecursive, sum);
  file(target);
}

void PendingSet::absorb_below_recursive() {
  // Per directory: the topmost recursive look at or above it, or none. The topmost, because it is
  // itself never absorbed while this runs.
  std::unordered_map<NodeId, NodeId, NodeIdHash> topmost;
  const auto recursive = [&](NodeId dir) {
    const auto at = dirs_.find(dir);
    return at != dirs_.end() && at->second->pending.recursive();
  };
  topmost[root_] = recursive(root_) ? root_ : NodeId{};
  std::vector<std::pair<NodeId, NodeId>> moves;
  std::vector<NodeId> path;
  for (const auto& [dir, owner] : dirs_) {
    path.clear();
    NodeId at = dir;
    for (; !topmost.contains(at) && path.size() < kDepthMax; at = parent_within(at)) {
      path.push_back(at);
    }
    NodeId top = topmost.contains(at) ? topmost[at] : topmost[root_];
    for (auto step = path.rbegin(); step != path.rend(); ++step) {
      if (top == NodeId{} && recursive(*step)) top = *step;
      topmost[*step] = top;
    }
    if (top != NodeId{} && top != dir) moves.emplace_back(dir, top);
  }
  for (const auto& [from, into] : moves) move_up(from, into);
}

bool PendingSet::collapse_siblings(size_t target) {
  struct Group {
    size_t gain;  // directories fewer
    NodeId parent;
    std::vector<NodeId> members;
  };
  std::unordered_map<NodeId, std::vector<NodeId>, NodeIdHash> by_parent;
  for (const auto& [dir, owner] : dirs_) {
    if (dir != root_) by_parent[parent_within(dir)].push_back(dir);
  }
  std::vector<Group> groups;
  for (auto& [parent, members] : by_parent) {
    const size_t gain = members.size() - (dirs_.contains(parent) ? 0 : 1);
    if (gain > 0) groups.push_back({gain, parent, std::move(members)});
  }
  std::sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    return a.gain != b.gain ? a.gain > b.gain : a.parent < b.parent;
  });
  for (const Group& group : groups) {
    if (dirs_.size() <= target) break;
    for (const NodeId member : group.members) move_up(member, group.parent);
  }
  return !groups.empty();
}

void PendingSet::lift_all() {
  std::vector<std::pair<NodeId, NodeId>> moves;
  for (const auto& [dir, owner] : dirs_) {
    if (dir != root_) moves.emplace_back(dir, parent_within(dir));
  }
  for (const auto& [from, into] : moves) move_up(from, into);
}

}  // namespace holdfast
