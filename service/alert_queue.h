// AlertQueue: the notices that wait for one sink, sent by a thread of its own in the order in which
// they were told, so that a sink that fails holds up nothing but itself. Any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "service/alert_sink.h"
#include "service/alert_status.h"

namespace holdfast {

// How long to wait after that many failed tries, from 1 on: a second, doubled each time up to ten
// minutes, and up to a fifth more as `random` says, so that many services do not come at once.
int64_t retry_wait_ns(uint32_t tries, uint32_t random);

// Where there are more than `most`: notices of a cause that is over go, raised and cleared, the
// oldest first; then the oldest of all. The first is left where it is: it is being sent. How many
// nobody will hear of that stand.
size_t make_room(std::deque<AlertNotice>& notices, size_t most);

class AlertQueue {
 public:
  static constexpr size_t kNoticesMax = 500;

  // What was not sent by the service before this one comes first. `changed` is called by the thread
  // when a notice has left the queue; both outlive it.
  AlertQueue(std::unique_ptr<AlertSink> sink, std::deque<AlertNotice> notices, Log& log,
             std::function<void()> changed);
  ~AlertQueue() { stop(); }
  AlertQueue(const AlertQueue&) = delete;
  AlertQueue& operator=(const AlertQueue&) = delete;
  void start();
  void push(const std::vector<AlertNotice>& notices);
  void cancel();  // returns at once
  void stop();    // what is being sent is given up, and kept; `changed` is not called any more

  const char* name() const { return sink_->name(); }
  std::vector<AlertNotice> notices() const;
  AlertSinkStatus status() const;

 private:
  void work();
  int64_t send_first();
  void failed(const AlertNotice& notice, const SendResult& result, bool over);

  const std::unique_ptr<AlertSink> sink_;
  Log& log_;
  const std::function<void()> changed_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<AlertNotice> notices_;
  uint32_t tries_ = 0;  // of the first
  AlertSinkStatus status_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace holdfast
