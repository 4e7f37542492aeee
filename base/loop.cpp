#include "base/loop.h"

#include <uv.h>

#include <vector>

namespace holdfast {

namespace {
struct Poll {
  uv_poll_t handle{};
  std::function<void()> callback;
};
struct Signal {
  uv_signal_t handle{};
  std::function<void()> callback;
};
Error uv_error(int code, const char* doing) {
  return make_error(ErrorCode::kFailed, std::string(doing) + ": " + uv_strerror(code));
}
template <class T>
uv_handle_t* base_of(T* handle) {
  return reinterpret_cast<uv_handle_t*>(handle);
}
}  // namespace

struct Loop::Handles {
  uv_loop_t loop{};
  uv_async_t async{};
  uv_timer_t timer{};
  uv_timer_t ticker{};
  std::function<void()> on_wake;
  std::function<void()> on_tick;
  std::vector<std::unique_ptr<Poll>> polls;
  std::vector<std::unique_ptr<Signal>> signals;
};

Loop::Loop() : handles_(std::make_unique<Handles>()) {}

Result<std::unique_ptr<Loop>> Loop::create() {
  std::unique_ptr<Loop> loop(new Loop);
  Handles& handles = *loop->handles_;
  if (int code = uv_loop_init(&handles.loop); code != 0)
    return uv_error(code, "starting the event loop");
  handles.async.data = handles.timer.data = handles.ticker.data = &handles;
  uv_async_init(&handles.loop, &handles.async, [](uv_async_t* async) {
    auto& woken = *static_cast<Handles*>(async->data);
    if (woken.on_wake) woken.on_wake();
  });
  uv_timer_init(&handles.loop, &handles.timer);
  uv_timer_init(&handles.loop, &handles.ticker);
  return loop;
}

Loop::~Loop() {
  Handles& handles = *handles_;
  uv_close(base_of(&handles.async), nullptr);
  uv_close(base_of(&handles.timer), nullptr);
  uv_close(base_of(&handles.ticker), nullptr);
  for (auto& poll : handles.polls) uv_close(base_of(&poll->handle), nullptr);
  for (auto& signal : handles.signals) uv_close(base_of(&signal->handle), nullptr);
  uv_run(&handles.loop, UV_RUN_DEFAULT);
  uv_loop_close(&handles.loop);
}

Status Loop::on_readable(int fd, std::function<void()> callback) {
  return on_events(fd, UV_READABLE, std::move(callback));
}

Status Loop::on_priority(int fd, std::function<void()> callback) {
  return on_events(fd, UV_PRIORITIZED, std::move(callback));
}

Status Loop::on_events(int fd, int events, std::function<void()> callback) {
  auto poll = std::make_unique<Poll>();
  poll->callback = std::move(callback);
  poll->handle.data = poll.get();
  if (int code = uv_poll_init(&handles_->loop, &poll->handle, fd); code != 0) {
    return uv_error(code, "polling a descriptor");
  }
  handles_->polls.push_back(std::move(poll));
  const int code = uv_poll_start(
      &handles_->polls.back()->handle, events,
      [](uv_poll_t* handle, int, int) { static_cast<Poll*>(handle->data)->callback(); });
  if (code != 0) return uv_error(code, "polling a descriptor");
  return {};
}

Status Loop::on_signal(int signal_number, std::function<void()> callback) {
  auto signal = std::make_unique<Signal>();
  signal->callback = std::move(callback);
  signal->handle.data = signal.get();
  uv_signal_init(&handles_->loop, &signal->handle);
  handles_->signals.push_back(std::move(signal));
  const int code = uv_signal_start(
      &handles_->signals.back()->handle,
      [](uv_signal_t* handle, int) { static_cast<Signal*>(handle->data)->callback(); },
      signal_number);
  if (code != 0) return uv_error(code, "watching for a signal");
  return {};
}

void Loop::on_wake(std::function<void()> callback) { handles_->on_wake = std::move(callback); }

void Loop::wake() { uv_async_send(&handles_->async); }

void Loop::set_timer(int64_t delay_ns) {
  if (delay_ns < 0) {
    uv_timer_stop(&handles_->timer);
    return;
  }
  uv_update_time(&handles_->loop);
  const auto delay_ms = static_cast<uint64_t>((delay_ns + 999'999) / 1'000'000);
  uv_timer_start(
      &handles_->timer,
      [](uv_timer_t* timer) {
        auto& woken = *static_cast<Handles*>(timer->data);
        if (woken.on_wake) woken.on_wake();
      },
      delay_ms, 0);
}

Status Loop::every(int64_t interval_ns, std::function<void()> callback) {
  handles_->on_tick = std::move(callback);
  const auto interval_ms = static_cast<uint64_t>((interval_ns + 999'999) / 1'000'000);
  const int code = uv_timer_start(
      &handles_->ticker, [](uv_timer_t* timer) { static_cast<Handles*>(timer->data)->on_tick(); },
      interval_ms, interval_ms);
  if (code != 0) return uv_error(code, "starting a timer");
  return {};
}

void Loop::run() { uv_run(&handles_->loop, UV_RUN_DEFAULT); }

void Loop::stop() { uv_stop(&handles_->loop); }

}  // namespace holdfast
