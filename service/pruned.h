// Pruned: which contents a prune dropped, so that nobody takes them for lost.
#pragma once

#include <utility>
#include <vector>

#include "journal/journal.h"

namespace holdfast {

class Pruned {
 public:
  // Reads what each prune kept, in the order of the journal.
  static Result<Pruned> load(const Journal& journal, const LmdbTxn& txn);
  // Whether a prune after the record kept no moment that sees it. Slow: for the odd record whose
  // content is missing.
  bool has(const Journal& journal, const LmdbTxn& txn, const Record& record) const;

 private:
  std::vector<std::pair<Sequence, Kept>> prunes_;
};

}  // namespace holdfast
