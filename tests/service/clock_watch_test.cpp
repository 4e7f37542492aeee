#include "service/clock_watch.h"

#include <catch2/catch.hpp>
#include <vector>

namespace holdfast {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1000 * kMs;
constexpr int64_t kHour = 3600 * kSecond;
constexpr int64_t kWall = 1'700'000'000 * kSecond;

// A clock that is interrupted between two of its readings.
class SlowClock final : public Clock {
 public:
  explicit SlowClock(std::vector<int64_t> pauses) : pauses_(std::move(pauses)) {}
  int64_t wall_ns() const override { return kWall + boot_; }
  int64_t boottime_ns() const override {
    if (calls_ % 2 == 1 && calls_ / 2 < pauses_.size()) boot_ += pauses_[calls_ / 2];
    ++calls_;
    return boot_;
  }
  std::string boot_id() const override { return "x"; }

 private:
  std::vector<int64_t> pauses_;
  mutable size_t calls_ = 0;
  mutable int64_t boot_ = kSecond;
};

}  // namespace

TEST_CASE("a step of the wall clock is told once, with its amount", "[clock]") {
  struct Row {
    const char* what;
    int64_t step_ns;
    int64_t idle_ns;  // between the two readings
    bool told;
  };
  const Row row = GENERATE(values<Row>({
      {"no step", 0, kMs, false},
      {"no step in an idle day", 0, 24 * kHour, false},
      {"an hour back", -kHour, kMs, true},
      {"an hour forward", kHour, kMs, true},
      {"a second, found after an idle day: no allowance for slewing hides it", kSecond, 24 * kHour,
       true},
      {"the least that ntpd steps by", 128 * kMs, kMs, true},
      {"too little to matter", 99 * kMs, kMs, false},
      {"too little to matter, back", -99 * kMs, kMs, false},
  }));
  INFO(row.what);
  ClockWatch watch;
  REQUIRE_FALSE(watch.read({kWall, kSecond, 0}));
  const int64_t boot = kSecond + row.idle_ns;
  const auto step = watch.read({kWall + row.idle_ns + row.step_ns, boot, 0});
  REQUIRE(step.has_value() == row.told);
  if (row.told) REQUIRE(*step == row.step_ns);
  for (int64_t later = kMs; later < 10 * kSecond; later += kSecond) {
    REQUIRE_FALSE(watch.read({kWall + row.idle_ns + row.step_ns + later, boot + later, 0}));
  }
}

TEST_CASE("two steps are two, and back again is one more", "[clock]") {
  ClockWatch watch;
  REQUIRE_FALSE(watch.read({kWall, kSecond, 0}));
  REQUIRE(watch.read({kWall - kHour, kSecond, 0}) == -kHour);
  REQUIRE(watch.read({kWall - 2 * kHour, kSecond, 0}) == -kHour);
  REQUIRE(watch.read({kWall, kSecond, 0}) == 2 * kHour);
}

TEST_CASE("a reading that was interrupted is no step", "[clock]") {
  ClockWatch watch;
  REQUIRE_FALSE(watch.read({kWall, kSecond, 0}));
  // The thread waited 80 ms or 300 ms between reading one clock and the other.
  REQUIRE_FALSE(watch.read({kWall, kSecond + 140 * kMs, 80 * kMs}));
  REQUIRE_FALSE(watch.read({kWall, kSecond + 300 * kMs, 300 * kMs}));
  REQUIRE(watch.read({kWall + kHour, kSecond + 80 * kMs, 80 * kMs}));
}

TEST_CASE("the narrowest of three readings is taken", "[clock]") {
  REQUIRE(read_clocks(SlowClock({})).width_ns == 0);
  REQUIRE(read_clocks(SlowClock({50 * kMs, 2 * kMs, 9 * kMs})).width_ns == 2 * kMs);
  REQUIRE(read_clocks(SlowClock({50 * kMs, 1 * kMs})).width_ns == 1 * kMs);
  const ClockReading slow = read_clocks(SlowClock({50 * kMs, 40 * kMs, 60 * kMs}));
  REQUIRE(slow.width_ns == 40 * kMs);
}

TEST_CASE("a step while no service ran", "[clock]") {
  struct Row {
    const char* what;
    int64_t wall_ns, boot_ns;  // passed since the last record
    bool same_boot;
    std::optional<int64_t> amount_ns;
    bool at_least;
    std::optional<int64_t> off_ns;
  };
  const Row row = GENERATE(values<Row>({
      {"nothing", kHour, kHour, true, std::nullopt, false, kHour},
      {"set back, same boot", 0 - kHour, kHour, true, -2 * kHour, false, kHour},
      {"set forward, same boot", 3 * kHour, kHour, true, 2 * kHour, false, kHour},
      {"set back by less than was slept", kHour / 2, kHour, true, -kHour / 2, false, kHour},
      {"less than a second", kHour - kSecond, kHour, true, std::nullopt, false, kHour},
      {"another boot, later", kHour, -1, false, std::nullopt, false, kHour},
      {"another boot, earlier", -kHour, 5 * kHour, false, -kHour, true, std::nullopt},
      {"another boot, a clock of whole seconds", -kSecond, 0, false, std::nullopt, false,
       std::nullopt},
      {"a boot clock of another time namespace", kHour, -kHour, true, std::nullopt, false, kHour},
  }));
  INFO(row.what);
  const ClockReading last{kWall, 10 * kHour, 0};
  const ClockReading now{kWall + row.wall_ns, 10 * kHour + row.boot_ns, 0};
  const auto step = step_since(last, row.same_boot, now);
  REQUIRE(step.has_value() == row.amount_ns.has_value());
  if (step) {
    REQUIRE(step->amount_ns == *row.amount_ns);
    REQUIRE(step->at_least == row.at_least);
  }
  REQUIRE(elapsed_since(last, row.same_boot, now) == row.off_ns);
}

}  // namespace holdfast
