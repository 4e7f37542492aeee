#include "journal/time_spec.h"

#include <time.h>

#include <array>
#include <cstdio>
#include <optional>

#include "base/clock.h"

namespace holdfast {

namespace {

constexpr int64_t kMinuteNs = 60 * kSecondNs;
constexpr int64_t kHourNs = 60 * kMinuteNs;
constexpr int64_t kDayNs = 24 * kHourNs;
constexpr int64_t kWeekNs = 7 * kDayNs;

Error not_understood(std::string_view text, const std::string& why) {
  return make_error(ErrorCode::kUsage,
                    "cannot understand the time '" + std::string(text) + "': " + why +
                        "; try '@1234', '2026-11-20 14:03', '2026-11-20T14:03:07Z', '14:03', "
                        "'yesterday 14:00', '10 minutes ago', 'now' or the name of a snapshot");
}
Error bad_duration(std::string_view text, const std::string& why) {
  return make_error(ErrorCode::kUsage, "cannot understand the duration '" + std::string(text) +
                                           "': " + why +
                                           "; try '90s', '10m', '1h30m', '48h' or '7d'");
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }

// Reads from the front of a text; every function leaves the text alone where it returns false.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}
  bool done() const { return rest_.empty(); }
  char peek(size_t at = 0) const { return at < rest_.size() ? rest_[at] : '\0'; }
  bool literal(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  // Exactly `digits` digits.
  bool number(int digits, int& out) {
    int value = 0;
    for (int i = 0; i < digits; ++i) {
      if (!is_digit(peek(static_cast<size_t>(i)))) return false;
      value = value * 10 + (peek(static_cast<size_t>(i)) - '0');
    }
    rest_.remove_prefix(static_cast<size_t>(digits));
    out = value;
    return true;
  }
  std::string_view digits() { return run(is_digit); }
  std::string_view letters() { return run(is_lower); }

 private:
  std::string_view run(bool (*wanted)(char)) {
    size_t size = 0;
    while (size < rest_.size() && wanted(rest_[size])) ++size;
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  std::string_view rest_;
};

struct Date {
  int year = 1970;
  int month = 1;
  int day = 1;
};
struct TimeOfDay {
  int hour = 0;
  int minute = 0;
  int second = 0;
  int64_t nanos = 0;
};

bool leap_year(int year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

bool valid(const Date& date) {
  static constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (date.month < 1 || date.month > 12 || date.day < 1) return false;
  const int extra = date.month == 2 && leap_year(date.year) ? 1 : 0;
  return date.day <= kDays[static_cast<size_t>(date.month - 1)] + extra;
}
bool valid(const TimeOfDay& time) {
  return time.hour <= 23 && time.minute <= 59 && time.second <= 59;
}

// Days since 1970-01-01 of a proleptic Gregorian date, counting in eras of 400 years that begin in
// March (Howard Hinnant, "chrono-compatible low-level date algorithms").
int64_t days_since_1970(const Date& date) {
  const int64_t year = date.month <= 2 ? date.year - 1 : date.year;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year =
      (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719468;
}

// nullopt outside of what 64 bits of nanoseconds hold (1677 to 2262).
std::optional<int64_t> to_ns(int64_t seconds, int64_t nanos) {
  if (seconds < 0 && nanos > 0) {  // so that the product of the very first second fits
    ++seconds;
    nanos -= kSecondNs;
  }
  int64_t result = 0;
  if (__builtin_mul_overflow(seconds, kSecondNs, &result)) return std::nullopt;
  if (__builtin_add_overflow(result, nanos, &result)) return std::nullopt;
  return result;
}

int64_t floor_seconds(int64_t ns) { return ns / kSecondNs - (ns % kSecondNs < 0 ? 1 : 0); }

std::optional<int64_t> utc_ns(const Date& date, const TimeOfDay& time, int offset_seconds) {
  const int64_t of_day = time.hour * 3600 + time.minute * 60 + time.second;
  return to_ns(days_since_1970(date) * 86400 + of_day - offset_seconds, time.nanos);
}

std::optional<int64_t> local_ns(const Date& date, const TimeOfDay& time) {
  tm parts{};
  parts.tm_year = date.year - 1900;
  parts.tm_mon = date.month - 1;
  parts.tm_mday = date.day;
  parts.tm_hour = time.hour;
  parts.tm_min = time.minute;
  parts.tm_sec = time.second;
  parts.tm_isdst = -1;
  parts.tm_wday = -1;  // mktime sets it, which tells its error from the last second of 1969
  const time_t seconds = mktime(&parts);
  if (parts.tm_wday == -1) return std::nullopt;
  return to_ns(seconds, time.nanos);
}

// The local calendar day `days` from that of `now`; mktime knows where months and years end.
Date local_date(int64_t now_wall_ns, int days) {
  const auto seconds = time_t{floor_seconds(now_wall_ns)};
  tm parts{};
  localtime_r(&seconds, &parts);
  parts.tm_mday += days;
  parts.tm_hour = 12;  // no zone changes its clocks at noon
  parts.tm_isdst = -1;
  mktime(&parts);
  return {parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday};
}

// "14:03", "14:03:07", "14:03:07.5"; false where the text goes on otherwise.
bool scan_time_of_day(Scanner& in, TimeOfDay& time) {
  if (!in.number(2, time.hour) || !in.literal(":") || !in.number(2, time.minute)) return false;
  if (!in.literal(":")) return true;
  if (!in.number(2, time.second)) return false;
  if (!in.literal(".")) return true;
  const std::string_view digits = in.digits();
  if (digits.empty() || digits.size() > 9) return false;
  int64_t scale = kSecondNs;
  for (const char digit : digits) time.nanos += (digit - '0') * (scale /= 10);
  return true;
}

// "Z", "+02:00"; nullopt where there is neither.
std::optional<int> scan_offset(Scanner& in) {
  if (in.literal("Z") || in.literal("z")) return 0;
  const bool east = in.peek() == '+';
  if (!in.literal("+") && !in.literal("-")) return std::nullopt;
  int hours = 0;
  int minutes = 0;
  if (!in.number(2, hours) || !in.literal(":") || !in.number(2, minutes)) return std::nullopt;
  if (hours > 23 || minutes > 59) return std::nullopt;
  const int seconds = hours * 3600 + minutes * 60;
  return east ? seconds : -seconds;
}

Result<TimeSpec> time_point(std::string_view text, std::optional<int64_t> wall_ns) {
  if (!wall_ns) return not_understood(text, "it lies outside of the years 1678 to 2261");
  return TimeSpec(TimePoint{*wall_ns});
}

// Whether the text begins like a date and goes on like one, so that it cannot be meant otherwise.
bool looks_like_date(std::string_view text) {
  Scanner in(text);
  int number = 0;
  if (!in.number(4, number) || !in.literal("-") || !in.number(2, number) || !in.literal("-") ||
      !in.number(2, number)) {
    return false;
  }
  const char separator = in.peek();
  return in.done() || separator == ' ' ||
         ((separator == 'T' || separator == 't') && is_digit(in.peek(1)));
}

Result<TimeSpec> parse_date(std::string_view text) {
  Scanner in(text);
  Date date;
  in.number(4, date.year);
  in.literal("-");
  in.number(2, date.month);
  in.literal("-");
  in.number(2, date.day);
  if (!valid(date)) return not_understood(text, "there is no such day");
  if (in.done()) return time_point(text, local_ns(date, {}));
  if (!in.literal(" ") && !in.literal("T")) in.literal("t");
  TimeOfDay time;
  if (!scan_time_of_day(in, time))
    return not_understood(text, "after the date, a time is expected");
  if (!valid(time)) return not_understood(text, "there is no such time of day");
  if (in.done()) return time_point(text, local_ns(date, time));
  const auto offset = scan_offset(in);
  if (!offset || !in.done()) {
    return not_understood(text, "after the time, 'Z' or an offset such as '+02:00' is expected");
  }
  return time_point(text, utc_ns(date, time, *offset));
}

bool looks_like_time_of_day(std::string_view text) {
  if (text.size() < 5 || text[2] != ':') return false;
  for (const char c : text) {
    if (!is_digit(c) && c != ':' && c != '.') return false;
  }
  return true;
}

Result<TimeSpec> parse_time_of_day(std::string_view text, std::string_view rest, const Date& date) {
  Scanner in(rest);
  TimeOfDay time;
  if (!scan_time_of_day(in, time) || !in.done()) {
    return not_understood(text, "a time of day looks like '14:03' or '14:03:07'");
  }
  if (!valid(time)) return not_understood(text, "there is no such time of day");
  return time_point(text, local_ns(date, time));
}

struct Unit {
  std::string_view name;
  int64_t ns;
};
// For durations, and in front of "ago".
constexpr std::array<Unit, 8> kShortUnits = {{{"ns", 1},
                                              {"us", 1'000},
                                              {"ms", 1'000'000},
                                              {"s", kSecondNs},
                                              {"m", kMinuteNs},
                                              {"h", kHourNs},
                                              {"d", kDayNs},
                                              {"w", kWeekNs}}};
// Only in front of "ago"; each may have an "s" behind it.
constexpr std::array<Unit, 8> kLongUnits = {{{"second", kSecondNs},
                                             {"sec", kSecondNs},
                                             {"minute", kMinuteNs},
                                             {"min", kMinuteNs},
                                             {"hour", kHourNs},
                                             {"hr", kHourNs},
                                             {"day", kDayNs},
                                             {"week", kWeekNs}}};

template <size_t N>
std::optional<int64_t> unit_ns(const std::array<Unit, N>& units, std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return unit.ns;
  }
  return std::nullopt;
}

// A number as written, to be multiplied by a unit without leaving whole nanoseconds.
struct Decimal {
  std::string_view whole;
  std::string_view fraction;
};
bool scan_decimal(Scanner& in, Decimal& number) {
  number.whole = in.digits();
  if (number.whole.empty()) return false;
  if (!in.literal(".")) return true;
  number.fraction = in.digits();
  return !number.fraction.empty();
}
// nullopt: too large.
std::optional<int64_t> times_unit(const Decimal& number, int64_t unit) {
  int64_t value = 0;
  for (const char digit : number.whole) {
    if (__builtin_mul_overflow(value, 10, &value)) return std::nullopt;
    if (__builtin_add_overflow(value, digit - '0', &value)) return std::nullopt;
  }
  if (__builtin_mul_overflow(value, unit, &value)) return std::nullopt;
  for (const char digit : number.fraction) {
    unit /= 10;
    if (__builtin_add_overflow(value, (digit - '0') * unit, &value)) return std::nullopt;
  }
  return value;
}

// "10 minutes", "1.5 hours", "10min": one number and one word.
std::optional<int64_t> parse_words(std::string_view text) {
  Scanner in(text);
  Decimal number;
  if (!scan_decimal(in, number)) return std::nullopt;
  in.literal(" ");
  std::string_view word = in.letters();
  if (!in.done()) return std::nullopt;
  auto unit = unit_ns(kShortUnits, word);
  if (!unit) unit = unit_ns(kLongUnits, word);
  if (!unit && word.ends_with('s')) unit = unit_ns(kLongUnits, word.substr(0, word.size() - 1));
  return unit ? times_unit(number, *unit) : std::nullopt;
}

Result<TimeSpec> parse_ago(std::string_view text, std::string_view span, int64_t now_wall_ns) {
  auto distance = parse_words(span);
  if (!distance && !span.empty() && is_lower(span.back())) {
    if (const auto parsed = parse_duration_ns(span); parsed.ok()) distance = *parsed;
  }
  int64_t wall_ns = 0;
  if (!distance || __builtin_sub_overflow(now_wall_ns, *distance, &wall_ns)) {
    return not_understood(text, "'" + std::string(span) + "' is no span of time");
  }
  return TimeSpec(TimePoint{wall_ns});
}

Result<TimeSpec> parse_sequence(std::string_view text) {
  Scanner in(text.substr(1));
  const std::string_view digits = in.digits();
  Sequence seq;
  bool fits = !digits.empty() && in.done();
  for (const char digit : digits) {
    fits = fits && !__builtin_mul_overflow(seq.value, 10u, &seq.value) &&
           !__builtin_add_overflow(seq.value, static_cast<uint64_t>(digit - '0'), &seq.value);
  }
  if (!fits) return not_understood(text, "after '@', a sequence number is expected");
  return TimeSpec(seq);
}

bool could_be_snapshot(std::string_view text) {
  for (const char c : text) {
    const bool letter = is_lower(c) || (c >= 'A' && c <= 'Z');
    if (!letter && !is_digit(c) && std::string_view("._:-").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return !text.empty() && text.size() <= 255;
}

}  // namespace

Result<TimeSpec> parse_time_spec(std::string_view text, int64_t now_wall_ns) {
  constexpr std::string_view kAgo = " ago";
  if (text == "now") return TimeSpec(Now{});
  if (text.starts_with('@')) return parse_sequence(text);
  if (looks_like_date(text)) return parse_date(text);
  if (looks_like_time_of_day(text)) {
    return parse_time_of_day(text, text, local_date(now_wall_ns, 0));
  }
  for (const auto& [word, days] :
       {std::pair<std::string_view, int>{"today", 0}, {"yesterday", -1}}) {
    if (!text.starts_with(word)) continue;
    const std::string_view rest = text.substr(word.size());
    const Date date = local_date(now_wall_ns, days);
    if (rest.empty()) return time_point(text, local_ns(date, {}));
    if (rest.front() == ' ') return parse_time_of_day(text, rest.substr(1), date);
  }
  if (text.ends_with(kAgo)) {
    return parse_ago(text, text.substr(0, text.size() - kAgo.size()), now_wall_ns);
  }
  if (could_be_snapshot(text)) return TimeSpec(SnapshotName{std::string(text)});
  return not_understood(text, "it has none of the known forms");
}

Result<int64_t> parse_duration_ns(std::string_view text) {
  Scanner in(text);
  int64_t total = 0;
  int64_t unit_before = INT64_MAX;
  do {
    Decimal number;
    if (!scan_decimal(in, number)) return bad_duration(text, "a number is expected");
    const std::string_view word = in.letters();
    const bool bare = word.empty() && in.done() && unit_before == INT64_MAX;
    const auto unit = bare ? std::optional(kSecondNs) : unit_ns(kShortUnits, word);
    if (!unit) return bad_duration(text, "after a number, one of ms s m h d w is expected");
    if (*unit >= unit_before) return bad_duration(text, "its units must go from large to small");
    unit_before = *unit;
    const auto part = times_unit(number, *unit);
    if (!part || __builtin_add_overflow(total, *part, &total)) {
      return bad_duration(text, "it is longer than 292 years");
    }
  } while (!in.done());
  return total;
}

std::string format_time(int64_t wall_ns) {
  const auto seconds = time_t{floor_seconds(wall_ns)};
  const int64_t remainder = wall_ns % kSecondNs;
  const int64_t nanos = remainder < 0 ? remainder + kSecondNs : remainder;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[96];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<long>(nanos));
  return text;
}

std::string format_local_time(int64_t wall_ns) {
  const auto seconds = time_t{floor_seconds(wall_ns)};
  tm parts{};
  localtime_r(&seconds, &parts);
  char text[96];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return text;
}

}  // namespace holdfast
