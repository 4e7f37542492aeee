// Loop: the event loop, over libuv. Everything but wake() belongs to the thread that calls run().
//
// Callbacks may register more callbacks. The loop ends at stop(); handles are closed by the
// destructor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/result.h"

namespace holdfast {

class Loop {
 public:
  static Result<std::unique_ptr<Loop>> create();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Status on_readable(int fd, std::function<void()> callback);  // the fd stays the caller's
  Status on_priority(int fd, std::function<void()> callback);  // POLLPRI: /proc/self/mountinfo
  Status on_signal(int signal_number, std::function<void()> callback);
  void on_wake(std::function<void()> callback);
  void wake();  // any thread; several wakes may become one call
  // One timer: calls on_wake's callback after that time; a new call replaces it; negative: none.
  void set_timer(int64_t delay_ns);
  // Calls back every so often, as long as the loop runs; once a loop.
  Status every(int64_t interval_ns, std::function<void()> callback);
  void run();
  void stop();

 private:
  struct Handles;
  Loop();
  Status on_events(int fd, int events, std::function<void()> callback);
  std::unique_ptr<Handles> handles_;
};

}  // namespace holdfast
