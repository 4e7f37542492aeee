// What pruning asks of the engine, between batches, on its thread.
#include "service/engine.h"
#include "service/engine_parts.h"

namespace holdfast {

namespace {
// How long a change of the store gives way: nobody who captures waits for more than one of them,
// and where captures never end, pruning still does.
constexpr int64_t kGiveWayNs = 20'000'000;
constexpr int64_t kBusyNs = 1'000'000'000;
}  // namespace

Status Engine::seal_pack(const std::string& note) {
  if (stall_) return *stall_;
  auto done = [&]() -> Status {
    TRY(commit());
    TRY(state_.store->seal());
    Record record;
    record.kind = RecordKind::kService;
    record.note = note;
    TRY(append(record));
    return commit();
  }();
  if (!done.ok()) fail_batch(done.error());
  return done;
}

void Engine::set_leaving(const std::vector<uint32_t>& packs) { state_.store->set_leaving(packs); }

void Engine::with_store(const StoreChange& change, std::function<void(const Status&)> done) {
  store_waiters_.push_back({change, std::move(done), clock_.boottime_ns() + kGiveWayNs});
  change_store();
}

bool Engine::is_busy() const {
  return batch_ || !waiters_.empty() || clock_.boottime_ns() - committed_ns_ < kBusyNs;
}

// One at a time, so that events are read in between. False: none is due.
bool Engine::change_store() {
  if (store_waiters_.empty()) return false;
  const bool calm = waiters_.empty() && !batch_;
  if (!calm && clock_.boottime_ns() < store_waiters_.front().until_ns) return false;
  const StoreWaiter waiter = std::move(store_waiters_.front());
  store_waiters_.pop_front();
  waiter.done(change_store_now(waiter.change));
  return true;
}

// Not in the batch: where the change is refused, what was captured meanwhile is kept. A full disk
// is no reason to refuse, since it may be what gets some room.
Status Engine::change_store_now(const StoreChange& change) {
  if (batch_) {
    if (auto committed = commit(); !committed.ok()) {
      fail_batch(committed.error());
      return committed;
    }
  }
  TRY_ASSIGN(const auto open, state_.env->begin_write());
  TRY(change(*state_.store, *open));
  return open->commit();
}

}  // namespace holdfast
