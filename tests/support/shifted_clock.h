// ShiftedClock: another wall clock for a service under test, and for nobody else.
//
// The service sees the real time plus a shift, which a test moves while it runs: a clock that is
// set back. Where the shift is negative from the start, everything that the kernel stamps is ahead
// of the service's clock: a file server whose clock is fast. The clock that counts since boot can
// be moved on with it, as when the machine was suspended: time passes, and nothing was set.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "tests/support/holdfast_run.h"

namespace holdfast {

class ShiftedClock {
 public:
  ShiftedClock(const WorkDir& work, int64_t shift_ns) : path_(work.path("clock-shift")) {
    set(shift_ns);
  }
  void set(int64_t shift_ns) {
    wall_ns_ = shift_ns;
    write();
  }
  void pass(int64_t ns) {
    wall_ns_ += ns;
    boottime_ns_ += ns;
    write();
  }
  int64_t shift_ns() const { return wall_ns_; }
  // For Holdfast::start_under(). The sanitizer wants to be the first library, and needn't be.
  std::vector<std::string> wrapper() const {
    return {"env", "LD_PRELOAD=" HOLDFAST_CLOCK_SHIFT, "HOLDFAST_TEST_CLOCK_SHIFT=" + path_,
            "ASAN_OPTIONS=verify_asan_link_order=0"};
  }

 private:
  // In place and at once: the service has the file mapped.
  void write() const {
    const int64_t shifts[2] = {wall_ns_, boottime_ns_};
    const Fd fd(::open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    REQUIRE(::pwrite(fd.get(), shifts, sizeof shifts, 0) == sizeof shifts);
  }

  const std::string path_;
  int64_t wall_ns_ = 0, boottime_ns_ = 0;
};

}  // namespace holdfast
