#include "service/volume_shift.h"

namespace holdfast {

namespace {
// What the volume's shift alone makes of a file. A program that sets times leaves the ctime of that
// moment behind, which is no such amount.
std::optional<int64_t> shift_of(const FileStat& before, const FileStat& now) {
  const int64_t amount_ns = now.mtime_ns - before.mtime_ns;
  if (amount_ns == 0 || amount_ns % kShiftStepNs != 0) return std::nullopt;
  const auto moved_along = [&](int64_t old_ns, int64_t new_ns) {
    return new_ns == old_ns || new_ns - old_ns == amount_ns;
  };
  if (!moved_along(before.ctime_ns, now.ctime_ns) || !moved_along(before.btime_ns, now.btime_ns)) {
    return std::nullopt;
  }
  FileStat rest = before;
  rest.mtime_ns = now.mtime_ns;
  rest.ctime_ns = now.ctime_ns;
  rest.btime_ns = now.btime_ns;
  if (rest != now) return std::nullopt;
  return amount_ns;
}
}  // namespace

void VolumeShift::add(const FileStat& before, const FileStat& now) {
  const auto amount_ns = shift_of(before, now);
  if (!amount_ns || (amount_ns_ && *amount_ns_ != *amount_ns)) {
    refuted_ = true;
    return;
  }
  amount_ns_ = amount_ns;
  ++files_;
}

std::optional<int64_t> VolumeShift::amount_ns() const {
  if (refuted_ || files_ < kShiftFilesMin) return std::nullopt;
  return amount_ns_;
}

}  // namespace holdfast
