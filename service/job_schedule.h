// JobSchedule: the dumps and the snapshots that the service makes by itself, on a thread of its
// own, one after the other. When each was made last, the journal knows, so a restart changes
// nothing.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "service/config.h"
#include "service/dump_run.h"

namespace holdfast {

struct JobOptions {
  std::vector<DumpConfig> dumps;
  std::optional<int64_t> snapshot_every_ns;
  SnapshotConfig snapshot;
  bool operator==(const JobOptions&) const = default;
};

bool is_scheduled(const Snapshot& snapshot);  // taken by a schedule

class JobSchedule {
 public:
  JobSchedule(Api& api, Gate& gate, State& state, const Clock& clock, Log& log, JobOptions options);
  ~JobSchedule();  // ends what is running; nothing of that is journaled
  JobSchedule(const JobSchedule&) = delete;
  JobSchedule& operator=(const JobSchedule&) = delete;
  void cancel();
  void finish();  // returns when what is running is done; nothing is begun any more

 private:
  void work();
  void read_last_times();
  void dump(const DumpConfig& dump);
  void snapshot();
  Status take_snapshot();
  void snapshot_failed(const std::string& text);
  Status remove_old_ones();

  Api& api_;
  Gate& gate_;
  State& state_;
  const Clock& clock_;
  Log& log_;
  const JobOptions options_;
  std::map<std::string, int64_t> last_dump_ns_;  // wall, of its beginning
  std::optional<int64_t> last_snapshot_ns_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> stopping_{false};   // and what is running is to be given up
  std::atomic<bool> finishing_{false};  // nothing is to be begun
  std::thread thread_;
};

}  // namespace holdfast
