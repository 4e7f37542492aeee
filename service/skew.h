// Skew: how far the clock that stamps files is from ours. Pure; one owner each.
//
//   skew_of_probes   a file of ours, stamped by the file system between two readings of our clock
//   WriterSkew       the files of a tree: stamps that a kernel set, of changes that an event told
//   of SkewTeller       what of it is news
//
// All amounts are "their clock minus ours": positive is ahead.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace holdfast {

inline constexpr int64_t kSkewWarnNs = 2'000'000'000;
inline constexpr int64_t kSkewCriticalNs = 5'000'000'000;
inline constexpr int64_t kSkewNewsNs = 2'000'000'000;       // a change of this size is told again
inline constexpr int64_t kSkewSpreadNs = 1'000'000'000;     // "one consistent offset"
inline constexpr int64_t kAnnouncedLagNs = 10'000'000'000;  // from a change to our look at it
inline constexpr size_t kSkewFilesMin = 5;
inline constexpr size_t kSkewOverMin = 20;  // stamps in a row that are as they should be
inline constexpr size_t kProbes = 5;

// One stamp that was set between `before_ns` and `after_ns` of our wall clock.
struct ProbeReading {
  int64_t before_ns = 0, after_ns = 0;
  int64_t stamp_ns = 0;
};
// The middle of [stamp - after, stamp - before] of the narrowest; nullopt without any.
std::optional<int64_t> skew_of_probes(const std::vector<ProbeReading>& probes);

class WriterSkew {
 public:
  // A file whose mtime is its ctime, looked at at `now_ns` of the file system's clock because an
  // event told of it within the last kAnnouncedLagNs. `coarse_ns`: what the stamps may be off by.
  // Returns the skew once kSkewFilesMin different files agree on it; 0 after kSkewOverMin stamps in
  // a row that lie within the window.
  std::optional<int64_t> add(uint64_t file, int64_t stamp_ns, int64_t now_ns, int64_t coarse_ns);
  void reset();

 private:
  struct Sample {
    uint64_t file;
    int64_t offset_ns;
  };
  std::vector<Sample> files_;  // those that agree so far
  size_t right_ = 0;           // stamps in a row within the window
};

// What has been told stays told until it changes by more than kSkewNewsNs, or is over.
class SkewTeller {
 public:
  struct News {
    int64_t amount_ns = 0;
    bool over = false;  // what was told is no more
  };
  std::optional<News> update(int64_t skew_ns);
  void forget() { told_ns_.reset(); }  // the record was undone
  std::optional<int64_t> told_ns() const { return told_ns_; }

 private:
  std::optional<int64_t> told_ns_;
};

// "-3600.012 s", what notes of clock records begin with; and the amount that such a note has.
std::string words_for_amount(int64_t ns);
std::optional<int64_t> amount_of_note(const std::string& note);

}  // namespace holdfast
