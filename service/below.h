// What was recorded at a path and below it, without reading what was recorded elsewhere.
//
// Reads only; any thread, with its own ReadTxn.
#pragma once

#include <optional>
#include <vector>

#include "service/query.h"

namespace holdfast {

// The sequences from `first` to `last`, in order, of records that may be about the path or what lay
// below it at their moment: all that are, and some more. nullopt: that would take more than
// `steps_max` rows; reading all records is no more work then.
Result<std::optional<std::vector<Sequence>>> sequences_below(const Journal& journal,
                                                             const LmdbTxn& txn,
                                                             const std::vector<Life>& lives,
                                                             Sequence first, Sequence last,
                                                             uint64_t steps_max);

}  // namespace holdfast
