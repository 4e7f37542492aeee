// Tcp: a connection to a program under test, byte by byte, as curl or a hostile client makes it.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <string>

#include "base/fd.h"

namespace holdfast {

class Tcp {
 public:
  explicit Tcp(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to = loopback(port);
    connected_ = ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  bool connected() const { return connected_; }
  bool send(const std::string& bytes) {
    return ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  // Until the other side ends it; "" where that is at once. Fails after a minute.
  std::string read_all() {
    std::string bytes;
    char buffer[4096];
    for (;;) {
      pollfd ready{fd_.get(), POLLIN, 0};
      REQUIRE(::poll(&ready, 1, 60'000) == 1);
      const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (got <= 0) return bytes;
      bytes.append(buffer, static_cast<size_t>(got));
    }
  }

 private:
  Fd fd_;
  bool connected_ = false;
};

// One that nobody listens on now. Another program may take it before it is used: rarely.
inline uint16_t free_port() {
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = Tcp::loopback(0);
  socklen_t size = sizeof address;
  REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

struct HttpReply {
  int status = 0;
  std::string head, body;
};
inline HttpReply http_get(uint16_t port, const std::string& target,
                          const std::string& method = "GET") {
  Tcp tcp(port);
  REQUIRE(tcp.connected());
  REQUIRE(tcp.send(method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  const std::string all = tcp.read_all();
  const size_t end = all.find("\r\n\r\n");
  REQUIRE(all.starts_with("HTTP/1.1 "));
  REQUIRE(end != std::string::npos);
  return {std::stoi(all.substr(9, 3)), all.substr(0, end), all.substr(end + 4)};
}

}  // namespace holdfast
