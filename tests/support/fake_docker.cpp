#include "tests/support/fake_docker.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>

namespace holdfast {

namespace {
constexpr auto kWait = std::chrono::seconds(120);

std::string response(int status, const std::string& body) {
  return "HTTP/1.1 " + std::to_string(status) +
         " X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}
}  // namespace

FakeDocker::FakeDocker(std::string socket)
    : socket_(std::move(socket)), listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(socket_.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, socket_.c_str(), socket_.size() + 1);
  REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(listener_.get(), 16) == 0);
  acceptor_.start(listener_.get(), [this](Fd client) { answer(std::move(client)); });
}

FakeDocker::~FakeDocker() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  acceptor_.stop();
  ::unlink(socket_.c_str());
}

void FakeDocker::answer(Fd client) {
  std::string request;
  char buffer[4096];
  while (request.find("\r\n\r\n") == std::string::npos) {
    const ssize_t got = ::recv(client.get(), buffer, sizeof buffer, 0);
    if (got <= 0) return;
    request.append(buffer, static_cast<size_t>(got));
  }
  const size_t first = request.find(' '), second = request.find(' ', first + 1);
  const std::string text =
      handle(request.substr(0, first), request.substr(first + 1, second - first - 1));
  (void)!::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

std::string FakeDocker::handle(const std::string& method, const std::string& target) {
  const std::string prefix = "/containers/";
  const size_t slash = target.find('/', prefix.size());
  if (!target.starts_with(prefix) || slash == std::string::npos) {
    return response(404, R"({"message":"page not found"})");
  }
  const std::string name = target.substr(prefix.size(), slash - prefix.size());
  std::string verb = target.substr(slash + 1);
  verb = method == "GET" && verb == "json" ? "inspect" : verb.substr(0, verb.find('?'));
  const std::string call = verb + " " + name;
  std::unique_lock lock(mutex_);
  calls_.push_back(call);
  changed_.notify_all();
  changed_.wait(lock, [&] { return over_ || !hanging_.contains(call); });
  if (over_) return "";
  if (failing_.contains(call)) {
    return response(500, R"({"message":")" + failing_[call] + R"("})");
  }
  if (!containers_.contains(name)) {
    return response(404, R"({"message":"No such container: )" + name + R"("})");
  }
  bool& runs = containers_[name];
  if (verb == "inspect") {
    return response(200, std::string(R"({"Id":"0123","State":{"Status":"x","Running":)") +
                             (runs ? "true" : "false") + "}}");
  }
  const bool wanted = verb == "start", same = runs == wanted;
  runs = wanted;
  return response(same ? 304 : 204, "");
}

void FakeDocker::add(const std::string& container, bool running) {
  std::lock_guard lock(mutex_);
  containers_[container] = running;
}
bool FakeDocker::running(const std::string& container) const {
  std::lock_guard lock(mutex_);
  return containers_.at(container);
}
void FakeDocker::fail(const std::string& call, const std::string& why) {
  std::lock_guard lock(mutex_);
  failing_[call] = why;
}
void FakeDocker::hang(const std::string& call) {
  std::lock_guard lock(mutex_);
  hanging_.insert(call);
}
void FakeDocker::mend(const std::string& call) {
  std::lock_guard lock(mutex_);
  failing_.erase(call);
  hanging_.erase(call);
  changed_.notify_all();
}
std::vector<std::string> FakeDocker::calls() const {
  std::lock_guard lock(mutex_);
  return calls_;
}
std::vector<std::string> FakeDocker::changes() const {
  std::vector<std::string> all = calls();
  all.erase(std::remove_if(all.begin(), all.end(),
                           [](const std::string& call) { return call.starts_with("inspect"); }),
            all.end());
  return all;
}
bool FakeDocker::wait_for(const std::string& call, size_t times) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kWait, [&] {
    return static_cast<size_t>(std::count(calls_.begin(), calls_.end(), call)) >= times;
  });
}

}  // namespace holdfast
