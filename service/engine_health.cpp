// What the engine tells of itself: status, totals, and until when it knows to be up to date.
#include <algorithm>

#include "service/engine.h"
#include "service/engine_parts.h"

namespace holdfast {

// Whether all that had happened by a drain is journaled by now. With nothing left to do, that is
// the last drain; else one drain after the other is followed to its end. So an idle tree is up to
// date whenever somebody asks, and one whose looks or captures hang is not.
void Engine::tend_proof() {
  if (stall_ || mounts_changed_) return;
  const auto lowest = lowest_epoch();
  if (!lowest && !batch_) {
    proof_.reset();
    note_caught_up(drained_ns_);
    return;
  }
  if (!proof_) {
    proof_ = {epoch_++, drained_ns_, std::nullopt};
    return;
  }
  if (!proof_->done_at_commit) {
    if (lowest && *lowest <= proof_->epoch) return;
    proof_->done_at_commit = commits_;
  }
  if (batch_ && commits_ == *proof_->done_at_commit) return;
  note_caught_up(proof_->until_ns);
  proof_.reset();
}

void Engine::note_caught_up(int64_t until_ns) {
  for (auto& root : roots_) {
    if (root->lost) continue;
    // Of what no event tells, only the last sweep knows, or the first look.
    const bool swept = root->polled || !root->degraded.empty();
    const int64_t known_ns = swept ? std::max(root->swept_ns, root->added_ns) : until_ns;
    if (until_ns < root->added_ns) continue;
    root->caught_up_ns = std::max(root->caught_up_ns, std::min(known_ns, until_ns));
  }
}

Status Engine::store_frame(const NewFrame& frame) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY(state_.store->append(*open, frame));
  for (const ChunkInFrame& chunk : frame.chunks) batch_->added.stored_raw_bytes += chunk.bytes;
  batch_->added.stored_bytes += frame.bytes.size();
  space_->written_bytes += frame.bytes.size();
  return {};
}

void Engine::count_capture(size_t root, const CaptureResult& result) {
  if (result.state == CaptureState::kGone) return;
  if (result.state == CaptureState::kUnreadable) return totals_.count(Trouble::kUnreadable);
  if (result.state == CaptureState::kUnstable) totals_.count(Trouble::kUnstable);
  RootTotals& of_root = roots_[root]->totals;
  ++of_root.captures;
  if (result.type == FileType::kFile) of_root.captured_bytes += result.stat.size;
  totals_.capture.observe(result.took_ns);
}

void Engine::count_batch(const Batch& batch) {
  ++commits_;
  for (size_t kind = 0; kind < kRecordKinds; ++kind) {
    totals_.records[kind] += batch.added.records[kind];
  }
  totals_.stored_raw_bytes += batch.added.stored_raw_bytes;
  totals_.stored_bytes += batch.added.stored_bytes;
}

void Engine::root_problems(const RootState& root, std::vector<EngineProblem>& problems) const {
  const std::string& name = root.spec.name;
  for (const std::string& problem : root.degraded) {
    problems.push_back({"coverage", problem, name, "degraded"});
  }
  if (!root.unlisted.empty()) {
    problems.push_back({"coverage",
                        std::to_string(root.unlisted.size()) +
                            " directories cannot be read, or not in full, so what is in them is "
                            "not kept up to date; holdfast log --kind gap names them",
                        name, "unlisted"});
  }
  if (root.lost) {
    problems.push_back({"coverage",
                        root.spec.path + " is not there; nothing is recorded as deleted, "
                                         "and watching resumes when it is back",
                        name, "lost"});
  }
}

EngineStatus Engine::status() {
  tend_proof();
  EngineStatus status;
  const auto read = state_.env->begin_read();
  if (read.ok()) {
    if (auto head = state_.journal->head(**read); head.ok()) status.seq = head->seq;
  }
  status.scanning = !walk_stack_.empty() || scans_running_ > 0;
  const int64_t now = clock_.boottime_ns();
  for (const auto& root : roots_) {
    RootStatus entry;
    entry.name = root->spec.name;
    entry.path = root->spec.path;
    entry.backend = root->watcher ? root->watcher->backend() : "none";
    if (read.ok()) {
      const auto counts = state_.journal->counts(**read, root->root.node);
      entry.files = counts.ok() ? static_cast<uint64_t>(std::max<int64_t>(0, counts->files)) : 0;
      entry.bytes = counts.ok() ? static_cast<uint64_t>(std::max<int64_t>(0, counts->bytes)) : 0;
    }
    entry.degraded = root->degraded;
    entry.lost = root->lost;
    entry.coverage = coverage_of(*root, status.scanning);
    entry.backend_why = root->backend_why;
    if (auto due = root->dirty->next_due_ns(); due && *due < now) {
      entry.lag_ms = (now - *due) / 1'000'000;
    }
    if (root->caught_up_ns != 0) entry.caught_up_ago_ns = now - root->caught_up_ns;
    entry.queued = root->dirty->size();
    entry.unlisted = root->unlisted.size();
    if (entry.backend == "inotify") entry.watches = root->watcher->dir_count();
    if (entry.backend == "fanotify") entry.watches = 1;  // a mark for all of the file system
    entry.totals = root->totals;
    root_problems(*root, status.problems);
    status.roots.push_back(std::move(entry));
  }
  std::vector<std::string> databases;
  database_problems(databases);
  for (std::string& problem : databases) {
    status.problems.push_back({"databases", std::move(problem), "", ""});
  }
  if (stall_) {
    status.stalled = stall_->message;
    status.problems.push_back({"writing", stall_->message, "", "stalled"});
  }
  space_problems(status.problems);
  status.space = space_status();
  clock_status(status);
  status.up_ns = now - started_ns_;
  if (pipeline_.tasks_outstanding() > 0) status.stuck_ns = now - progress_ns_;
  for (const auto& [epoch, count] : outstanding_) status.under_way += count;
  status.totals = totals_;
  return status;
}

}  // namespace holdfast
