#include "tests/support/raw_put.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <catch2/catch.hpp>
#include <cstring>

namespace holdfast {

namespace {
bool send_all(int fd, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t sent = ::send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += static_cast<size_t>(sent);
  }
  return true;
}
}  // namespace

RawPut::RawPut(const std::string& state, const std::string& path_and_parameters)
    : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string socket_path = state + "/api.sock";
  REQUIRE(socket_path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  REQUIRE(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(send_all(fd_.get(), "POST /v1/put?path=" + path_and_parameters +
                                  " HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                                  "Connection: close\r\n\r\n"));
}

bool RawPut::send(const std::string& bytes) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return bytes.empty() || send_all(fd_.get(), size + bytes + "\r\n");
}

std::string RawPut::end() {
  send_all(fd_.get(), "0\r\n\r\n");
  std::string answer;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::recv(fd_.get(), buffer, sizeof buffer, 0)) > 0;) {
    answer.append(buffer, static_cast<size_t>(got));
  }
  return answer;
}

std::string put_content(const std::string& state, const std::string& path_and_parameters,
                        const std::string& bytes) {
  RawPut put(state, path_and_parameters);
  constexpr size_t kPiece = 100'000;
  for (size_t at = 0; at < bytes.size() && put.send(bytes.substr(at, kPiece)); at += kPiece) {
  }
  const std::string answer = put.end();
  const size_t begin = answer.find('{'), end = answer.rfind('}');
  REQUIRE(end != std::string::npos);
  return answer.substr(begin, end + 1 - begin);
}

}  // namespace holdfast
