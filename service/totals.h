// Totals: what a service has counted since its start, for its metrics. Values; the engine's thread
// counts, others get copies.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "journal/record.h"

namespace holdfast {

// How long something took, in buckets. `bounds` are seconds; the last bucket has no bound.
class Histogram {
 public:
  static constexpr std::array<double, 12> kBounds{0.001, 0.005, 0.025, 0.1, 0.25, 1,
                                                  2.5,   10,    30,    120, 600,  3600};
  void observe(int64_t ns) {
    const double seconds = static_cast<double>(ns < 0 ? 0 : ns) / 1e9;
    size_t bucket = 0;
    while (bucket < kBounds.size() && seconds > kBounds[bucket]) ++bucket;
    ++buckets_[bucket];
    sum_ += seconds;
  }
  uint64_t in_bucket(size_t bucket) const { return buckets_[bucket]; }
  double sum() const { return sum_; }

 private:
  std::array<uint64_t, kBounds.size() + 1> buckets_{};
  double sum_ = 0;
};

inline constexpr size_t kRecordKinds = static_cast<size_t>(RecordKind::kLink) + 1;

// What went wrong, by its cause.
enum class Trouble : uint8_t {
  kOverflow,    // the kernel's event queue lost events
  kWatch,       // a watcher could not be read
  kUnreadable,  // a file could not be read
  kUnstable,    // a file kept changing while it was read
  kNoSpace,     // a batch was undone because the state's disk was full
  kWrite,       // a batch was undone for another reason
};
inline constexpr size_t kTroubles = static_cast<size_t>(Trouble::kWrite) + 1;

struct RootTotals {
  uint64_t events = 0, overflows = 0, gaps = 0;
  uint64_t captures = 0, captured_bytes = 0;
};

// Records and stored bytes are those of committed batches.
struct EngineTotals {
  std::array<uint64_t, kRecordKinds> records{};
  std::array<uint64_t, kTroubles> troubles{};
  uint64_t stored_raw_bytes = 0, stored_bytes = 0;  // of frames, uncompressed and as written
  uint64_t known_bytes = 0;                         // of chunks that the store had already
  Histogram flush, capture;
  void count(Trouble trouble) { ++troubles[static_cast<size_t>(trouble)]; }
};

// What requests and schedules count. Any thread.
struct RequestTotals {
  std::atomic<uint64_t> restores_in_place{0}, restores_elsewhere{0};
  std::atomic<uint64_t> restored_files{0}, restored_bytes{0}, restore_failures{0};
  std::atomic<int64_t> snapshot_took_ns{0};
};

}  // namespace holdfast
