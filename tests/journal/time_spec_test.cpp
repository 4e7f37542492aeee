// What a person may write for a time or a duration.
#include "journal/time_spec.h"

#include <time.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>

#include "tests/journal/journal_fixture.h"

using namespace holdfast;

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kNowNs = 1'795'183'387 * kSecond;  // 2026-11-20T14:03:07Z, a Friday

// Sets the zone for one test.
class Zone {
 public:
  explicit Zone(const char* zone) {
    if (const char* before = std::getenv("TZ")) before_ = before;
    ::setenv("TZ", zone, 1);
    ::tzset();
  }
  ~Zone() {
    if (before_) {
      ::setenv("TZ", before_->c_str(), 1);
    } else {
      ::unsetenv("TZ");
    }
    ::tzset();
  }
  Zone(const Zone&) = delete;
  Zone& operator=(const Zone&) = delete;

 private:
  std::optional<std::string> before_;
};

int64_t seconds_of(const std::string& text) {
  const TimeSpec spec = must(parse_time_spec(text, kNowNs));
  REQUIRE(std::holds_alternative<TimePoint>(spec));
  const int64_t ns = std::get<TimePoint>(spec).wall_ns;
  REQUIRE(ns % kSecond == 0);
  return ns / kSecond;
}
int64_t ns_of(const std::string& text) {
  return std::get<TimePoint>(must(parse_time_spec(text, kNowNs))).wall_ns;
}
std::string snapshot_of(const std::string& text) {
  const TimeSpec spec = must(parse_time_spec(text, kNowNs));
  REQUIRE(std::holds_alternative<SnapshotName>(spec));
  return std::get<SnapshotName>(spec).name;
}
void refused(const std::string& text) {
  const auto spec = parse_time_spec(text, kNowNs);
  INFO("'" << text << "'");
  REQUIRE_FALSE(spec.ok());
  REQUIRE(spec.error().code == ErrorCode::kUsage);
  REQUIRE(spec.error().message.find("10 minutes ago") != std::string::npos);
}

}  // namespace

TEST_CASE("sequences and now", "[time]") {
  REQUIRE(std::get<Sequence>(must(parse_time_spec("@1234", kNowNs))).value == 1234);
  REQUIRE(std::get<Sequence>(must(parse_time_spec("@0", kNowNs))).value == 0);
  REQUIRE(std::get<Sequence>(must(parse_time_spec("@18446744073709551615", kNowNs))).value ==
          UINT64_MAX);
  REQUIRE(std::holds_alternative<Now>(must(parse_time_spec("now", kNowNs))));
  for (const char* text : {"@", "@x", "@12x", "@-1", "@ 1", "@18446744073709551616"}) refused(text);
}

TEST_CASE("RFC 3339", "[time]") {
  const Zone zone("America/New_York");  // must not matter
  REQUIRE(seconds_of("2026-11-20T14:03:07Z") == kNowNs / kSecond);
  REQUIRE(seconds_of("2026-11-20t14:03:07z") == kNowNs / kSecond);
  REQUIRE(seconds_of("2026-11-20T16:03:07+02:00") == kNowNs / kSecond);
  REQUIRE(seconds_of("2026-11-20T08:33:07-05:30") == kNowNs / kSecond);
  REQUIRE(seconds_of("2026-11-20 14:03:07Z") == kNowNs / kSecond);
  REQUIRE(seconds_of("1970-01-01T00:00:00Z") == 0);
  REQUIRE(seconds_of("1969-12-31T23:59:59Z") == -1);
  REQUIRE(seconds_of("2000-02-29T00:00:00Z") == 951'782'400);
  REQUIRE(ns_of("2026-11-20T14:03:07.5Z") == kNowNs + kSecond / 2);
  REQUIRE(ns_of("2026-11-20T14:03:07.000000001Z") == kNowNs + 1);
  REQUIRE(ns_of("1969-12-31T23:59:59.999999999Z") == -1);
  for (const char* text : {"2026-13-20T14:03:07Z",
                           "2026-00-20T14:03:07Z",
                           "2026-02-30T00:00:00Z",
                           "2025-02-29T00:00:00Z",
                           "2100-02-29T00:00:00Z",
                           "2026-11-31T00:00:00Z",
                           "2026-11-00T00:00:00Z",
                           "2026-11-20T24:00:00Z",
                           "2026-11-20T14:60:07Z",
                           "2026-11-20T14:03:60Z",
                           "2026-11-20T14:03:07+24:00",
                           "2026-11-20T14:03:07+02:60",
                           "2026-11-20T14:03:07+2",
                           "2026-11-20T14:03:07Zx",
                           "2026-11-20T14:03:07.Z",
                           "2026-11-20T14:03:07.0000000000Z",
                           "2026-11-20T1:03:07Z",
                           "2026-11-20 ",
                           "2026-11-20T14",
                           "1066-10-14T09:00:00Z",
                           "9999-12-31T00:00:00Z"}) {
    refused(text);
  }
}

TEST_CASE("local times", "[time]") {
  const Zone zone("UTC-2");  // two hours east of Greenwich, all year
  const int64_t midnight = kNowNs / kSecond - 14 * 3600 - 3 * 60 - 7 - 2 * 3600;
  REQUIRE(seconds_of("2026-11-20") == midnight);
  REQUIRE(seconds_of("2026-11-20 14:03") == midnight + 14 * 3600 + 180);
  REQUIRE(seconds_of("2026-11-20 14:03:07") == midnight + 14 * 3600 + 187);
  REQUIRE(seconds_of("2026-11-20T14:03:07") == midnight + 14 * 3600 + 187);
  REQUIRE(ns_of("2026-11-20 14:03:07.25") == (midnight + 14 * 3600 + 187) * kSecond + kSecond / 4);
  REQUIRE(seconds_of("14:03") == midnight + 14 * 3600 + 180);
  REQUIRE(seconds_of("14:03:07") == midnight + 14 * 3600 + 187);
  REQUIRE(seconds_of("today") == midnight);
  REQUIRE(seconds_of("today 09:30") == midnight + 9 * 3600 + 1800);
  REQUIRE(seconds_of("yesterday") == midnight - 86400);
  REQUIRE(seconds_of("yesterday 14:00") == midnight - 86400 + 14 * 3600);
  REQUIRE(seconds_of("1970-01-01 01:59:59") == -1);
  for (const char* text :
       {"24:00", "14:60", "14:03:60", "14:03:", "14:03:07.", "today 25:00", "yesterday ",
        "yesterday noon", "yesterday 14:00 ", "2026-11-20 14:03x"}) {
    refused(text);
  }
}

TEST_CASE("a day that is not 24 hours long", "[time]") {
  const Zone zone("CET-1CEST,M3.5.0,M10.5.0/3");
  const int64_t after_change = 1'793'010'600;  // 2026-10-26 10:30 in summer time's successor
  const auto at = [&](const char* text) {
    return std::get<TimePoint>(must(parse_time_spec(text, after_change * kSecond))).wall_ns /
           kSecond;
  };
  REQUIRE(at("today") - at("yesterday") == 25 * 3600);
  REQUIRE(parse_time_spec("2026-10-25 02:30", kNowNs).ok());  // twice: mktime picks one
  REQUIRE(parse_time_spec("2026-03-29 02:30", kNowNs).ok());  // never: mktime moves it
}

TEST_CASE("yesterday at the turn of a year", "[time]") {
  const Zone zone("UTC");
  const auto spec = must(parse_time_spec("yesterday", 1'767'225'600 * kSecond));  // 2026-01-01
  REQUIRE(format_time(std::get<TimePoint>(spec).wall_ns) == "2025-12-31T00:00:00.000000000Z");
}

TEST_CASE("spans ago", "[time]") {
  const auto ago = [](const std::string& text) { return (kNowNs - ns_of(text)) / 1'000'000; };
  REQUIRE(ago("10 minutes ago") == 600'000);
  REQUIRE(ago("1 minute ago") == 60'000);
  REQUIRE(ago("10m ago") == 600'000);
  REQUIRE(ago("10 m ago") == 600'000);
  REQUIRE(ago("90 sec ago") == 90'000);
  REQUIRE(ago("1.5 hours ago") == 5'400'000);
  REQUIRE(ago("2 hrs ago") == 7'200'000);
  REQUIRE(ago("3 days ago") == 3 * 86'400'000);
  REQUIRE(ago("1 week ago") == 7 * 86'400'000);
  REQUIRE(ago("2w ago") == 14 * 86'400'000);
  REQUIRE(ago("1500ms ago") == 1500);
  REQUIRE(ago("1h30m ago") == 5'400'000);
  REQUIRE(ago("0s ago") == 0);
  for (const char* text :
       {"ago", " ago", "10 ago", "ten minutes ago", "10 parsecs ago", "-1 day ago", "1. hours ago",
        ".5 hours ago", "10  minutes ago", "10 minutes  ago", "10 minutess ago",
        "99999999999 weeks ago", "1 month ago"}) {
    if (std::string(text) == "ago") continue;
    refused(text);
  }
}

TEST_CASE("names of snapshots", "[time]") {
  for (const char* text : {"daily", "before-upgrade", "v1.2:3_x", "2026-11-20-evening", "2026",
                           "10m", "ago", "yesterday-evening", "NOW", "2026-11-20Test"}) {
    REQUIRE(snapshot_of(text) == text);
  }
  for (const char* text : {"", " ", "a b", "a/b", "caf\xc3\xa9", "now ", " now", "a\nb"})
    refused(text);
  refused(std::string(256, 'a'));
  refused(std::string("a\0b", 3));
}

TEST_CASE("durations", "[time]") {
  const auto ms = [](const char* text) { return must(parse_duration_ns(text)) / 1'000'000; };
  REQUIRE(ms("90s") == 90'000);
  REQUIRE(ms("10m") == 600'000);
  REQUIRE(ms("48h") == 48 * 3'600'000);
  REQUIRE(ms("7d") == 7 * 86'400'000);
  REQUIRE(ms("2w") == 14 * 86'400'000);
  REQUIRE(ms("1500ms") == 1500);
  REQUIRE(ms("1h30m") == 5'400'000);
  REQUIRE(ms("1d12h30m15s") == 131'415'000);
  REQUIRE(ms("90") == 90'000);
  REQUIRE(ms("0") == 0);
  REQUIRE(ms("1.5h") == 5'400'000);
  REQUIRE(ms("0.25") == 250);
  REQUIRE(must(parse_duration_ns("1.000000001s")) == 1'000'000'001);
  REQUIRE(must(parse_duration_ns("7ns")) == 7);
  for (const char* text :
       {"", " ", "s", "-1s", "+1s", "1 s", "1x", "10M", "1h30", "30m1h", "1m1m", "1..5s", "1.",
        ".5s", "1s ", "9223372037s", "99999999999999999999", "300000000w"}) {
    INFO("'" << text << "'");
    const auto duration = parse_duration_ns(text);
    REQUIRE_FALSE(duration.ok());
    REQUIRE(duration.error().code == ErrorCode::kUsage);
  }
}

TEST_CASE("formatting", "[time]") {
  REQUIRE(format_time(kNowNs + kSecond / 2) == "2026-11-20T14:03:07.500000000Z");
  REQUIRE(format_time(0) == "1970-01-01T00:00:00.000000000Z");
  REQUIRE(format_time(-1) == "1969-12-31T23:59:59.999999999Z");
  REQUIRE(format_time(INT64_MIN) == "1677-09-21T00:12:43.145224192Z");
  REQUIRE(format_time(INT64_MAX) == "2262-04-11T23:47:16.854775807Z");
  const Zone zone("UTC-2");
  REQUIRE(format_local_time(kNowNs + 1) == "2026-11-20 16:03:07");
  REQUIRE(format_local_time(-1) == "1970-01-01 01:59:59");
}

TEST_CASE("what is formatted is understood", "[time]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int64_t ns : {INT64_MIN, INT64_MIN + 1, INT64_C(-1), INT64_C(0), INT64_MAX}) {
    REQUIRE(ns_of(format_time(ns)) == ns);
  }
  for (int i = 0; i < 2000; ++i) {
    const auto ns = static_cast<int64_t>(random());
    INFO(format_time(ns));
    REQUIRE(ns_of(format_time(ns)) == ns);
  }
}
