#include "watcher/dirty_set.h"

#include <algorithm>

#include "watcher/holds.h"
#include "watcher/pending_set.h"

namespace holdfast {

struct DirtySet::State {
  NodeId root;
  DirtySetLimits limits;
  PendingSet pending;
  Holds holds;
};

namespace {

DirtyItem item_of(uint64_t epoch, int64_t due_ns) {
  DirtyItem item;
  item.due_ns = due_ns;
  item.epoch = epoch;
  return item;
}

// A file that was only created or written to is usually closed a moment later, and the close makes
// it due at once: waiting for it saves the capture of a half-written file. Everything else is
// complete already.
bool waits_for_close(const Hint& hint) {
  constexpr unsigned kComplete = kWhatRemoved | kWhatClosed | kWhatMoved | kWhatAttributes;
  const bool created_dir = (hint.what & kWhatCreated) != 0 && hint.is_dir;
  return (hint.what & (kWhatCreated | kWhatModified)) != 0 && (hint.what & kComplete) == 0 &&
         !created_dir;
}

}  // namespace

DirtySet::DirtySet(NodeId root, DirtySetLimits limits, std::function<NodeId(NodeId)> parent_of)
    : state_(new State{root, limits, PendingSet(root, limits, std::move(parent_of)),
                       Holds(limits.holds_max)}) {}
DirtySet::~DirtySet() = default;
DirtySet::DirtySet(DirtySet&&) noexcept = default;
DirtySet& DirtySet::operator=(DirtySet&&) noexcept = default;

void DirtySet::add(const Hint& hint, uint64_t epoch, int64_t now_ns) {
  switch (hint.kind) {
    case HintKind::kOverflow:
    case HintKind::kSweep:
      add_dir(state_->root, true, epoch, now_ns);
      add_self(state_->root, epoch, now_ns);
      return;
    case HintKind::kSelf:
    case HintKind::kDirGone: add_self(hint.dir, epoch, now_ns); return;
    case HintKind::kEntry: break;
  }
  DirtyItem item =
      item_of(epoch, waits_for_close(hint) ? now_ns + state_->limits.settle_ns : now_ns);
  if (hint.what == kWhatAttributes) item.told = DirtyItem::Told::kAttributes;
  item.ignores_hold = (hint.what & (kWhatRemoved | kWhatMoved)) != 0;
  const auto held = item.ignores_hold ? std::nullopt : state_->holds.until(hint.dir, hint.name);
  if (held) item.due_ns = std::max(item.due_ns, *held);
  state_->pending.put_name(hint.dir, hint.name, item);
}

void DirtySet::add_name(NodeId dir, std::string_view name, uint64_t epoch, int64_t due_ns) {
  const int64_t held = state_->holds.until(dir, name).value_or(due_ns);
  state_->pending.put_name(dir, name, item_of(epoch, std::max(due_ns, held)));
}

void DirtySet::add_doubt(NodeId dir, std::string_view name, uint64_t epoch, int64_t due_ns) {
  DirtyItem item = item_of(epoch, due_ns);
  item.told = DirtyItem::Told::kNothing;
  state_->pending.put_name(dir, name, item);
}

void DirtySet::add_dir(NodeId dir, bool recursive, uint64_t epoch, int64_t due_ns) {
  state_->pending.put_mark(dir, recursive ? PendingDir::kRecursive : PendingDir::kAll,
                           item_of(epoch, due_ns));
}

void DirtySet::add_self(NodeId dir, uint64_t epoch, int64_t due_ns) {
  state_->pending.put_mark(dir, PendingDir::kSelf, item_of(epoch, due_ns));
}

void DirtySet::hold(NodeId dir, std::string_view name, int64_t until_ns) {
  state_->holds.hold(dir, name, until_ns);
  state_->pending.postpone_name(dir, name, until_ns);
}

std::optional<int64_t> DirtySet::held_until(NodeId dir, std::string_view name) const {
  return state_->holds.until(dir, name);
}

void DirtySet::forget(NodeId dir) {
  state_->pending.erase(dir);
  state_->holds.forget(dir);
}

std::optional<DirtyDir> DirtySet::take(int64_t now_ns, bool force,
                                       const std::function<bool(NodeId)>& blocked) {
  return state_->pending.take(force ? INT64_MAX : now_ns, blocked);
}

bool DirtySet::empty() const { return state_->pending.dir_count() == 0; }

bool DirtySet::recursive_pending() const { return state_->pending.totals().recursive > 0; }

size_t DirtySet::size() const {
  return state_->pending.totals().names + state_->pending.totals().marks;
}

std::optional<uint64_t> DirtySet::lowest_epoch() const {
  const auto& epochs = state_->pending.totals().epochs;
  if (epochs.empty()) return std::nullopt;
  return epochs.begin()->first;
}

std::optional<int64_t> DirtySet::next_due_ns() const { return state_->pending.first_due(); }

std::optional<int64_t> DirtySet::next_due_after(int64_t now_ns) const {
  return state_->pending.first_due_after(now_ns);
}

}  // namespace holdfast
