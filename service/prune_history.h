// PruneHistory: which contents are gone because they were pruned, and not lost. One thread; the
// transaction must outlive it.
#pragma once

#include <utility>
#include <vector>

#include "service/state.h"

namespace holdfast {

class PruneHistory {
 public:
  // Reads the whole journal for what each prune said that it keeps.
  static Result<PruneHistory> load(const State& state, const LmdbTxn& txn) {
    PruneHistory history(state, txn);
    TRY(state.journal->for_each_record(txn, Sequence{1}, false, [&](const Record& record) {
      if (record.kind != RecordKind::kService || !record.note.starts_with(kPruneNote)) {
        return Visit::kContinue;
      }
      if (auto kept = kept_of_words(record.note)) {
        history.prunes_.emplace_back(record.seq, std::move(*kept));
      }
      return Visit::kContinue;
    }));
    return history;
  }
  // Slow: for a record whose content is not there.
  bool dropped(const Record& record) const {
    for (const auto& [seq, kept] : prunes_) {
      if (seq < record.seq) continue;
      const auto seen = state_->journal->is_seen(*txn_, record, kept);
      if (seen.ok() && !*seen) return true;
    }
    return false;
  }

 private:
  PruneHistory(const State& state, const LmdbTxn& txn) : state_(&state), txn_(&txn) {}
  const State* state_;
  const LmdbTxn* txn_;
  std::vector<std::pair<Sequence, Kept>> prunes_;
};

}  // namespace holdfast
