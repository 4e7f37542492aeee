// FakeDocker: as much of the Docker API as stopping and starting takes, on a Unix socket, and told
// by the test to fail or to hang. A call is its verb and the container: "inspect web", "stop web",
// "start web".
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "tests/support/acceptor.h"

namespace holdfast {

class FakeDocker {
 public:
  explicit FakeDocker(std::string socket);
  ~FakeDocker();
  FakeDocker(const FakeDocker&) = delete;
  FakeDocker& operator=(const FakeDocker&) = delete;

  const std::string& socket() const { return socket_; }
  void add(const std::string& container, bool running = true);
  bool running(const std::string& container) const;
  void fail(const std::string& call, const std::string& why);  // status 500, until mend()
  void hang(const std::string& call);                          // does nothing, until mend()
  void mend(const std::string& call);
  std::vector<std::string> calls() const;    // in their order
  std::vector<std::string> changes() const;  // without the inspections
  bool wait_for(const std::string& call, size_t times = 1) const;

 private:
  void answer(Fd client);
  std::string handle(const std::string& method, const std::string& target);

  const std::string socket_;
  Fd listener_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::map<std::string, bool> containers_;
  std::map<std::string, std::string> failing_;
  std::set<std::string> hanging_;
  std::vector<std::string> calls_;
  bool over_ = false;
  Acceptor acceptor_;
};

}  // namespace holdfast
