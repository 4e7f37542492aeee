#include "tests/growth/ask.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/fd.h"
#include "base/fs.h"

namespace holdfast::growth {

namespace {

double now_ms() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

Result<Fd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return make_error(ErrorCode::kUsage, path + " is too long for a socket's path");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error(errno, "creating a socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return errno_error(errno, "connecting to " + path);
  }
  return fd;
}

// The answer comes in chunked transfer encoding, which an empty chunk ends; of an error, plain.
Status read_answer(int fd, Asked& asked) {
  std::vector<char> piece(256 * 1024);
  std::string tail;
  asked.bytes = asked.lines = 0;
  while (!tail.ends_with("\r\n0\r\n\r\n")) {
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return make_error(ErrorCode::kFailed, "the service broke its answer off");
    const std::string_view bytes(piece.data(), static_cast<size_t>(got));
    if (asked.bytes == 0 && !bytes.starts_with("HTTP/1.1 200")) {
      return make_error(ErrorCode::kFailed, "the service answered " + std::string(bytes));
    }
    asked.bytes += bytes.size();
    for (size_t at = bytes.find("}\n"); at != bytes.npos; at = bytes.find("}\n", at + 1)) {
      ++asked.lines;
    }
    tail.append(bytes);
    if (tail.size() > 16) tail.erase(0, tail.size() - 16);
  }
  return {};
}

}  // namespace

Result<Asked> ask(const std::string& socket_path, const std::string& target, int times) {
  TRY_ASSIGN(const Fd fd, connect_to(socket_path));
  Asked asked;
  std::vector<double> took;
  for (int i = 0; i < times; ++i) {
    const double begin = now_ms();
    TRY(write_full(fd.get(), "GET " + target + " HTTP/1.1\r\nHost: holdfast\r\n\r\n"));
    TRY(read_answer(fd.get(), asked));
    took.push_back(now_ms() - begin);
  }
  std::sort(took.begin(), took.end());
  asked.median_ms = took[took.size() / 2];
  asked.worst_ms = took.back();
  return asked;
}

}  // namespace holdfast::growth
