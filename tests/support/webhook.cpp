#include "tests/support/webhook.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <optional>

#include "tests/support/tcp.h"

namespace holdfast {

namespace {

constexpr auto kWait = std::chrono::seconds(120);

// The body of a request, as its Content-Length says; nullopt: it broke off.
std::optional<std::string> read_body(int fd) {
  std::string request;
  char buffer[4096];
  size_t head = std::string::npos, length = 0;
  while (head == std::string::npos || request.size() < head + 4 + length) {
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) return std::nullopt;
    request.append(buffer, static_cast<size_t>(got));
    if (head != std::string::npos) continue;
    head = request.find("\r\n\r\n");
    const size_t at = request.find("Content-Length: ");
    if (head != std::string::npos && at < head) length = std::stoul(request.substr(at + 16));
  }
  if (!request.starts_with("POST /")) return std::nullopt;
  return request.substr(head + 4);
}

}  // namespace

Webhook::Webhook() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = Tcp::loopback(0);
  socklen_t size = sizeof address;
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(listener_.get(), generic, size) == 0);
  REQUIRE(::getsockname(listener_.get(), generic, &size) == 0);
  REQUIRE(::listen(listener_.get(), 16) == 0);
  port_ = ntohs(address.sin_port);
  acceptor_.start(listener_.get(), [this](Fd client) { answer(std::move(client)); });
}

Webhook::~Webhook() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  acceptor_.stop();
}

std::string Webhook::url() const {
  return "http://127.0.0.1:" + std::to_string(port_) + "/" + kSecret + "?key=" + kSecret;
}

void Webhook::answer_next(const std::vector<int>& statuses) {
  std::lock_guard lock(mutex_);
  statuses_.insert(statuses_.end(), statuses.begin(), statuses.end());
}

void Webhook::hang(bool yes) {
  std::lock_guard lock(mutex_);
  hanging_ = yes;
  changed_.notify_all();
}

void Webhook::answer(Fd client) {
  const auto body = read_body(client.get());
  if (!body) return;
  int status = 200;
  {
    std::unique_lock lock(mutex_);
    ++requests_;
    changed_.notify_all();
    if (hanging_) {  // for good, for this one
      changed_.wait(lock, [this] { return over_ || !hanging_; });
      return;
    }
    if (!statuses_.empty()) {
      status = statuses_.front();
      statuses_.pop_front();
    }
  }
  const std::string text = "HTTP/1.1 " + std::to_string(status) +
                           " X\r\nConnection: close\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n";
  const bool sent = ::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
                    static_cast<ssize_t>(text.size());
  std::lock_guard lock(mutex_);
  if (sent && status == 200) taken_.push_back(TestJson::parse(*body));
  changed_.notify_all();
}

std::vector<TestJson> Webhook::taken() const {
  std::lock_guard lock(mutex_);
  return taken_;
}

size_t Webhook::requests() const {
  std::lock_guard lock(mutex_);
  return requests_;
}

TestJson Webhook::wait_for(const std::string& event, const std::string& check) const {
  const auto is_it = [&](const TestJson& notice) {
    return notice.at("event") == event && notice.at("check") == check;
  };
  std::unique_lock lock(mutex_);
  const bool came = changed_.wait_for(
      lock, kWait, [&] { return std::any_of(taken_.begin(), taken_.end(), is_it); });
  INFO("waiting for " << event << " " << check << ", there are " << TestJson(taken_).dump());
  REQUIRE(came);
  return *std::find_if(taken_.begin(), taken_.end(), is_it);
}

void Webhook::wait_for_requests(size_t count) const {
  std::unique_lock lock(mutex_);
  REQUIRE(changed_.wait_for(lock, kWait, [&] { return requests_ >= count; }));
}

}  // namespace holdfast
