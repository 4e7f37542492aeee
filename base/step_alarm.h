// StepAlarm: a descriptor that becomes readable when the wall clock is set, so that a service that
// sleeps learns of it at once (timerfd with TFD_TIMER_CANCEL_ON_SET). One owner.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace holdfast {

class StepAlarm {
 public:
  static Result<StepAlarm> create();
  int fd() const { return fd_.get(); }
  // Takes what made it readable, and waits for the next time.
  void take();

 private:
  explicit StepAlarm(Fd fd) : fd_(std::move(fd)) {}
  Status arm();
  Fd fd_;
};

}  // namespace holdfast
