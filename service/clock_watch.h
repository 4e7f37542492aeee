// ClockWatch: tells when the wall clock was set, from readings of it and of the boot clock. Pure;
// one owner.
//
// The kernel derives CLOCK_REALTIME and CLOCK_BOOTTIME from one timekeeper: NTP's slewing moves
// both alike, a suspend too, and only setting the time (or a leap second) moves one against the
// other. So their difference needs no allowance for slewing, which a service that was idle for an
// hour could hide a step of seconds in. docs/decisions/0019-what-counts-as-a-clock-step.md has the
// constants.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace holdfast {

// The last record's two times were read without a bracket, and a real-time clock counts seconds.
inline constexpr int64_t kRestartStepMinNs = 1'000'000'000;

// Both clocks at one moment; the boot clock was read before and after, `width_ns` apart.
struct ClockReading {
  int64_t wall_ns = 0;
  int64_t boottime_ns = 0;
  int64_t width_ns = 0;
};
ClockReading read_clocks(const Clock& clock);  // the narrowest of at most three

class ClockWatch {
 public:
  // How far the wall clock was set since the reading before; each step is told once. Not
  // told: steps of less than kClockStepMinNs, readings too wide to tell one (this thread was
  // interrupted).
  std::optional<int64_t> read(const ClockReading& now);

 private:
  std::optional<int64_t> offset_ns_;  // wall - boottime
  int64_t width_ns_ = 0;
};

// What the newest record says of the clocks, and what a new start finds.
struct RestartStep {
  int64_t amount_ns = 0;
  bool at_least = false;  // of another boot: how long the service was off is not known
};
// Within one boot a step is told either way; else only that the wall clock is behind the journal.
std::optional<RestartStep> step_since(const ClockReading& last, bool same_boot,
                                      const ClockReading& now);

// How long ago `last` was; nullopt where another boot's wall clock was ahead of this one.
std::optional<int64_t> elapsed_since(const ClockReading& last, bool same_boot,
                                     const ClockReading& now);

}  // namespace holdfast
