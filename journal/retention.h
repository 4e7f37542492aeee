// Retention: which moments are kept, and so which versions. Pure; docs/retention.md explains it to
// users.
//
// A version of a file is kept as long as a kept moment sees it. Kept are: every moment of the time
// `all`; before that the beginnings of the last hours, days, weeks (Mondays) and months that a
// policy names, in UTC; and each snapshot. Of every file that is there now its newest `last`
// contents are kept besides, however old. Records are never dropped, only contents.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace holdfast {

struct RetentionPolicy {
  int64_t all_ns = 48LL * 3600 * 1'000'000'000;
  uint32_t hourly = 0, daily = 0, weekly = 0, monthly = 0;
  uint32_t last = 1;
  bool operator==(const RetentionPolicy&) const = default;
};
// Nothing that anybody would miss: for who asks for `prune` and has no policy.
inline constexpr RetentionPolicy kDefaultRetention{48LL * 3600 * 1'000'000'000, 72, 30, 12, 12, 7};

// The policy's moments before now - all_ns, as times since 1970 in nanoseconds, ascending.
std::vector<int64_t> kept_times(const RetentionPolicy& policy, int64_t now_ns);

struct Kept {
  Sequence since;                 // every moment from here on
  std::vector<Sequence> moments;  // before that, ascending
  uint32_t last = 1;              // newest contents of each file that is there
  // Whether a kept moment lies in [from, until); an `until` of 0 is now.
  bool sees(Sequence from, Sequence until) const;
};
// For the journal and for people, and back. nullopt: other words.
std::string words_for_kept(const Kept& kept);
std::optional<Kept> kept_of_words(std::string_view words);
// What the note of a service record begins with that says what a prune keeps.
inline constexpr std::string_view kPruneNote = "pruning; kept is ";

}  // namespace holdfast
