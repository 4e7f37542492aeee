#include "service/clock_watch.h"

#include <cstdlib>

namespace holdfast {

namespace {
constexpr int64_t kNarrowNs = 1'000'000;
constexpr int kReadingsMax = 3;

int64_t offset_of(const ClockReading& reading) { return reading.wall_ns - reading.boottime_ns; }

// A time namespace can have a boot clock of its own; then only the wall clocks can be compared.
bool one_boot_clock(const ClockReading& last, bool same_boot, const ClockReading& now) {
  return same_boot && now.boottime_ns >= last.boottime_ns;
}
}  // namespace

ClockReading read_clocks(const Clock& clock) {
  ClockReading best;
  for (int i = 0; i < kReadingsMax; ++i) {
    const int64_t before_ns = clock.boottime_ns();
    const int64_t wall_ns = clock.wall_ns();
    const int64_t after_ns = clock.boottime_ns();
    const int64_t width_ns = after_ns - before_ns;
    if (i == 0 || width_ns < best.width_ns) best = {wall_ns, before_ns + width_ns / 2, width_ns};
    if (best.width_ns <= kNarrowNs) break;
  }
  return best;
}

std::optional<int64_t> ClockWatch::read(const ClockReading& now) {
  if (now.width_ns > kClockStepMinNs) return std::nullopt;
  const int64_t offset_ns = offset_of(now);
  std::optional<int64_t> step;
  if (offset_ns_) {
    const int64_t moved_ns = offset_ns - *offset_ns_;
    if (std::abs(moved_ns) > kClockStepMinNs + now.width_ns + width_ns_) step = moved_ns;
  }
  offset_ns_ = offset_ns;
  width_ns_ = now.width_ns;
  return step;
}

std::optional<RestartStep> step_since(const ClockReading& last, bool same_boot,
                                      const ClockReading& now) {
  if (one_boot_clock(last, same_boot, now)) {
    const int64_t moved_ns = offset_of(now) - offset_of(last);
    if (std::abs(moved_ns) <= kRestartStepMinNs) return std::nullopt;
    return RestartStep{moved_ns, false};
  }
  const int64_t behind_ns = now.wall_ns - last.wall_ns;
  if (behind_ns >= -kRestartStepMinNs) return std::nullopt;
  return RestartStep{behind_ns, true};
}

std::optional<int64_t> elapsed_since(const ClockReading& last, bool same_boot,
                                     const ClockReading& now) {
  if (one_boot_clock(last, same_boot, now)) return now.boottime_ns - last.boottime_ns;
  if (now.wall_ns < last.wall_ns) return std::nullopt;
  return now.wall_ns - last.wall_ns;
}

}  // namespace holdfast
