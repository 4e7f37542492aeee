// HttpUpload: the body of a request on its way from the connection's thread, which gets it piece by
// piece, to the handler's thread, which asks for it. Holds kHeldBytesMax at most.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "service/api.h"

namespace holdfast {

class HttpUpload final : public ApiBody {
 public:
  // --- the handler's thread ---
  Result<size_t> read(char* out, size_t size) override {
    std::unique_lock lock(mutex_);
    reading_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return broken_off_ || ended_ || at_ < held_.size(); });
    if (broken_off_) {
      return make_error(ErrorCode::kInterrupted,
                        "what was being given broke off; nothing of it is journaled");
    }
    const size_t got = std::min(size, held_.size() - at_);
    held_.copy(out, got, at_);
    at_ += got;
    if (at_ == held_.size()) {
      held_.clear();
      at_ = 0;
      changed_.notify_all();
    }
    return got;
  }
  Trailers trailers() override {
    std::lock_guard lock(mutex_);
    return trailers_;
  }
  // Nobody reads any more.
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  // --- the connection's thread ---
  // Waits until the handler wants bytes (true), or has ended without (false): then it can be
  // answered before anything is sent.
  bool wait_for_reader() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reading_ || closed_; });
    return !closed_;
  }
  // False: nobody reads any more.
  bool push(std::string_view bytes) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ || held_.size() < kHeldBytesMax; });
    if (closed_) return false;
    held_ += bytes;
    changed_.notify_all();
    return true;
  }
  void end(Trailers trailers) {
    std::lock_guard lock(mutex_);
    trailers_ = std::move(trailers);
    ended_ = true;
    changed_.notify_all();
  }
  void break_off() {
    std::lock_guard lock(mutex_);
    broken_off_ = !ended_;
    changed_.notify_all();
  }

 private:
  static constexpr size_t kHeldBytesMax = 512 * 1024;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string held_;
  size_t at_ = 0;  // what is before it has been read
  Trailers trailers_;
  bool reading_ = false, closed_ = false, ended_ = false, broken_off_ = false;
};

}  // namespace holdfast
