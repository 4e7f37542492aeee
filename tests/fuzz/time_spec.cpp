// parse_time_spec and parse_duration_ns: any text is understood or refused, and a time that was
// understood is understood the same way once it is written out.
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "journal/time_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  constexpr int64_t kNowNs = 1'795'183'387'000'000'000;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto spec = parse_time_spec(text, kNowNs); spec.ok()) {
    if (const auto* point = std::get_if<TimePoint>(&*spec)) {
      const auto again = parse_time_spec(format_time(point->wall_ns), kNowNs);
      CHECK(again.ok());
      CHECK(std::get<TimePoint>(*again).wall_ns == point->wall_ns);
      CHECK(!format_local_time(point->wall_ns).empty());
    }
  }
  if (const auto duration = parse_duration_ns(text); duration.ok()) CHECK(*duration >= 0);
  return 0;
}
