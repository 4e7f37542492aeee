// Service: `holdfast watch`. Owns the loop, the engine and the API server; run() returns when
// SIGTERM or SIGINT asked it to stop and everything is committed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "service/engine.h"
#include "service/parts.h"

namespace holdfast {

struct ServiceOptions {
  std::string state_dir;
  std::vector<RootSpec> roots;
  PartOptions parts;
  Backend backend = Backend::kAuto;
  SpaceLimits space;
  bool expect_state = false;         // a state that is not there is an error, and not begun
  std::optional<HttpConfig> listen;  // for probes and metrics
  // Reads the configuration again, for SIGHUP; empty: there is none.
  std::function<Result<ServiceOptions>()> reread;
};

// What of `next` cannot take effect while a service runs with `now`, in words; roots that are new
// can.
std::vector<std::string> words_for_restart(const ServiceOptions& now, const ServiceOptions& next);

Status run_service(const ServiceOptions& options, const Clock& clock, Log& log);

}  // namespace holdfast
