#include "base/clock.h"

#include <fcntl.h>
#include <time.h>

#include "base/fd.h"

namespace holdfast {

namespace {
int64_t read_clock(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}
}  // namespace

int64_t SystemClock::wall_ns() const { return read_clock(CLOCK_REALTIME); }
int64_t SystemClock::boottime_ns() const { return read_clock(CLOCK_BOOTTIME); }

std::string SystemClock::boot_id() const {
  Fd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  char text[36];
  if (!fd || ::read(fd.get(), text, sizeof text) != ssize_t{sizeof text}) return "unknown";
  return std::string(text, sizeof text);
}

}  // namespace holdfast
