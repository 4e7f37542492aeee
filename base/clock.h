// Clock: the seam to the machine's clocks, so that tests move time by hand. Thread-safe.
#pragma once

#include <time.h>

#include <cstdint>
#include <string>

namespace holdfast {

inline constexpr int64_t kSecondNs = 1'000'000'000;
inline constexpr int64_t kMillisecondNs = 1'000'000;
inline int64_t read_clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * kSecondNs + now.tv_nsec;
}
// For who waits however long it takes: 73 years, far enough from the end to be added to.
inline constexpr int64_t kNoTimeout = INT64_MAX / 4;

// What wall and boot clock may move against each other, from one pair of readings to the next,
// without it being a step of the wall clock: the two are read one after the other.
inline constexpr int64_t kClockStepMinNs = 100'000'000;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t wall_ns() const = 0;  // CLOCK_REALTIME since 1970; may step: evidence, not order
  virtual int64_t boottime_ns() const = 0;  // CLOCK_BOOTTIME; never goes back within a boot
  virtual std::string boot_id() const = 0;  // /proc/sys/kernel/random/boot_id, 36 characters
};

class SystemClock final : public Clock {
 public:
  int64_t wall_ns() const override;
  int64_t boottime_ns() const override;
  std::string boot_id() const override;
};

// Ticks only when told. The boot id is fixed until changed.
class ManualClock final : public Clock {
 public:
  int64_t wall_ns() const override { return wall; }
  int64_t boottime_ns() const override { return boottime; }
  std::string boot_id() const override { return boot; }
  int64_t wall = 1'700'000'000'000'000'000;
  int64_t boottime = 1'000'000'000;
  std::string boot = "00000000-0000-0000-0000-000000000001";
};

}  // namespace holdfast
