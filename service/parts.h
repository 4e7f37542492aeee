// ServiceParts: what works beside the loop as the configuration says, each on a thread of its own:
// the scrub, pruning, dumps and snapshots, the inboxes, alerts. A new configuration replaces those
// whose part of it changed, each when it is done with what it was doing.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "journal/retention.h"
#include "service/alerts.h"
#include "service/api.h"
#include "service/health.h"
#include "service/inbox.h"
#include "service/job_schedule.h"
#include "service/prune.h"
#include "service/scrub.h"

namespace holdfast {

struct PartOptions {
  ScrubOptions scrub;
  std::optional<RetentionPolicy> retention;  // none: nothing is pruned by itself
  JobOptions jobs;
  std::vector<InboxConfig> inboxes;  // as checked_inboxes() gives them
  HealthLimits health;
  std::optional<AlertsConfig> alerts;  // none: nobody is told
};

class ServiceParts {
 public:
  // All outlive it.
  ServiceParts(State& state, Gate& gate, const Clock& clock, Log& log, AlertBell& bell, Api& api);
  ~ServiceParts() { stop(); }
  ServiceParts(const ServiceParts&) = delete;
  ServiceParts& operator=(const ServiceParts&) = delete;
  void start(const PartOptions& options);
  // Returns at once. A thread of its own waits until what is under way is done, a dump or a restore
  // of an inbox, and calls `done` then; not if it is cancelled. One after the other.
  void replace(const PartOptions& options, std::function<void()> done);
  // To be called while the engine still answers; returns at once.
  void cancel();
  void stop();  // when nobody answers any more; returns when no thread of theirs runs

 private:
  void apply(const PartOptions& options);
  template <class Part, class Make>
  void exchange(std::unique_ptr<Part>& part, const Make& make);

  State& state_;
  Gate& gate_;
  const Clock& clock_;
  Log& log_;
  AlertBell& bell_;
  Api& api_;
  Pruner pruner_;
  const int64_t since_ns_;
  std::thread replacing_;
  std::optional<PartOptions> options_;  // what is in force; that thread's, while it runs
  mutable std::mutex mutex_;            // of what follows
  bool cancelled_ = false;
  std::unique_ptr<Scrub> scrub_;
  std::unique_ptr<PruneSchedule> prunes_;
  std::unique_ptr<JobSchedule> jobs_;
  std::unique_ptr<Inboxes> inboxes_;
  std::unique_ptr<Alerts> alerts_;
};

}  // namespace holdfast
