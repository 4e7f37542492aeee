// What pruning asks of the engine, between batches, on its thread.
#include "service/engine.h"
#include "service/engine_parts.h"

namespace holdfast {

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

// Not in the batch: where the change is refused, what was captured meanwhile is kept. A full disk
// is no reason to refuse, since it may be what gets some room.
Status Engine::with_store(const std::function<Status(Store&, WriteTxn&)>& change) {
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
