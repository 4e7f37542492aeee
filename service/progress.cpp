#include "service/progress.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace holdfast {

namespace {
constexpr auto kProgressEvery = std::chrono::milliseconds(500);
}  // namespace

void with_progress(ApiSink& sink, const std::function<Json()>& numbers,
                   const std::function<void()>& work) {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::thread thread([&] {
    work();
    std::lock_guard lock(mutex);
    done = true;
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  while (!changed.wait_for(lock, kProgressEvery, [&] { return done; })) {
    sink.write(json_line({{"progress", numbers()}}));
  }
  lock.unlock();
  thread.join();
}

}  // namespace holdfast
