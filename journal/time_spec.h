// What a person may write for --at, --since, --until, and durations (--timeout, --max-age). Pure.
//
// "@1234" | "now" | RFC 3339 ("2026-11-20T14:03:07.5Z", any offset) | "2026-11-20 14:03[:07[.5]]"
// (local) | "2026-11-20" (local midnight) | "14:03" (today, local) | "yesterday[ 14:00]" | "today[
// 14:00]" |
// "<n> <unit>[s] ago" ("10 minutes ago", "10m ago", "1.5 hours ago") | a snapshot's name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "base/types.h"

namespace holdfast {

struct TimePoint {
  int64_t wall_ns = 0;
};
struct SnapshotName {
  std::string name;
};
struct Now {};
using TimeSpec = std::variant<Now, Sequence, TimePoint, SnapshotName>;

// `now_wall_ns` anchors relative words. Local times use the process's time zone (localtime_r). A
// text of no known form is taken as a snapshot's name if it could be one ([A-Za-z0-9._:-]+), else
// kUsage with examples of what would be understood. Out-of-range fields (month 13, 30 February) are
// kUsage.
Result<TimeSpec> parse_time_spec(std::string_view text, int64_t now_wall_ns);

// "90s" "10m" "48h" "7d" "2w" "1500ms" "1h30m"; a bare number is seconds. Nanoseconds, >= 0.
Result<int64_t> parse_duration_ns(std::string_view text);

// RFC 3339 in UTC with nine digits: "2026-11-20T14:03:07.500000000Z".
std::string format_time(int64_t wall_ns);
// For people: local time, seconds: "2026-11-20 14:03:07".
std::string format_local_time(int64_t wall_ns);

}  // namespace holdfast
