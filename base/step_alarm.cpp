#include "base/step_alarm.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <limits>

namespace holdfast {

Result<StepAlarm> StepAlarm::create() {
  Fd fd(::timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd) return errno_error(errno, "making a timer that tells when the clock is set");
  StepAlarm alarm(std::move(fd));
  TRY(alarm.arm());
  return alarm;
}

// A time that never comes: only a clock that is set ends the wait.
Status StepAlarm::arm() {
  itimerspec never{};
  never.it_value.tv_sec = std::numeric_limits<time_t>::max();
  if (::timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr) !=
      0) {
    return errno_error(errno, "waiting for the clock to be set");
  }
  return {};
}

void StepAlarm::take() {
  uint64_t expirations = 0;
  // ECANCELED is the news, and whoever asks reads the clocks anyhow.
  while (::read(fd_.get(), &expirations, sizeof expirations) < 0 && errno == EINTR) continue;
  // Armed anew it tells the next time. Where that fails, the clocks are still read at each turn.
  (void)arm().ok();
}

}  // namespace holdfast
