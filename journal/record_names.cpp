#include <array>
#include <cstddef>

#include "journal/record.h"

namespace holdfast {

namespace {

// Indexed by the number of the kind; kLink shares the word of kCreate, because that is what it is
// to a reader of the log: a name that was not there before.
constexpr std::array<const char*, 19> kKindNames = {
    "",         "create", "modify",     "attrib",     "rename",
    "delete",   "gap",    "clock_step", "clock_skew", "volume_time_shift",
    "verify",   "heal",   "accept",     "restore",    "seed",
    "snapshot", "dump",   "service",    "create",
};

constexpr std::array<const char*, 24> kVerdictNames = {
    "none",
    "ok",
    "read_error",
    "unstable",
    "unstable_media",
    "attr_only",
    "time_only",
    "replaced_same",
    "modified_no_stamp",
    "suspect",
    "corrupt",
    "corrupt_metadata",
    "crash_loss",
    "mtime_preserved",
    "stealth_modify",
    "restored_older",
    "replaced_older",
    "rollback_suspicious",
    "clock_step_artefact",
    "ctime_anomaly",
    "modified",
    "modified_unseen",
    "modified_offline",
    "replaced",
};

constexpr std::array<const char*, 19> kFlagNames = {
    "mtime_set",  "unstable",         "racy",   "unreadable", "offline",      "sparse", "replaced",
    "root_added", "snapshot_removed", "writer", "unprobed",   "future_mtime", "own",    "damaged",
    "lost",       "rejected",         "live",   "unproven",   "not_kept",
};

}  // namespace

const char* record_kind_name(RecordKind kind) {
  const auto number = static_cast<size_t>(kind);
  return number < kKindNames.size() ? kKindNames[number] : "";
}

std::optional<RecordKind> record_kind_of(std::string_view name) {
  for (size_t number = 1; number < kKindNames.size(); ++number) {
    if (name == kKindNames[number]) return static_cast<RecordKind>(number);
  }
  return std::nullopt;
}

const char* verdict_name(Verdict verdict) {
  const auto number = static_cast<size_t>(verdict);
  return number < kVerdictNames.size() ? kVerdictNames[number] : "";
}

std::optional<Verdict> verdict_of(std::string_view name) {
  for (size_t number = 0; number < kVerdictNames.size(); ++number) {
    if (name == kVerdictNames[number]) return static_cast<Verdict>(number);
  }
  return std::nullopt;
}

std::vector<std::string> record_flag_names(uint32_t flags) {
  std::vector<std::string> names;
  for (size_t bit = 0; bit < kFlagNames.size(); ++bit) {
    if (flags & (1u << bit)) names.emplace_back(kFlagNames[bit]);
  }
  return names;
}

}  // namespace holdfast
