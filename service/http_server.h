// HttpServer: the API over HTTP on a Unix socket. A thread for each connection, because a long
// query or a restore must not hold up the loop (docs/decisions/0004).
//
// An error before the first byte is an HTTP status with {"error", "code"}; after it, JSON answers
// end with such a line, and raw ones break off.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "service/api.h"

namespace holdfast {

class HttpServer {
 public:
  // Takes over a stale socket file; the caller holds the state's lock.
  static Result<std::unique_ptr<HttpServer>> start(const std::string& socket_path, Api& api);
  ~HttpServer();  // ends what is being answered, and waits for it
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

 private:
  struct Impl;
  HttpServer();
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast
