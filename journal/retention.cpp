#include "journal/retention.h"

#include <algorithm>
#include <charconv>

namespace holdfast {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kHour = 3600 * kSecond, kDay = 24 * kHour, kWeek = 7 * kDay;
constexpr int64_t kFirstMonday = 4 * kDay;  // 1970-01-05
constexpr size_t kMomentsInWords = 50'000;  // of a note, which has room for a megabyte

int64_t floor_to(int64_t time_ns, int64_t unit_ns, int64_t origin_ns) {
  const int64_t since = time_ns - origin_ns;
  int64_t units = since / unit_ns;
  if (since % unit_ns < 0) --units;
  return origin_ns + units * unit_ns;
}

// Days since 1970 of the first of a month, months counted from January 1970. The algorithm is that
// of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms" (days_from_civil).
int64_t days_of_month(int64_t months) {
  int64_t year = 1970 + (months >= 0 ? months / 12 : -((11 - months) / 12));
  const int64_t month = months - (year - 1970) * 12 + 1;  // 1..12
  if (month <= 2) --year;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

// The month that a time is in.
int64_t month_of(int64_t time_ns) {
  const int64_t days = floor_to(time_ns, kDay, 0) / kDay;
  int64_t months = days / 31 - 1;  // a few too early at most
  while (days_of_month(months + 1) <= days) ++months;
  while (days_of_month(months) > days) --months;
  return months;
}

}  // namespace

std::vector<int64_t> kept_times(const RetentionPolicy& policy, int64_t now_ns) {
  std::vector<int64_t> times;
  const auto add = [&](int64_t unit_ns, int64_t origin_ns, uint32_t count) {
    const int64_t newest = floor_to(now_ns, unit_ns, origin_ns);
    for (uint32_t i = 0; i < count; ++i) times.push_back(newest - int64_t{i} * unit_ns);
  };
  add(kHour, 0, policy.hourly);
  add(kDay, 0, policy.daily);
  add(kWeek, kFirstMonday, policy.weekly);
  const int64_t month = month_of(now_ns);
  for (uint32_t i = 0; i < policy.monthly; ++i) times.push_back(days_of_month(month - i) * kDay);
  const int64_t all_from = now_ns - policy.all_ns;
  std::erase_if(times, [&](int64_t time_ns) { return time_ns >= all_from; });
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());
  return times;
}

bool Kept::sees(Sequence from, Sequence until) const {
  if (until.value == 0 || until > since) return true;
  const auto next = std::lower_bound(moments.begin(), moments.end(), from);
  return next != moments.end() && *next < until;
}

std::optional<Kept> kept_of_words(std::string_view words) {
  const auto take = [&](std::string_view text) {
    const size_t at = words.find(text);
    if (at == std::string_view::npos) return false;
    words.remove_prefix(at + text.size());
    return true;
  };
  const auto number = [&] {
    uint64_t value = 0;
    const auto end = std::from_chars(words.data(), words.data() + words.size(), value).ptr;
    words.remove_prefix(static_cast<size_t>(end - words.data()));
    return value;
  };
  Kept kept;
  if (!take("everything from @")) return std::nullopt;
  kept.since.value = number();
  if (!take(" on")) return std::nullopt;
  if (words.starts_with(", the ") && !take(" moments")) return std::nullopt;
  while (words.starts_with(" @")) {
    words.remove_prefix(2);
    kept.moments.push_back(Sequence{number()});
  }
  if (!take("its newest ")) return std::nullopt;
  kept.last = static_cast<uint32_t>(number());
  return kept;
}

std::string words_for_kept(const Kept& kept) {
  std::string words = "everything from @" + std::to_string(kept.since.value) + " on";
  if (!kept.moments.empty()) {
    words += ", the " + std::to_string(kept.moments.size()) + " moments";
    for (size_t i = 0; i < std::min(kept.moments.size(), kMomentsInWords); ++i) {
      words += " @" + std::to_string(kept.moments[i].value);
    }
    if (kept.moments.size() > kMomentsInWords) words += " …";
  }
  return words + ", and of each file that is there its newest " + std::to_string(kept.last) +
         (kept.last == 1 ? " content" : " contents");
}

}  // namespace holdfast
