#include "service/probe_server.h"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <list>
#include <mutex>
#include <thread>

#include "base/fd.h"

namespace holdfast {

namespace {

using Steady = std::chrono::steady_clock;
constexpr auto kTimeToAsk = std::chrono::seconds(10);
constexpr auto kTimeToTake = std::chrono::seconds(10);

// Waits until the socket is ready. False: the time is over.
bool wait_for(int fd, short events, Steady::time_point until) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Steady::now()).count();
    if (left <= 0) return false;
    pollfd ready{fd, events, 0};
    const int count = ::poll(&ready, 1, static_cast<int>(left));
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) return false;
  }
}

// Until the empty line; nullopt: the client went away. A reply: it is refused.
struct Asked {
  std::string head;
  std::optional<ProbeReply> refused;
};
std::optional<Asked> read_head(int fd) {
  const auto until = Steady::now() + kTimeToAsk;
  Asked asked;
  char bytes[2048];
  while (wait_for(fd, POLLIN, until)) {
    const ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return std::nullopt;
    asked.head.append(bytes, static_cast<size_t>(got));
    if (const auto end = probe_head_end(asked.head)) {
      asked.head.resize(*end);
      return asked;
    }
    if (asked.head.size() > kProbeHeadMax) {
      asked.refused = ProbeReply{431, "The request is longer than 8 KiB.\n"};
      return asked;
    }
  }
  asked.refused = ProbeReply{408, "The request did not come within 10 s.\n"};
  return asked;
}

void send_all(int fd, std::string_view bytes) {
  const auto until = Steady::now() + kTimeToTake;
  while (!bytes.empty() && wait_for(fd, POLLOUT, until)) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

// What is still coming is read, for a moment: closing over it would take the answer from the
// client.
void end_gently(int fd) {
  const auto until = Steady::now() + std::chrono::seconds(1);
  ::shutdown(fd, SHUT_WR);
  char bytes[2048];
  for (int pieces = 0; pieces < 64 && wait_for(fd, POLLIN, until); ++pieces) {
    if (::recv(fd, bytes, sizeof bytes, 0) <= 0) return;
  }
}

std::string advice_for(int code) {
  switch (code) {
    case EADDRINUSE:
      return "; another program listens there (ss -ltnp shows which): stop it, or choose another "
             "port with --listen or listen in [http]";
    case EACCES: return "; ports below 1024 are for root: choose a higher one";
    case EADDRNOTAVAIL: return "; this machine has no such address: choose one of its own";
    default: return "";
  }
}

}  // namespace

Result<Fd> ProbeServer::listen_on(const HttpConfig& listen) {
  const std::string doing = "listening on " + words_for(listen) + " for probes and metrics";
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code =
      ::getaddrinfo(listen.host.c_str(), std::to_string(listen.port).c_str(), &hints, &found);
  if (code != 0) {
    return make_error(ErrorCode::kUsage, doing + ": " + ::gai_strerror(code) +
                                             "; give an address of this machine, as in "
                                             "127.0.0.1:7474 or [::1]:7474");
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  Fd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error(errno, doing);
  const int yes = 1;
  // So that a restart need not wait for connections of before; a listener is still refused.
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd.get(), 64) != 0) {
    Error error = errno_error(errno, doing);
    error.message += advice_for(error.sys_errno);
    return error;
  }
  return fd;
}

struct ProbeServer::Impl {
  struct Connection {
    Fd fd;
    bool asking = true, done = false;
    std::thread thread;
  };

  Answer answer;
  Fd listener, stop;
  std::mutex mutex;  // of connections, and of what is in them
  std::list<Connection> connections;
  std::thread thread;

  void accept_all();
  void accept_one();
  void serve(Connection& connection);
  void clear_done();
};

void ProbeServer::Impl::accept_all() {
  for (;;) {
    pollfd ready[2] = {{listener.get(), POLLIN, 0}, {stop.get(), POLLIN, 0}};
    if (::poll(ready, 2, -1) < 0 && errno != EINTR) return;
    if (ready[1].revents != 0) return;
    if (ready[0].revents != 0) accept_one();
  }
}

void ProbeServer::Impl::clear_done() {
  std::list<Connection> ended;
  {
    const std::lock_guard lock(mutex);
    for (auto at = connections.begin(); at != connections.end();) {
      const auto here = at++;
      if (here->done) ended.splice(ended.end(), connections, here);
    }
  }
  for (Connection& connection : ended) connection.thread.join();
}

void ProbeServer::Impl::accept_one() {
  Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) {
    if (errno == EMFILE || errno == ENFILE) {  // it stays readable: not again at once
      pollfd stopping{stop.get(), POLLIN, 0};
      ::poll(&stopping, 1, 1000);
    }
    return;
  }
  clear_done();
  const std::lock_guard lock(mutex);
  if (connections.size() >= kConnectionsMax) {
    for (Connection& connection : connections) {  // the oldest first
      if (!connection.asking) continue;
      connection.asking = false;  // is not cut off twice
      ::shutdown(connection.fd.get(), SHUT_RDWR);
      break;
    }
    // Those that are cut off end in a moment; that many may be about to.
    if (connections.size() >= 2 * kConnectionsMax) return;
  }
  Connection& connection = connections.emplace_back();
  connection.fd = std::move(fd);
  connection.thread = std::thread([this, &connection] { serve(connection); });
}

void ProbeServer::Impl::serve(Connection& connection) {
  const int fd = connection.fd.get();
  if (const auto asked = read_head(fd)) {
    {
      const std::lock_guard lock(mutex);
      connection.asking = false;
    }
    const auto request = parse_probe(asked->head);
    ProbeReply reply{400, "This is no HTTP/1.1 request.\n"};
    if (asked->refused) {
      reply = *asked->refused;
    } else if (request) {
      auto refused = refuse_probe(*request);
      reply = refused ? *refused : answer(*request);
    }
    send_all(fd, render_reply(reply, request && request->method == "HEAD"));
  }
  end_gently(fd);
  const std::lock_guard lock(mutex);
  connection.fd.reset();
  connection.done = true;
}

ProbeServer::ProbeServer() : impl_(std::make_unique<Impl>()) {}

Result<std::unique_ptr<ProbeServer>> ProbeServer::start(Fd listener, Answer answer) {
  std::unique_ptr<ProbeServer> server(new ProbeServer);
  Impl& impl = *server->impl_;
  impl.answer = std::move(answer);
  impl.listener = std::move(listener);
  impl.stop = Fd(::eventfd(0, EFD_CLOEXEC));
  if (!impl.stop) return errno_error(errno, "making an eventfd for probes and metrics");
  impl.thread = std::thread([&impl] { impl.accept_all(); });
  return server;
}

ProbeServer::~ProbeServer() {
  Impl& impl = *impl_;
  if (impl.stop) ::eventfd_write(impl.stop.get(), 1);
  if (impl.thread.joinable()) impl.thread.join();
  {
    const std::lock_guard lock(impl.mutex);
    for (Impl::Connection& connection : impl.connections) {
      ::shutdown(connection.fd.get(), SHUT_RDWR);
    }
  }
  for (Impl::Connection& connection : impl.connections) connection.thread.join();
}

}  // namespace holdfast
