#include "service/alerts.h"

#include <algorithm>
#include <set>

#include "base/path.h"
#include "service/alert_state.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr int64_t kLookEveryNs = 30'000'000'000;
constexpr int64_t kLookStandingNs = 10'000'000'000;  // while something stands that may be over
constexpr int64_t kLookAgainNs = 2'000'000'000;  // while something is about to be raised or cleared
constexpr int64_t kFilesStepNs = 100'000'000;    // between the steps through a long journal
constexpr int64_t kSettleNs = 300'000'000;       // what the log told of is there by then

// The bound of [alerts], else that of [health] or its default.
HealthLimits disk_limits(HealthLimits limits, const AlertsConfig& config) {
  if (!config.free_below_percent && !config.free_below_bytes) return limits;
  limits.free_below_percent = config.free_below_percent;
  limits.free_below_bytes = config.free_below_bytes;
  return limits;
}

bool is_looked_through(const EngineStatus& engine) {
  return !engine.scanning &&
         std::all_of(engine.roots.begin(), engine.roots.end(), [](const RootStatus& root) {
           return root.lost || root.caught_up_ago_ns.has_value();
         });
}

}  // namespace

Alerts::Alerts(Api& api, State& state, const Clock& clock, Log& log, AlertBell& bell,
               const AlertsConfig& config)
    : api_(api),
      state_(state),
      clock_(clock),
      log_(log),
      bell_(bell),
      config_(config),
      files_(state, config.file_above_bytes) {
  read_state();
  for (const auto& queue : queues_) queue->start();
  thread_ = std::thread([this] { work(); });
}

Alerts::~Alerts() {
  cancel();
  if (thread_.joinable()) thread_.join();
  for (const auto& queue : queues_) queue->stop();  // all, before one of them goes
}

void Alerts::cancel() {
  stopping_ = true;
  bell_.ring();
  for (const auto& queue : queues_) queue->cancel();
}

void Alerts::read_state() {
  auto kept = read_alert_state(state_.dir);
  if (!kept.ok()) log_.error(kept.error().message);
  const AlertState before = kept.ok() ? std::move(*kept) : AlertState{};
  book_ = AlertBook(before.standing);
  for (auto& sink : make_alert_sinks(config_, state_.dir)) {
    std::deque<AlertNotice> notices;
    for (const PendingNotice& pending : before.pending) {
      if (pending.sink == sink->name()) notices.push_back(pending.notice);
    }
    queues_.push_back(std::make_unique<AlertQueue>(std::move(sink), std::move(notices), log_,
                                                   [this] { keep(); }));
  }
  keep();
}

void Alerts::work() {
  for (;;) {
    const int64_t wait_ns = look();
    if (stopping_) return;
    const int64_t until_ns = clock_.boottime_ns() + wait_ns;
    bell_.wait(wait_ns);
    // It rang, and may go on ringing: one look is for all of it.
    const int64_t settled_ns = std::min(until_ns, clock_.boottime_ns() + kSettleNs);
    while (!stopping_ && clock_.boottime_ns() < settled_ns) {
      bell_.wait(settled_ns - clock_.boottime_ns());
    }
    if (stopping_) return;
  }
}

// How long until the next one.
int64_t Alerts::look() {
  const AlertLook around = look_around();
  if (stopping_) return 0;  // of a service that ends, nothing is wrong
  std::vector<AlertNotice> notices;
  bool undecided = false, stands = false;
  {
    const std::lock_guard lock(mutex_);
    notices = book_.look(around, clock_.wall_ns(), clock_.boottime_ns());
    undecided = book_.undecided();
    stands = !book_.standing().empty();
  }
  for (const AlertNotice& notice : notices) tell(notice);
  if (!notices.empty()) {
    for (const auto& queue : queues_) queue->push(notices);
    keep();
  }
  if (!files_.complete()) return kFilesStepNs;
  if (undecided) return kLookAgainNs;
  return stands ? kLookStandingNs : kLookEveryNs;
}

AlertLook Alerts::look_around() {
  AlertLook look;
  const auto engine = api_.engine_status();
  if (!engine.ok()) {
    // Of all else nothing is known now.
    look.may_clear = false;
    if (engine.error().code == ErrorCode::kFailed) {
      look.findings = api_.loop_findings();
    }
    return look;
  }
  look.may_clear = is_looked_through(*engine);
  auto findings = api_.findings_now(*engine);
  const std::string why = findings.ok() ? "" : findings.error().message;
  if (!findings.ok()) {
    if (!failed_) log_.error("looking for what is wrong: " + why + "; holdfast check says more");
    failed_ = true;
    look.may_clear = false;
    return look;
  }
  failed_ = false;
  look.findings = std::move(*findings);
  // The disks have bounds of their own, and of its own failures a sink cannot tell.
  std::erase_if(look.findings, [](const Finding& finding) {
    return finding.check == "free_space" || finding.check == kAlertsCheck;
  });
  look_at_disks(*engine, look);
  look_at_files(*engine, look);
  return look;
}

// One cause for each file system, whatever lies on it: that of the state first.
void Alerts::look_at_disks(const EngineStatus& engine, AlertLook& look) {
  const HealthLimits limits = disk_limits(api_.health().limits, config_);
  std::set<uint64_t> seen;
  const auto look_at = [&](const std::string& root, const std::string& path,
                           const std::string& what) {
    const auto disk = api_.disk_of(path);
    if (!disk.ok()) {
      look.unknown.push_back({"free_space", root});
      return;
    }
    if (!seen.insert(disk->device).second) return;
    Finding cause;
    cause.check = "free_space";
    cause.root = root;
    cause.subject = "disk";
    const std::lock_guard lock(mutex_);
    auto finding = space_finding(what, disk->space, limits, book_.stands(cause));
    if (!finding) return;
    finding->root = root;
    if (root.empty()) finding->fix += ", or drop old versions with holdfast prune";
    look.findings.push_back(std::move(*finding));
  };
  look_at("", state_.dir, "free space on the disk of the state " + display_path(state_.dir));
  for (const RootStatus& root : engine.roots) {
    if (root.lost) {  // what is under its path now is another disk
      look.unknown.push_back({"free_space", root.name});
    } else {
      look_at(root.name, root.path, "free space on the disk of " + display_path(root.path));
    }
  }
}

void Alerts::look_at_files(const EngineStatus& engine, AlertLook& look) {
  std::set<std::string> watched;
  for (const RootStatus& root : engine.roots) {
    watched.insert(root.name);
    if (root.lost) {
      look.unknown.push_back({"file_size", root.name});
      look.unknown.push_back({"unreadable", root.name});
    }
  }
  // Through a long journal in steps, with the other checks in between; then all that is new.
  Result<bool> done = files_.step();
  while (done.ok() && !*done && files_.complete() && !stopping_) done = files_.step();
  auto findings = done.ok() ? files_.findings(watched) : Result<std::vector<Finding>>(done.error());
  if (!findings.ok() || !files_.complete()) {
    look.unknown.push_back({"file_size", std::nullopt});
    look.unknown.push_back({"unreadable", std::nullopt});
  }
  if (!findings.ok()) {
    log_.warn("looking for large and unreadable files: " + findings.error().message);
    return;
  }
  look.findings.insert(look.findings.end(), findings->begin(), findings->end());
}

void Alerts::tell(const AlertNotice& notice) {
  const Finding& finding = notice.alert.finding;
  const bool raised = notice.event == AlertEvent::kRaised;
  const std::string place = finding.root.empty() ? "" : finding.root + ": ";
  const std::string text = raised ? "ALERT " + finding.check + ": " + finding.text()
                                  : "alert over after " +
                                        words_for_duration(notice.time_ns - notice.alert.since_ns) +
                                        ": " + finding.check + ": " + place + finding.what;
  log_.write({raised ? LogLevel::kError : LogLevel::kInfo,
              raised ? LogKind::kAlertRaised : LogKind::kAlertCleared, text, finding.root, "", 0});
}

// A disk that is full must not keep its alert from being sent: what cannot be kept is only told
// once more after a restart.
void Alerts::keep() {
  const std::lock_guard keeping(keep_mutex_);
  AlertState state;
  {
    const std::lock_guard lock(mutex_);
    state.standing = book_.standing();
  }
  for (const auto& queue : queues_) {
    for (const AlertNotice& notice : queue->notices()) {
      state.pending.push_back({queue->name(), notice});
    }
  }
  const auto kept = write_alert_state(state_.dir, state);
  if (!kept.ok() && !keeping_failed_) {
    log_.error(kept.error().message + "; alerts are sent, and may be repeated after a restart");
  }
  keeping_failed_ = !kept.ok();
}

AlertStatus Alerts::status() const {
  AlertStatus status;
  status.on = true;
  {
    const std::lock_guard lock(mutex_);
    status.standing = book_.standing();
  }
  for (const auto& queue : queues_) status.sinks.push_back(queue->status());
  return status;
}

}  // namespace holdfast
