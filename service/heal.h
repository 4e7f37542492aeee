// Heal: brings corrupt files back from their last good version: the damaged bytes are captured as a
// version of their own, the good ones written beside the file, synced, read again from the disk,
// and only then given its name. Blocking; any thread but the engine's.
#pragma once

#include <string>
#include <vector>

#include "service/gate.h"
#include "service/query.h"
#include "service/verify_read.h"

namespace holdfast {

struct HealOutcome {
  NodeId node;
  Root root;
  std::string path;  // relative
  Sequence seq;      // of the heal record; 0 where it failed
  std::string why;   // it failed
};

// All files at or below `paths` whose verdict says that their content is not what it was.
Result<std::vector<HealOutcome>> heal(State& state, Gate& gate, const std::vector<UserPath>& paths,
                                      const std::function<bool()>& cancelled);

// An open verdict, with the path of its file.
struct OpenVerdict {
  Standing standing;
  UserPath path;
  bool gone = false;  // the file has no name any more
};
Result<std::vector<OpenVerdict>> open_verdicts(State& state, const LmdbTxn& txn);
bool lies_below(const UserPath& path, const UserPath& above);  // or is the same

}  // namespace holdfast
