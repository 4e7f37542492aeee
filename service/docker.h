// DockerApi: stops and starts containers through the Docker API on a Unix socket; podman's is
// compatible. Blocking; any thread, one call at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"

namespace holdfast {

class DockerApi {
 public:
  // `cancelled` is asked a few times a second while a call waits.
  DockerApi(std::string socket, std::function<bool()> cancelled)
      : socket_(std::move(socket)), cancelled_(std::move(cancelled)) {}

  // kNotFound: there is no such container. Other errors: the API does not answer as it should.
  Result<bool> is_running(const std::string& container) const;
  // The container is told to end, and killed by the API where it has not after that time.
  Status stop(const std::string& container, int64_t timeout_ns) const;
  Status start(const std::string& container, int64_t timeout_ns) const;

 private:
  Status change(const std::string& container, const std::string& doing, const std::string& target,
                int64_t timeout_ns) const;
  std::string socket_;
  std::function<bool()> cancelled_;
};

}  // namespace holdfast
