// SeedRules: what becomes of one path when a volume is seeded from an image, by the lineage of
// contents and never by times. The table is that of docs/seed.md. Pure functions; any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace holdfast {

// What a path has: a regular file's content, a symlink's target, a device's number, or only a type.
struct SeedValue {
  FileType type = FileType::kFile;
  ContentHash hash;
  auto operator<=>(const SeedValue&) const = default;
};
SeedValue seed_value_of_link(std::string_view target);
SeedValue seed_value_of_special(FileType type, uint64_t rdev);  // all but files and symlinks

enum class SeedAction : uint8_t {
  kSame,  // adopted before, nothing to be done
  kAdopt,
  kInstall,
  kPutBack,
  kLeave,
  kUpdate,
  kReplace,
  kSettle,
  kKeep,
  kConflict,
  kHeal,
  kForget,
  kRemove,
  kOrphan,
  kAttrib,  // not of the table: only mode or owner follow the image
};
inline constexpr size_t kSeedActions = 15;
const char* seed_action_name(SeedAction action);  // "put_back", ... as the JSON has them

enum class SeedPolicy : uint8_t { kKeep, kReplace, kFail };
std::optional<SeedPolicy> seed_policy_of(std::string_view name);

struct SeedState {
  std::optional<SeedValue> image, volume, seeded;
  std::vector<SeedValue> earlier;  // what images brought to this path before
  bool damaged = false;            // an open verdict says that the volume's content is damaged
  // What the options say of this path.
  SeedPolicy policy = SeedPolicy::kKeep;
  bool force = false, mine = false, remove = false, respect_deletes = false;
};

struct SeedDecision {
  SeedAction action = SeedAction::kSame;
  const char* why = "";  // for a person
  bool writes() const;   // something changes in the volume
  bool answers() const;  // from now on, what the image has is what was last seeded
};
SeedDecision decide_seed(const SeedState& state);

}  // namespace holdfast
