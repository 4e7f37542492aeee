#include "service/alert_queue.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "base/hash.h"

namespace holdfast {

namespace {

constexpr int64_t kFirstWaitNs = 1'000'000'000;
constexpr int64_t kLongestWaitNs = 600'000'000'000;

uint32_t random_number() {
  uint32_t number = 0;
  random_bytes(&number, sizeof number);
  return number;
}

}  // namespace

int64_t retry_wait_ns(uint32_t tries, uint32_t random) {
  const uint32_t doublings = std::min<uint32_t>(tries == 0 ? 0 : tries - 1, 20);
  const int64_t wait_ns = std::min(kFirstWaitNs << doublings, kLongestWaitNs);
  return wait_ns + wait_ns / 5 * (random % 1000) / 1000;
}

namespace {

// The oldest notice that says that a cause is over, and the one before it that raised it.
std::optional<std::pair<size_t, size_t>> find_pair(const std::deque<AlertNotice>& notices) {
  for (size_t cleared = 2; cleared < notices.size(); ++cleared) {
    if (notices[cleared].event != AlertEvent::kCleared) continue;
    for (size_t raised = 1; raised < cleared; ++raised) {
      if (notices[raised].event != AlertEvent::kRaised) continue;
      if (notices[raised].alert == notices[cleared].alert) return std::pair{raised, cleared};
    }
  }
  return std::nullopt;
}

void erase_at(std::deque<AlertNotice>& notices, size_t index) {
  notices.erase(notices.begin() + static_cast<std::ptrdiff_t>(index));
}

}  // namespace

size_t make_room(std::deque<AlertNotice>& notices, size_t most) {
  size_t lost = 0;
  while (notices.size() > std::max<size_t>(most, 1)) {
    if (const auto pair = find_pair(notices)) {
      erase_at(notices, pair->second);
      erase_at(notices, pair->first);
    } else {
      erase_at(notices, 1);
      ++lost;
    }
  }
  return lost;
}

AlertQueue::AlertQueue(std::unique_ptr<AlertSink> sink, std::deque<AlertNotice> notices, Log& log,
                       std::function<void()> changed)
    : sink_(std::move(sink)),
      log_(log),
      changed_(std::move(changed)),
      notices_(std::move(notices)) {}

void AlertQueue::stop() {
  cancel();
  if (thread_.joinable()) thread_.join();
}

void AlertQueue::start() {
  thread_ = std::thread([this] { work(); });
}

void AlertQueue::push(const std::vector<AlertNotice>& notices) {
  size_t lost = 0;
  {
    const std::lock_guard lock(mutex_);
    notices_.insert(notices_.end(), notices.begin(), notices.end());
    lost = make_room(notices_, kNoticesMax);
    wake_.notify_all();
  }
  if (lost > 0) {
    log_.error("alerts by " + std::string(name()) + ": " + std::to_string(lost) +
               " notices are given up, because too many wait already");
  }
}

void AlertQueue::cancel() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  wake_.notify_all();
}

std::vector<AlertNotice> AlertQueue::notices() const {
  const std::lock_guard lock(mutex_);
  return {notices_.begin(), notices_.end()};
}

AlertSinkStatus AlertQueue::status() const {
  const std::lock_guard lock(mutex_);
  AlertSinkStatus status = status_;
  status.name = name();
  status.pending = notices_.size();
  return status;
}

void AlertQueue::work() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !notices_.empty(); });
      if (stopping_) return;
    }
    const int64_t wait_ns = send_first();
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, std::chrono::nanoseconds(wait_ns), [this] { return stopping_.load(); });
    if (stopping_) return;
  }
}

// How long to wait before the next try.
int64_t AlertQueue::send_first() {
  AlertNotice notice;
  {
    const std::lock_guard lock(mutex_);
    notice = notices_.front();
  }
  const SendResult result = sink_->send(notice, [this] { return stopping_.load(); });
  if (stopping_ && result.outcome != SendResult::Outcome::kSent) return 0;
  const bool sent = result.outcome == SendResult::Outcome::kSent;
  bool over = sent;
  uint32_t tries = 0;
  {
    const std::lock_guard lock(mutex_);
    tries = ++tries_;
    over = sent || result.outcome == SendResult::Outcome::kNever || tries >= sink_->tries_max();
    if (over) {
      notices_.pop_front();
      tries_ = 0;
    }
    status_.why = sent ? "" : result.words;
    status_.failed_in_turn = sent ? 0 : status_.failed_in_turn + 1;
    if (!sent) ++status_.failures;
  }
  if (!sent && (over || tries == 1)) failed(notice, result, over);
  if (over) {
    changed_();
    return 0;
  }
  return std::max(retry_wait_ns(tries, random_number()), result.retry_after_ns);
}

void AlertQueue::failed(const AlertNotice& notice, const SendResult& result, bool over) {
  log_.error("sending an alert (" + notice.alert.finding.check + ", " +
             words_for_event(notice.event) + ") by " + name() + " to " + sink_->place() + ": " +
             result.words +
             (over ? "; it is given up; holdfast test-alert tries the way of alerts"
                   : "; it is tried again"));
}

}  // namespace holdfast
