// VolumeShift: tells whether all files of a root had their times moved by one amount, as a file
// system that keeps local times (FAT) does with the time zone. Pure; one for each root and look.
//
// Every file is read all the same, and gets its record: its times are others now, and a restore of
// that moment has to give them back. This names the one cause of them all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "journal/record.h"

namespace holdfast {

inline constexpr int64_t kShiftStepNs =
    900'000'000'000;  // time zones differ by quarters of an hour
inline constexpr size_t kShiftFilesMin = 5;

class VolumeShift {
 public:
  // A file that was found with the content that it had, as it was and as it is.
  void add(const FileStat& before, const FileStat& now);
  // The amount, where all files that were added agree on it, and there are enough of them.
  std::optional<int64_t> amount_ns() const;
  size_t files() const { return files_; }
  bool refuted() const { return refuted_; }

 private:
  std::optional<int64_t> amount_ns_;
  size_t files_ = 0;
  bool refuted_ = false;
};

}  // namespace holdfast
