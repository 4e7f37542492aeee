#include "tools/test_alert.h"

#include <cstdio>

#include "base/clock.h"
#include "service/alert_sink.h"

namespace holdfast {

int run_test_alert(const AlertsConfig& alerts, const TestAlertOptions& options) {
  const auto sinks = make_alert_sinks(alerts, options.state_dir);
  if (sinks.empty()) {
    std::fprintf(stderr,
                 "holdfast: there is nothing to test: name a webhook or a command in [alerts] of "
                 "the configuration (--config)\n");
    return 2;
  }
  const AlertNotice notice = test_notice(SystemClock().wall_ns());
  bool all_sent = true;
  for (const auto& sink : sinks) {
    const SendResult result = sink->send(notice, [] { return false; });
    const bool sent = result.outcome == SendResult::Outcome::kSent;
    all_sent = all_sent && sent;
    if (options.json) {
      const Json line{{"sink", sink->name()},
                      {"place", sink->place()},
                      {"sent", sent},
                      {"result", result.words}};
      std::fputs(json_line(line).c_str(), stdout);
    } else if (!options.quiet || !sent) {
      std::fprintf(sent ? stdout : stderr, "%s %s to %s: %s\n", sent ? "sent  " : "FAILED",
                   sink->name(), sink->place().c_str(), result.words.c_str());
    }
  }
  return std::fflush(stdout) == 0 && all_sent ? 0 : 1;
}

}  // namespace holdfast
