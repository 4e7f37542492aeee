#include "service/seed_rules.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <string>

#include "base/hash.h"

namespace holdfast {

namespace {

constexpr std::array<const char*, kSeedActions> kNames{
    "same", "adopt",    "install", "put_back", "leave",  "update", "replace", "settle",
    "keep", "conflict", "heal",    "forget",   "remove", "orphan", "attrib"};

bool brought_by_an_image(const SeedState& state) {
  return state.volume == state.seeded || std::find(state.earlier.begin(), state.earlier.end(),
                                                   *state.volume) != state.earlier.end();
}

SeedDecision conflict(const SeedState& state, const char* why) {
  if (state.policy == SeedPolicy::kReplace) {
    return {SeedAction::kReplace, "a conflict, and the policy is to replace"};
  }
  return {SeedAction::kConflict, why};
}

SeedDecision decide_missing(const SeedState& state) {
  if (!state.seeded) return {SeedAction::kInstall, "new in the image"};
  if (state.force) return {SeedAction::kPutBack, "it was deleted, and this was forced"};
  if (state.respect_deletes) return {SeedAction::kLeave, "it was deleted in the volume"};
  return {SeedAction::kPutBack, "it was deleted in the volume; --respect-deletes leaves that"};
}

SeedDecision decide_gone(const SeedState& state) {
  if (!state.volume) return {SeedAction::kForget, "neither the image nor the volume has it"};
  if (!brought_by_an_image(state)) {
    return {SeedAction::kKeep, "the image does not have it any more, and it was changed"};
  }
  if (state.remove) return {SeedAction::kRemove, "the image does not have it any more"};
  return {SeedAction::kOrphan, "the image does not have it any more; --delete removes it"};
}

}  // namespace

SeedValue seed_value_of_link(std::string_view target) {
  return {FileType::kSymlink, content_hash(target)};
}

SeedValue seed_value_of_special(FileType type, uint64_t rdev) {
  if (type != FileType::kChar && type != FileType::kBlock) return {type, {}};
  return {type, content_hash(std::to_string(major(rdev)) + ":" + std::to_string(minor(rdev)))};
}

const char* seed_action_name(SeedAction action) { return kNames[static_cast<size_t>(action)]; }

std::optional<SeedPolicy> seed_policy_of(std::string_view name) {
  if (name.empty() || name == "keep") return SeedPolicy::kKeep;
  if (name == "replace") return SeedPolicy::kReplace;
  if (name == "fail") return SeedPolicy::kFail;
  return std::nullopt;
}

bool SeedDecision::writes() const {
  switch (action) {
    case SeedAction::kInstall:
    case SeedAction::kPutBack:
    case SeedAction::kUpdate:
    case SeedAction::kReplace:
    case SeedAction::kHeal:
    case SeedAction::kRemove: return true;
    default: return false;
  }
}

bool SeedDecision::answers() const {
  switch (action) {
    case SeedAction::kAdopt:
    case SeedAction::kInstall:
    case SeedAction::kPutBack:
    case SeedAction::kUpdate:
    case SeedAction::kReplace:
    case SeedAction::kSettle: return true;
    default: return false;
  }
}

SeedDecision decide_seed(const SeedState& state) {
  if (state.volume && state.damaged) {
    return {SeedAction::kHeal, "its content is damaged, which is nobody's edit"};
  }
  if (!state.image) return decide_gone(state);
  if (!state.volume) return decide_missing(state);
  if (state.volume == state.image) {
    if (state.seeded == state.image) return {SeedAction::kSame, ""};
    return {SeedAction::kAdopt, "the volume has what the image has"};
  }
  if (state.force) return {SeedAction::kReplace, "this was forced"};
  if (state.mine) return {SeedAction::kSettle, "what the volume has is right, --mine says"};
  if (state.volume->type != state.image->type) {
    return conflict(state, "it is of another type than in the image");
  }
  if (state.volume == state.seeded) {
    return {SeedAction::kUpdate, "the image has a new one, and nobody changed this one"};
  }
  if (brought_by_an_image(state)) {
    return {SeedAction::kUpdate, "it is what an earlier image brought"};
  }
  if (state.seeded == state.image) {
    return {SeedAction::kKeep, "it was changed in the volume, and not in the image"};
  }
  if (state.seeded) return conflict(state, "it was changed in the volume and in the image");
  return conflict(state, "it was in the volume before it was in the image, and differs");
}

}  // namespace holdfast
