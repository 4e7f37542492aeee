// Repair: saves all that is sound of a damaged state, and names what is lost.
//
// Packs that are damaged, missing or swapped are replaced by whole ones: their sound frames, with
// the records that they lack from the journal, or a record that stands for them where nobody has
// them. Then the journal is made anew from the packs, contents that live files still have are
// stored again, and the journal is told what is lost. What is replaced goes to `damaged/`. Killed
// at any point, it can be run again. No service may have the state.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "service/rebuild.h"
#include "service/refetch.h"

namespace holdfast {

struct RepairResult {
  std::string state;
  std::vector<std::string> found;     // what is wrong
  std::vector<std::string> replaced;  // packs that were written anew
  struct Span {
    Sequence first, last;
  };
  std::vector<Span> lost_records;
  bool rebuilt = false;
  uint64_t records_saved = 0;  // that a pack lacked, and the journal had
  RefetchResult contents;
};

Result<RepairResult> repair_state(const std::string& dir, const Clock& clock, Log& log,
                                  const RebuildProgress& progress);

}  // namespace holdfast
