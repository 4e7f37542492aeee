// Service: `holdfast watch`. Owns the loop, the engine and the API server; run() returns when
// SIGTERM or SIGINT asked it to stop and everything is committed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "journal/retention.h"
#include "service/config.h"
#include "service/engine.h"
#include "service/job_schedule.h"
#include "service/scrub.h"

namespace holdfast {

struct ServiceOptions {
  std::string state_dir;
  std::vector<RootSpec> roots;
  ScrubOptions scrub;
  std::optional<RetentionPolicy> retention;  // none: nothing is pruned by itself
  JobOptions jobs;
  std::vector<InboxConfig> inboxes;  // as checked_inboxes() gives them
  Backend backend = Backend::kAuto;
};

Status run_service(const ServiceOptions& options, const Clock& clock, Log& log);

}  // namespace holdfast
