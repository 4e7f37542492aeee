#include "base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <string>

#include "base/path.h"

namespace holdfast {

namespace {

struct LevelText {
  spdlog::level::level_enum level;
  const char* text;  // padded, so that messages line up
};

LevelText level_text(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return {spdlog::level::debug, "debug "};
    case LogLevel::kInfo: return {spdlog::level::info, "info  "};
    case LogLevel::kWarn: return {spdlog::level::warn, "warn  "};
    case LogLevel::kError: break;
  }
  return {spdlog::level::err, "error "};
}

class SpdlogLog final : public Log {
 public:
  explicit SpdlogLog(LogLevel least)
      : logger_("holdfast", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger_.set_level(level_text(least).level);
    // The level's name is ours: spdlog would write "warning", which is wider than the column.
    logger_.set_pattern("%Y-%m-%dT%H:%M:%SZ %v", spdlog::pattern_time_type::utc);
    logger_.flush_on(spdlog::level::trace);
    logger_.set_error_handler(
        [](const std::string&) {});  // a closed stderr must not stop the service
  }
  void write(const LogEvent& event) override {
    const LevelText at = level_text(event.level);
    if (!logger_.should_log(at.level)) return;
    const std::string line = at.text + display_text(event.message);
    logger_.log(at.level, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  spdlog::logger logger_;
};

}  // namespace

std::unique_ptr<Log> make_stderr_log(LogLevel least) { return std::make_unique<SpdlogLog>(least); }

}  // namespace holdfast
