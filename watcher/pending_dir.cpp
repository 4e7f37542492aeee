#include "watcher/pending_dir.h"

#include <algorithm>

#include "base/result.h"

namespace holdfast {

void DirtyItem::merge(const DirtyItem& other) {
  if (other.rank() < rank()) {
    due_ns = other.due_ns;
    arrival = other.arrival;
  }
  epoch = std::min(epoch, other.epoch);
  ignores_hold = ignores_hold || other.ignores_hold;
  told = std::max(told, other.told);
}

void DirtyTotals::uncount_epoch(uint64_t epoch) {
  const auto at = epochs.find(epoch);
  CHECK(at != epochs.end());
  if (--at->second == 0) epochs.erase(at);
}

PendingDir::~PendingDir() {
  for (const Mark mark : {kAll, kRecursive, kSelf}) {
    if (marks_[mark]) clear_mark(mark);
  }
  for (const auto& [name, item] : names_) totals_.uncount_epoch(item.epoch);
  totals_.names -= names_.size();
}

DirtyRank PendingDir::rank() const {
  DirtyRank earliest{INT64_MAX, UINT64_MAX};
  if (!by_due_.empty()) earliest = by_due_.begin()->first;
  for (const auto& mark : marks_) {
    if (mark) earliest = std::min(earliest, mark->rank());
  }
  return earliest;
}

DirtyItem PendingDir::summary() const {
  DirtyItem sum{INT64_MAX, UINT64_MAX, UINT64_MAX};
  for (const auto& mark : marks_) {
    if (mark) sum.merge(*mark);
  }
  for (const auto& [name, item] : names_) sum.merge(item);
  sum.ignores_hold = false;
  return sum;
}

void PendingDir::set(DirtyItem& stored, const DirtyItem& value) {
  totals_.count_epoch(value.epoch);
  totals_.uncount_epoch(stored.epoch);
  stored = value;
}

// Whether a mark of the whole directory looks at it in time; then the mark takes over its epoch.
bool PendingDir::covered(const DirtyItem& item) {
  for (const Mark mark : {kRecursive, kAll}) {
    auto& cover = marks_[mark];
    if (!cover || cover->due_ns > item.due_ns) continue;
    DirtyItem merged = *cover;
    merged.epoch = std::min(merged.epoch, item.epoch);
    set(*cover, merged);
    return true;
  }
  return false;
}

void PendingDir::put_name(std::string_view name, const DirtyItem& item) {
  if (covered(item)) return;
  const auto at = names_.find(name);
  if (at == names_.end()) {
    const auto added = names_.emplace(std::string(name), item).first;
    by_due_.emplace(item.rank(), &added->first);
    totals_.count_epoch(item.epoch);
    ++totals_.names;
    return;
  }
  DirtyItem merged = at->second;
  merged.merge(item);
  if (merged.rank() != at->second.rank()) {
    by_due_.erase({at->second.rank(), &at->first});
    by_due_.emplace(merged.rank(), &at->first);
  }
  set(at->second, merged);
}

void PendingDir::put_mark(Mark mark, const DirtyItem& item) {
  DirtyItem merged = item;
  merged.ignores_hold = false;
  if (marks_[mark]) {
    merged.merge(*marks_[mark]);
    set(*marks_[mark], merged);
  } else {
    marks_[mark] = merged;
    totals_.count_epoch(merged.epoch);
    ++totals_.marks;
    if (mark == kRecursive) ++totals_.recursive;
  }
  if (mark == kSelf) return;
  absorb_names(merged, *marks_[mark]);
  if (marks_[kAll] && marks_[kRecursive] && marks_[kAll]->due_ns >= marks_[kRecursive]->due_ns) {
    covered(clear_mark(kAll));
  }
}

// Drops the names that `mark` covers; `into` keeps their lowest epoch.
void PendingDir::absorb_names(const DirtyItem& mark, DirtyItem& into) {
  DirtyItem merged = mark;
  auto at = by_due_.lower_bound({{mark.due_ns, 0}, nullptr});
  while (at != by_due_.end()) {
    const auto name = names_.find(*at->second);
    merged.epoch = std::min(merged.epoch, name->second.epoch);
    totals_.uncount_epoch(name->second.epoch);
    --totals_.names;
    at = by_due_.erase(at);
    names_.erase(name);
  }
  set(into, merged);
}

void PendingDir::collapse_names() {
  if (names_.empty()) return;
  DirtyItem sum = names_.begin()->second;
  for (const auto& [name, item] : names_) sum.merge(item);
  put_mark(kAll, sum);  // due with the earliest name, so it covers them all
}

void PendingDir::postpone_name(std::string_view name, int64_t due_ns) {
  const auto at = names_.find(name);
  if (at == names_.end() || at->second.ignores_hold || at->second.due_ns >= due_ns) return;
  by_due_.erase({at->second.rank(), &at->first});
  at->second.due_ns = due_ns;
  by_due_.emplace(at->second.rank(), &at->first);
}

std::string PendingDir::take_name(Names::iterator at) {
  by_due_.erase({at->second.rank(), &at->first});
  totals_.uncount_epoch(at->second.epoch);
  --totals_.names;
  return std::move(names_.extract(at).key());
}

DirtyItem PendingDir::clear_mark(Mark mark) {
  const DirtyItem item = *marks_[mark];
  totals_.uncount_epoch(item.epoch);
  --totals_.marks;
  if (mark == kRecursive) --totals_.recursive;
  marks_[mark].reset();
  return item;
}

DirtyDir PendingDir::take_due(int64_t now_ns) {
  DirtyDir taken;
  taken.dir = dir_;
  uint64_t lowest = UINT64_MAX;
  const auto due = [&](Mark mark) { return marks_[mark] && marks_[mark]->due_ns <= now_ns; };
  taken.recursive = due(kRecursive);
  taken.all = taken.recursive || due(kAll);
  taken.self = due(kSelf) || (taken.recursive && marks_[kSelf]);
  const bool takes[kMarks] = {marks_[kAll] && taken.all, taken.recursive, taken.self};
  for (const Mark mark : {kAll, kRecursive, kSelf}) {
    if (takes[mark]) lowest = std::min(lowest, clear_mark(mark).epoch);
  }
  while (!by_due_.empty() && (taken.all || by_due_.begin()->first.first <= now_ns)) {
    const auto at = names_.find(*by_due_.begin()->second);
    lowest = std::min(lowest, at->second.epoch);
    const DirtyItem::Told told = at->second.told;
    std::string name = take_name(at);
    if (taken.all) continue;
    if (told == DirtyItem::Told::kAttributes) taken.attributes_only.push_back(name);
    if (told == DirtyItem::Told::kNothing) taken.untold.push_back(name);
    taken.names.push_back(std::move(name));
  }
  if (lowest != UINT64_MAX) taken.epoch = lowest;
  return taken;
}

}  // namespace holdfast
