// Log: lines for the person who runs the service, on standard error:
//
//   2026-11-21T04:30:06Z info  watching /data/uploads
//
// or, where that is systemd's journal, as entries of it with fields to search by (docs/systemd.md).
// Passed in through constructors; whoever makes it owns it and it outlives its users. Any thread
// may write. A message is one line: control characters in it (file names are hostile) come out
// escaped. log.cpp is the only place that includes spdlog.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace holdfast {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError };

// What happened, where somebody may want to be woken by it. Each has a MESSAGE_ID of systemd's
// journal, which never changes (docs/systemd.md, systemd/holdfast.catalog).
enum class LogKind : uint8_t {
  kPlain,         // none
  kReady,         // everything was looked through
  kCorruption,    // a file's bytes changed and nothing wrote to it
  kSuspicion,     // a change that hides, or is of an unusual kind
  kRootLost,      // a watched directory is not there
  kRootBack,      //
  kGap,           // for a while, changes may have been missed
  kDegraded,      // not everything can be watched, or everything can again
  kClock,         // a clock was set, or is not what it should be
  kStateFailed,   // nothing can be kept: a full disk, an error of it
  kStateWorks,    // again
  kNotKeeping,    // no new content is kept: the store is at its quota, or the disk at its reserve
  kKeeping,       // again, and nothing of what is there is missing
  kDumpRejected,  // it is kept, and does not count as good
  kJobFailed,     // a dump, a snapshot, a prune, a restore of an inbox
  kAlertRaised,   // docs/alerts.md
  kAlertCleared,  // what it told of is over
};

struct LogEvent {
  LogLevel level = LogLevel::kInfo;
  LogKind kind = LogKind::kPlain;
  std::string_view message;
  std::string_view root, path;  // a root's name and, below it, the raw bytes of a path; or empty
  uint64_t seq = 0;             // of the record; 0: none
};

class Log {
 public:
  virtual ~Log() = default;
  virtual void write(const LogEvent& event) = 0;
  void debug(std::string_view message) { plain(LogLevel::kDebug, message); }
  void info(std::string_view message) { plain(LogLevel::kInfo, message); }
  void warn(std::string_view message) { plain(LogLevel::kWarn, message); }
  void error(std::string_view message) { plain(LogLevel::kError, message); }

 private:
  void plain(LogLevel level, std::string_view message) {
    LogEvent event;
    event.level = level;
    event.message = message;
    write(event);
  }
};

// To standard error, from `least` up.
std::unique_ptr<Log> make_stderr_log(LogLevel least = LogLevel::kInfo);

// For tests and for code that has nobody to talk to.
class NullLog final : public Log {
 public:
  void write(const LogEvent&) override {}
};

}  // namespace holdfast
