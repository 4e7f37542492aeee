// AlertSink: where notices go: a webhook, a command (docs/alerts.md). Blocking; each from one
// thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "service/alert_notice.h"
#include "service/config.h"

namespace holdfast {

struct SendResult {
  enum class Outcome : uint8_t {
    kSent,
    kLater,  // it may work when it is tried again
    kNever,  // it will not, before somebody changes something
  };
  Outcome outcome = Outcome::kLater;
  std::string words;           // "HTTP status 200", "exit status 1; it wrote: …"
  int64_t retry_after_ns = 0;  // the other side asks for so much time; 0: it does not
};

class AlertSink {
 public:
  virtual ~AlertSink() = default;
  virtual const char* name() const = 0;   // "webhook", "command"
  virtual std::string place() const = 0;  // for people; without what may be secret of it
  virtual uint32_t tries_max() const = 0;
  // `stop` is asked a few times a second; the result is kLater then.
  virtual SendResult send(const AlertNotice& notice, const std::function<bool()>& stop) = 0;
};

// What is configured, in a fixed order.
std::vector<std::unique_ptr<AlertSink>> make_alert_sinks(const AlertsConfig& config,
                                                         const std::string& state_dir);

}  // namespace holdfast
