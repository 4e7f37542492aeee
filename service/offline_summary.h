// OfflineSummary: counts what the first look after a start finds, for one line that says what
// happened while the service was off. Pure; the engine's thread.
//
// Records count when their batch is durable; those of a batch that failed are found and counted
// again.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "journal/record.h"

namespace holdfast {

// Outcomes by record. A directory counts when it comes, goes or moves, not when only its own
// metadata changed: its times move with every entry.
struct OfflineCounts {
  uint64_t changed = 0, created = 0, deleted = 0, moved = 0, attrib = 0;
  std::map<std::string, uint64_t> verdicts;  // those that raise an alarm
  void add(const Record& record);
  void add(const OfflineCounts& other);
};

struct OfflineReport {
  int64_t from_ns = 0, until_ns = 0;  // wall times
  std::optional<int64_t> off_ns;      // nullopt: not known, since the clock went back in between
  bool at_most = false;               // it ended without a stop, some time after its last record
  bool finished = false;              // all roots have been looked through
  OfflineCounts counts;
};

// "while the service was off, at most 14 h 3 min: 12 changed, 4 new, 3 gone"
std::string words_for_offline(const OfflineReport& report);

class OfflineSummary {
 public:
  void begin(OfflineReport report) { report_ = std::move(report); }
  void appended(const Record& record);
  // The first look is over: the note to journal, once.
  std::optional<std::string> finish();
  bool looking() const { return report_ && !report_->finished; }
  // What was appended is durable. True: the finished summary is, too.
  bool committed();
  void undone();
  const std::optional<OfflineReport>& report() const { return report_; }

 private:
  std::optional<OfflineReport> report_;
  OfflineCounts uncommitted_;
  bool finishing_ = false;
};

}  // namespace holdfast
