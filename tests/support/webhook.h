// Webhook: a server on the loopback that takes what is posted to it, and answers as the test says:
// with a status, or not at all.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "tests/support/acceptor.h"
#include "tests/support/holdfast_run.h"

namespace holdfast {

class Webhook {
 public:
  Webhook();
  ~Webhook();
  Webhook(const Webhook&) = delete;
  Webhook& operator=(const Webhook&) = delete;

  // With a path and a query that nobody may read in a log.
  std::string url() const;
  static constexpr const char* kSecret = "sEcReT-path";
  void answer_next(const std::vector<int>& statuses);  // and 200 after those
  void hang(bool yes);                                 // takes requests, and never answers those
  // The bodies so far, of requests that were answered with 200, and of all.
  std::vector<TestJson> taken() const;
  size_t requests() const;
  // Waits until there is such a notice among those that were taken, and returns it.
  TestJson wait_for(const std::string& event, const std::string& check) const;
  void wait_for_requests(size_t count) const;

 private:
  void answer(Fd client);

  Fd listener_;
  uint16_t port_ = 0;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::deque<int> statuses_;
  bool hanging_ = false, over_ = false;
  size_t requests_ = 0;
  std::vector<TestJson> taken_;
  Acceptor acceptor_;
};

}  // namespace holdfast
