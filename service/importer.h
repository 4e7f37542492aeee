// Importer: an archive becomes the whole of a virtual root, as one moment (docs/import.md).
//
//   read: contents into the store -> compare with the journal -> records -> snapshot
//
// Nothing is journaled before the archive has been read to its end and is sound. Any thread but the
// engine's; blocks.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "service/gate.h"
#include "service/import_plan.h"
#include "service/unpack.h"

namespace holdfast {

struct ImportOptions {
  std::string root;
  size_t strip = 0;
  std::string message;
};

struct ImportResult {
  Snapshot snapshot;
  ImportCounts counts;
  uint64_t new_bytes = 0;  // of contents that were not in the store
  uint64_t stripped = 0;   // members of whose name nothing was left
  uint64_t left_out = 0;
  std::vector<std::pair<std::string, std::string>> named;  // of those: name and why, a thousand
};

// `read` gives the archive, packed or not. kDamaged: it is none, or is cut off or damaged; where is
// said.
Result<ImportResult> import_tar(State& state, Gate& gate, const Clock& clock,
                                const ImportOptions& options, const ReadBytes& read);

}  // namespace holdfast
