// AlertStatus: what `status` and the metrics show of alerts. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "service/alert_book.h"
#include "service/query.h"

namespace holdfast {

struct AlertSinkStatus {
  std::string name;             // "webhook", "command"
  uint64_t pending = 0;         // notices that could not be sent yet
  uint64_t failures = 0;        // tries, since the start
  uint32_t failed_in_turn = 0;  // since the last that worked
  std::string why;              // the last one failed; empty: it did not
};

struct AlertStatus {
  bool on = false;  // [alerts] is configured
  std::vector<Alert> standing;
  std::vector<AlertSinkStatus> sinks;
};

// The check of `status` that alerts themselves have: a sink fails again and again. In words.
inline constexpr const char* kAlertsCheck = "alerts";
std::vector<std::string> alert_problems(const AlertStatus& status);
Json alerts_json(const AlertStatus& status);  // null where they are off

}  // namespace holdfast
