// Verdicts: what kind of change an observation is, by one table (docs/verdicts.md).
//
// Pure functions from values to values, thread-safe. The table in the document is the specification
// and a test compares the two over the whole space of inputs: the first row that fits answers, one
// always does, and none is without an input that it answers.
#pragma once

#include <string>
#include <vector>

#include "journal/record.h"

namespace holdfast {

// How the reading of the file went.
enum class Reading : uint8_t {
  kSound,
  kFailed,     // EIO, EBADMSG: the medium or its checksums refuse
  kUnsettled,  // statx before and after differ, or (where nothing was told) a writer has it open
  kDisagrees,  // two readings differ while no stamp moves
};
// A stamp now, compared with the baseline's.
enum class Stamp : uint8_t { kSame, kEarlier, kLater };
// Whether the change was told.
enum class Told : uint8_t {
  kSeen,       // an event told of it
  kUnseen,     // none did, though the directory was watched without a hole since the baseline
  kUncovered,  // nobody can know: the service was off, events were lost, the place is polled
};

struct Evidence {
  Reading reading = Reading::kSound;
  bool same_content = true;  // implies same_size
  bool same_size = true;
  Stamp mtime = Stamp::kSame;
  Stamp ctime = Stamp::kSame;
  bool same_identity = true;
  Told told = Told::kSeen;
  // The baseline was read with no writer about and is not racy, on a file system whose stamps move
  // with every change.
  bool clean_baseline = true;
  bool known_content = false;   // the path has had this content before
  bool clock_set_back = false;  // on record since the baseline
  bool unclean_boot = false;    // the machine went down without a stop since the baseline
};

Verdict classify(const Evidence& evidence);
int verdict_row(const Evidence& evidence);  // which row of the table answered, from 0

// The relations between a baseline and what is there now, as far as the two records tell; the rest
// of the evidence is the caller's. An mtime that a program had set ahead of its own ctime counts as
// that ctime: a later ordinary write does not go back in time.
Evidence evidence_of(const Record& baseline, const Record& now);

// The baseline's own word for its worth, where stamps can be trusted (base/fs_type.h).
inline bool is_clean_baseline(const Record& baseline) {
  constexpr uint32_t kDoubts =
      kFlagUnstable | kFlagRacy | kFlagUnreadable | kFlagWriter | kFlagUnprobed;
  return (baseline.flags & kDoubts) == 0;
}

// A verdict that stays open until somebody answers it (accept, heal, restore): docs/verdicts.md.
bool stands(Verdict verdict);
// Worth a line in the log when it is given.
inline bool is_told(Verdict verdict) {
  return stands(verdict) || verdict == Verdict::kRollbackSuspicious;
}
// The content on disk is not what was written: the journal keeps the last good version as the
// file's version.
bool is_corruption(Verdict verdict);
// A standing verdict that goes by itself when the file is read again and is what it was.
bool ends_by_itself(Verdict verdict);

}  // namespace holdfast
