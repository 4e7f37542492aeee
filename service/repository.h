// The file `repository` of a state (docs/formats/repository.md), and the same from the packs, whose
// headers hold all that it says.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "store/store.h"

namespace holdfast {

// kNotFound where there is none, kDamaged where it is not what was written, kUnsupported for a
// newer format.
Result<RepositoryInfo> read_repository(const std::string& path);
Status write_repository(const std::string& path, const RepositoryInfo& info);
Result<RepositoryInfo> create_repository(const std::string& path, const Clock& clock);
// Every field is what write_repository() writes, those that nobody reads too. Words, where not.
std::optional<std::string> repository_flaw(const std::string& path, const RepositoryInfo& info);

// The first 8 hex digits of the id, which the names of the packs begin with.
std::string pack_prefix(const RepositoryInfo& info);
// The prefixes of all files in `packs_dir` that are named like packs.
Result<std::vector<std::string>> pack_prefixes(const std::string& packs_dir);
// What the headers of the packs say. kNotFound: there are no packs. kDamaged: none has a sound
// header, or they are of several repositories.
Result<RepositoryInfo> repository_of_packs(const std::string& packs_dir);

}  // namespace holdfast
