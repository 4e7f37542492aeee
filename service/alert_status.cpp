#include "service/alert_status.h"

#include "base/path.h"
#include "journal/time_spec.h"

namespace holdfast {

namespace {
constexpr uint32_t kFailedTriesMax = 3;  // in turn, before a sink counts as broken
}

std::vector<std::string> alert_problems(const AlertStatus& status) {
  std::vector<std::string> problems;
  for (const AlertSinkStatus& sink : status.sinks) {
    if (sink.failed_in_turn < kFailedTriesMax) continue;
    problems.push_back("notices cannot be sent by " + sink.name + " (" +
                       std::to_string(sink.pending) + " wait): " + sink.why +
                       "; holdfast test-alert tries the way of alerts");
  }
  return problems;
}

Json alerts_json(const AlertStatus& status) {
  if (!status.on) return Json();
  Json json;
  json["standing"] = Json::array();
  for (const Alert& alert : status.standing) {
    json["standing"].push_back({{"check", alert.finding.check},
                                {"root", alert.finding.root},
                                {"what", to_utf8_lossy(alert.finding.what)},
                                {"since", format_time(alert.since_ns)}});
  }
  json["sinks"] = Json::array();
  for (const AlertSinkStatus& sink : status.sinks) {
    json["sinks"].push_back({{"name", sink.name},
                             {"pending", sink.pending},
                             {"failures", sink.failures},
                             {"why", sink.why.empty() ? Json() : Json(to_utf8_lossy(sink.why))}});
  }
  return json;
}

}  // namespace holdfast
