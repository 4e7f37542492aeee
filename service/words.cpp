#include "service/words.h"

#include <cstdio>

namespace holdfast {

std::string words_for_duration(int64_t ns) {
  if (ns < 0) return "an unknown time (the clock went back)";
  // Rounded to what is shown, so that a second short of an hour is an hour.
  const int64_t ms = (ns + 500'000) / 1'000'000;
  const int64_t seconds = (ms + 500) / 1000;
  const int64_t minutes = (seconds + 30) / 60;
  const int64_t hours = (minutes + 30) / 60;
  char text[64];
  const auto print = [&](const char* format, int64_t large, int64_t small) {
    std::snprintf(text, sizeof text, format, static_cast<long long>(large),
                  static_cast<long long>(small));
  };
  if (ms < 1000) {
    std::snprintf(text, sizeof text, "%lld ms", static_cast<long long>(ms));
  } else if (ms < 59'950) {
    std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ms) / 1000);
  } else if (seconds < 3570) {
    print("%lld min %lld s", seconds / 60, seconds % 60);
  } else if (minutes < 48 * 60) {
    print("%lld h %lld min", minutes / 60, minutes % 60);
  } else {
    print("%lld d %lld h", hours / 24, hours % 24);
  }
  return text;
}

std::string words_for_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1000 && unit < 5) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string shell_quote(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace holdfast
