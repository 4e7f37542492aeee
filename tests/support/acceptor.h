// Acceptor: a server of a test, with a thread for each connection.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace holdfast {

class Acceptor {
 public:
  ~Acceptor() { stop(); }
  // `listener` listens already.
  void start(int listener, std::function<void(Fd)> answer) {
    answer_ = std::move(answer);
    thread_ = std::thread([this, listener] { serve(listener); });
  }
  // Waits for the answers under way, which the owner has told to end.
  void stop() {
    if (!thread_.joinable()) return;
    ::eventfd_write(ended_.get(), 1);
    thread_.join();
    for (std::thread& answering : answering_) answering.join();
  }

 private:
  void serve(int listener) {
    for (;;) {
      pollfd fds[2] = {{listener, POLLIN, 0}, {ended_.get(), POLLIN, 0}};
      ::poll(fds, 2, -1);
      if (fds[1].revents != 0) return;
      Fd client(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) continue;
      answering_.emplace_back([this, fd = std::move(client)]() mutable { answer_(std::move(fd)); });
    }
  }

  Fd ended_{::eventfd(0, EFD_CLOEXEC)};
  std::function<void(Fd)> answer_;
  std::vector<std::thread> answering_;
  std::thread thread_;
};

}  // namespace holdfast
