#include "base/step_alarm.h"

#include <poll.h>

#include <catch2/catch.hpp>

namespace holdfast {

// That it fires cannot be tested without setting the machine's clock.
TEST_CASE("an alarm for steps is silent while the clock is not set", "[clock]") {
  auto alarm = StepAlarm::create();
  REQUIRE(alarm.ok());
  pollfd poll_fd{alarm->fd(), POLLIN, 0};
  REQUIRE(::poll(&poll_fd, 1, 0) == 0);
  alarm->take();  // must not block
  REQUIRE(::poll(&poll_fd, 1, 0) == 0);
}

}  // namespace holdfast
