// Processes that are measured: commands that run to their end, and the service, which is watched
// while it works. What a process used comes from the kernel (wait4, /proc), never from the process
// itself.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace holdfast::bench {

double now_s();  // monotonic

struct Usage {
  double wall_s = 0, cpu_s = 0;  // CPU of the process and of the children that it waited for
  // The largest it ever was; of a pipeline, its largest process. The kernel counts from before
  // exec(), so that it is never less than the benchmark's own size, some 12 MB.
  uint64_t rss_bytes = 0;
};

// Runs the command to its end, its output discarded. An exit code other than 0 is an error.
Result<Usage> run_command(const std::vector<std::string>& arguments);
std::string shell_word(const std::string& text);
// By bash; all of the pipeline has to succeed, not only its end.
Result<Usage> run_pipeline(const std::string& commands);

// A service that watches one tree, from its start until it goes out of scope.
class ServiceRun {
 public:
  ServiceRun() = default;
  ~ServiceRun();
  ServiceRun(const ServiceRun&) = delete;
  ServiceRun& operator=(const ServiceRun&) = delete;

  // Returns when a flush that began as soon as the socket was there has been answered.
  Result<Usage> start(const std::string& program, const std::string& state, const std::string& tree,
                      const std::vector<std::string>& options = {});
  Status flush();  // over a connection of our own, kept open: no process is started for it
  Status stop();   // SIGTERM; an exit code other than 0 is an error
  double cpu_s() const;
  uint64_t anonymous_bytes() const;                        // now
  uint64_t anonymous_bytes_peak() const { return peak_; }  // sampled every few milliseconds

 private:
  void sample();
  pid_t pid_ = -1;
  Fd socket_;
  std::thread sampler_;
  std::atomic<bool> sampling_{false};
  std::atomic<uint64_t> peak_{0};
};

// What `log --follow` shows, as it comes, over a connection of our own.
class LogFollower {
 public:
  Status start(const std::string& state);
  Status wait_for(const std::string& text);  // reads on until it was there

 private:
  Fd socket_;
  std::string unread_;
};

}  // namespace holdfast::bench
