#include "service/words.h"

#include <catch2/catch.hpp>

namespace holdfast {

TEST_CASE("durations are rounded to what is shown", "[words]") {
  constexpr int64_t kMs = 1'000'000, kSecond = 1000 * kMs, kMinute = 60 * kSecond;
  const std::pair<int64_t, const char*> cases[] = {
      {0, "0 ms"},
      {80 * kMs, "80 ms"},
      {2'540 * kMs, "2.5 s"},
      {59'940 * kMs, "59.9 s"},
      {59'999 * kMs, "1 min 0 s"},
      {89'999 * kMs, "1 min 30 s"},
      {60 * kMinute - kMs, "1 h 0 min"},
      {60 * kMinute, "1 h 0 min"},
      {(14 * 60 + 3) * kMinute, "14 h 3 min"},
      {48 * 60 * kMinute, "2 d 0 h"},
      {(48 * 60 + 89) * kMinute, "2 d 1 h"},
  };
  for (const auto& entry : cases) CHECK(words_for_duration(entry.first) == entry.second);
  CHECK(words_for_duration(-1).find("went back") != std::string::npos);
}

}  // namespace holdfast
