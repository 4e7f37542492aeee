// Process: a program that a test starts, with its output captured, and every wait bounded in time.
//
// A child never outlives the test: it is killed when the Process is destroyed, and by the kernel
// when the test program dies before that. Output is read by a thread of its own, so that a child
// never blocks on a full pipe and a test can wait for a line. One owner; wait from one thread at a
// time.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace holdfast {

// The program that is tested: the one that was built along, or $HOLDFAST_TEST_BINARY, which a
// sanitized build gives to tests that another build made (.ci/run).
const std::string& holdfast_binary();
bool binary_is_sanitized();

struct Command {
  std::vector<std::string> args;                         // args[0] is looked up in PATH
  std::string cwd;                                       // "": the test's own
  std::vector<std::pair<std::string, std::string>> env;  // added to the test's own
  uid_t uid = 0;                                         // where not 0: run as that user and group
};

struct Outcome {
  int exit_code = -1;  // 128 + the signal's number where one ended it, as a shell says it
  bool timed_out = false;
  std::string out, err;
};

class Process {
 public:
  static constexpr int kWaitMs = 120'000;

  // A program that cannot be started exits with 127.
  explicit Process(const Command& command);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool running() const;
  void signal(int number) const;
  // Waits for the end. When the time is over the child is killed and the outcome says so.
  Outcome wait(int timeout_ms = kWaitMs);
  // Waits until standard output (or standard error) holds `text`. False: the stream ended, or the
  // time is over.
  bool wait_for_output(const std::string& text, int timeout_ms = kWaitMs);
  bool wait_for_error(const std::string& text, int timeout_ms = kWaitMs);
  std::string output() const { return out_.text(); }
  std::string error_output() const { return err_.text(); }

 private:
  class Stream {
   public:
    ~Stream();
    void follow(Fd fd);
    bool wait_for(const std::string& text, int timeout_ms);
    std::string text() const;
    std::string finish();  // what came until the end

   private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::string text_;
    bool ended_ = false;
    std::thread thread_;
  };

  pid_t pid_ = -1;
  Fd pid_fd_;
  Stream out_, err_;
  std::optional<Outcome> outcome_;
};

// Runs to the end. The test fails where that takes longer than `timeout_ms`.
Outcome run_process(const Command& command, int timeout_ms = Process::kWaitMs);
// The same for a tool that must succeed, such as mkfs.
Outcome run_tool(const std::vector<std::string>& args);

}  // namespace holdfast
