#include "service/pruned.h"

#include <algorithm>

namespace holdfast {

Result<Pruned> Pruned::load(const Journal& journal, const LmdbTxn& txn) {
  Pruned pruned;
  TRY(journal.for_each_record(txn, Sequence{1}, false, [&](const Record& record) {
    if (record.kind != RecordKind::kService || !record.note.starts_with(kPruneNote)) {
      return Visit::kContinue;
    }
    if (auto kept = kept_of_words(record.note)) {
      pruned.prunes_.emplace_back(record.seq, std::move(*kept));
    }
    return Visit::kContinue;
  }));
  return pruned;
}

bool Pruned::has(const Journal& journal, const LmdbTxn& txn, const Record& record) const {
  return std::any_of(prunes_.begin(), prunes_.end(), [&](const auto& prune) {
    if (prune.first < record.seq) return false;
    const auto seen = journal.is_seen(txn, record, prune.second);
    return seen.ok() && !*seen;
  });
}

}  // namespace holdfast
