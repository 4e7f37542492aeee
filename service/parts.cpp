#include "service/parts.h"

namespace holdfast {

namespace {

// A job that is under way is brought to its end; what goes on where it was is not waited for.
void finish(JobSchedule& jobs) { jobs.finish(); }
void finish(Inboxes& inboxes) { inboxes.finish(); }
template <class Part>
void finish(Part&) {}

}  // namespace

ServiceParts::ServiceParts(State& state, Gate& gate, const Clock& clock, Log& log, AlertBell& bell,
                           Api& api)
    : state_(state),
      gate_(gate),
      clock_(clock),
      log_(log),
      bell_(bell),
      api_(api),
      pruner_(state, gate, clock),
      since_ns_(clock.wall_ns()) {
  api_.tell_scrub([this] {
    const std::lock_guard lock(mutex_);
    return scrub_ ? scrub_->at() : read_scrub_state(state_.dir);
  });
  api_.tell_inboxes([this](std::vector<std::string>& problems) {
    const std::lock_guard lock(mutex_);
    return inboxes_ ? inboxes_->status(problems) : Json::array();
  });
  api_.tell_alerts([this] {
    const std::lock_guard lock(mutex_);
    return alerts_ ? alerts_->status() : AlertStatus{};
  });
}

void ServiceParts::start(const PartOptions& options) { apply(options); }

// The old one ends outside the lock: until then it may ask the loop's thread, which may want it.
template <class Part, class Make>
void ServiceParts::exchange(std::unique_ptr<Part>& part, const Make& make) {
  if (part) finish(*part);  // it is replaced on this thread alone
  std::unique_ptr<Part> old;
  {
    const std::lock_guard lock(mutex_);
    old.swap(part);
  }
  old.reset();
  const std::lock_guard lock(mutex_);
  if (!cancelled_) part = make();
}

void ServiceParts::apply(const PartOptions& options) {
  if (!options_ || options_->scrub != options.scrub) {
    exchange(scrub_,
             [&] { return std::make_unique<Scrub>(state_, gate_, clock_, log_, options.scrub); });
  }
  if (!options_ || options_->retention != options.retention) {
    api_.tell_pruner(pruner_, options.retention.value_or(kDefaultRetention));
    exchange(prunes_, [&] {
      return std::make_unique<PruneSchedule>(pruner_, options.retention, state_, gate_, clock_,
                                             log_);
    });
  }
  if (!options_ || options_->jobs != options.jobs) {
    api_.tell_dumps(options.jobs.dumps);
    exchange(jobs_, [&] {
      return std::make_unique<JobSchedule>(api_, gate_, state_, clock_, log_, options.jobs);
    });
  }
  if (!options_ || options_->inboxes != options.inboxes) {
    exchange(inboxes_, [&] {
      return std::make_unique<Inboxes>(options.inboxes, api_, state_, gate_, clock_, log_);
    });
  }
  api_.tell_health({options.health, options.scrub.every_ns,
                    options.jobs.snapshot_every_ns.value_or(0), since_ns_});
  // Last: what they look at is in force by now.
  if (!options_ || options_->alerts != options.alerts) {
    exchange(alerts_, [&] {
      return options.alerts
                 ? std::make_unique<Alerts>(api_, state_, clock_, log_, bell_, *options.alerts)
                 : nullptr;
    });
  }
  options_ = options;
}

void ServiceParts::replace(const PartOptions& options, std::function<void()> done) {
  auto before = std::make_shared<std::thread>(std::move(replacing_));
  replacing_ = std::thread([this, options, done = std::move(done), before] {
    if (before->joinable()) before->join();
    apply(options);
    const std::lock_guard lock(mutex_);
    if (!cancelled_) done();
  });
}

void ServiceParts::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  if (jobs_) jobs_->cancel();
  if (inboxes_) inboxes_->cancel();
  if (alerts_) alerts_->cancel();
}

void ServiceParts::stop() {
  cancel();
  pruner_.cancel();
  if (replacing_.joinable()) replacing_.join();
  std::unique_ptr<Alerts> alerts;
  {
    const std::lock_guard lock(mutex_);
    alerts.swap(alerts_);
  }
  alerts.reset();  // outside the lock: until then it may ask the others
  jobs_.reset();
  prunes_.reset();
  inboxes_.reset();
  scrub_.reset();
}

}  // namespace holdfast
