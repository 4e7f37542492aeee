// Alerts: looks for what is wrong, on a thread of its own: now and then, and at once when the log
// told of something; and tells of it once when it begins and once when it is over, in the log and
// through each configured sink (docs/alerts.md). What stands and what waits to be sent is in the
// state directory, so a restart repeats and forgets nothing.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "service/alert_bell.h"
#include "service/alert_book.h"
#include "service/alert_files.h"
#include "service/alert_queue.h"
#include "service/alert_status.h"
#include "service/api.h"
#include "service/config.h"

namespace holdfast {

class Alerts {
 public:
  // All outlive it.
  Alerts(Api& api, State& state, const Clock& clock, Log& log, AlertBell& bell,
         const AlertsConfig& config);
  ~Alerts();  // gives up what is being sent, and keeps it for the next start
  Alerts(const Alerts&) = delete;
  Alerts& operator=(const Alerts&) = delete;
  void cancel();
  AlertStatus status() const;

 private:
  void read_state();
  void work();
  int64_t look();
  AlertLook look_around();
  void look_at_files(const EngineStatus& engine, AlertLook& look);
  void look_at_disks(const EngineStatus& engine, AlertLook& look);
  void tell(const AlertNotice& notice);
  void keep();

  Api& api_;
  State& state_;
  const Clock& clock_;
  Log& log_;
  AlertBell& bell_;
  const AlertsConfig config_;
  AlertFiles files_;
  mutable std::mutex mutex_;  // of the book
  AlertBook book_;
  bool failed_ = false;    // the last look; its thread's
  std::mutex keep_mutex_;  // of the file, and of what is known of it
  bool keeping_failed_ = false;
  std::vector<std::unique_ptr<AlertQueue>> queues_;  // filled before the threads start
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace holdfast
