// Log: lines for the person who runs the service, on standard error:
//
//   2026-11-21T04:30:06Z info  watching /data/uploads
//
// Passed in through constructors; whoever makes it owns it and it outlives its users. Any thread
// may write. A message is one line: control characters in it (file names are hostile) come out
// escaped. log.cpp is the only place that includes spdlog.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace holdfast {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError };

class Log {
 public:
  virtual ~Log() = default;
  virtual void write(LogLevel level, std::string_view message) = 0;
  void debug(std::string_view message) { write(LogLevel::kDebug, message); }
  void info(std::string_view message) { write(LogLevel::kInfo, message); }
  void warn(std::string_view message) { write(LogLevel::kWarn, message); }
  void error(std::string_view message) { write(LogLevel::kError, message); }
};

// To standard error, from `least` up.
std::unique_ptr<Log> make_stderr_log(LogLevel least = LogLevel::kInfo);

// For tests and for code that has nobody to talk to.
class NullLog final : public Log {
 public:
  void write(LogLevel, std::string_view) override {}
};

}  // namespace holdfast
