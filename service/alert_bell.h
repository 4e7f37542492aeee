// AlertBell: wakes whoever looks for alerts when something was logged that is worth a look at once.
// Any thread; nothing is called back, so it may ring whatever locks are held.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "base/log.h"

namespace holdfast {

class AlertBell {
 public:
  void ring() {
    const std::lock_guard lock(mutex_);
    rung_ = true;
    wake_.notify_all();
  }
  // Until it rings, or the time is over; one that rang before is heard now.
  void wait(int64_t timeout_ns) {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), [this] { return rung_; });
    rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool rung_ = false;
};

// A log that rings for what may be an alert, or the end of one.
class RingingLog final : public Log {
 public:
  RingingLog(Log& log, AlertBell& bell) : log_(log), bell_(bell) {}
  void write(const LogEvent& event) override {
    log_.write(event);
    const bool of_alerts =
        event.kind == LogKind::kAlertRaised || event.kind == LogKind::kAlertCleared;
    if (event.kind != LogKind::kPlain && !of_alerts) bell_.ring();
  }

 private:
  Log& log_;
  AlertBell& bell_;
};

}  // namespace holdfast
