// ProbeServer: a TCP listener for probes and scrapers. Reads a request's head, answers, closes.
//
// A thread that accepts, and one for each connection, of which there are few: each has ten seconds
// and eight kilobytes to ask its question in and ten seconds to take its answer, however it
// trickles. Where all are taken, the one that has been asking the longest is cut off for the next
// one, so that who connects and says nothing keeps nobody out. Nothing of the service waits for any
// of them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "service/config.h"
#include "service/probe_request.h"

namespace holdfast {

class ProbeServer {
 public:
  using Answer = std::function<ProbeReply(const ProbeRequest&)>;  // any thread, several at once
  static constexpr size_t kConnectionsMax = 16;

  // A socket that listens, for start(). Who connects before that waits. The message of an error
  // says what to do.
  static Result<Fd> listen_on(const HttpConfig& listen);
  static Result<std::unique_ptr<ProbeServer>> start(Fd listener, Answer answer);
  ~ProbeServer();  // cuts off whoever is connected
  ProbeServer(const ProbeServer&) = delete;
  ProbeServer& operator=(const ProbeServer&) = delete;

 private:
  struct Impl;
  ProbeServer();
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast
