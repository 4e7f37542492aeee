// The API's health and metrics: gathers what service/health.h and service/metrics.h judge and show.
#include <algorithm>

#include "base/fs.h"
#include "service/api.h"
#include "service/dump_run.h"
#include "service/job_schedule.h"
#include "service/metrics.h"

namespace holdfast {

namespace {

constexpr int64_t kDiskTimeoutNs = 1'000'000'000;  // a command waits for it

void add_all(const char* check, const std::vector<std::string>& problems,
             std::vector<Finding>& findings) {
  for (const std::string& problem : problems) findings.push_back(finding_of(check, problem));
}

Result<int64_t> last_scheduled_ns(const Journal& journal, const LmdbTxn& txn) {
  int64_t last_ns = 0;
  TRY_ASSIGN(const auto snapshots, journal.snapshots(txn));
  for (const Snapshot& snapshot : snapshots) {
    if (is_scheduled(snapshot)) last_ns = std::max(last_ns, snapshot.time_ns);
  }
  return last_ns;
}

}  // namespace

// All that is wrong; what `status` shows of it besides goes into `json`.
Result<std::vector<Finding>> Api::findings(const LmdbTxn& txn, const EngineStatus& engine,
                                           const HealthLimits& limits, Json& json) {
  HealthInput input;
  input.engine = engine;
  input.served = gate_.watches();
  input.state_dir = state_.dir;
  if (const auto space = free_space(state_.dir); space.ok()) input.state_space = *space;
  input.scrub = scrub_ ? scrub_() : read_scrub_state(state_.dir);
  const Health told = health();
  input.scrub_every_ns = told.scrub_every_ns;
  input.snapshot_every_ns = told.snapshot_every_ns;
  if (input.snapshot_every_ns != 0) {
    TRY_ASSIGN(input.last_snapshot_ns, last_scheduled_ns(*state_.journal, txn));
    const std::lock_guard lock(told_mutex_);
    input.snapshot_failure = snapshot_failure_;
  }
  input.since_ns = told.since_ns;
  input.now_ns = clock_.wall_ns();
  json["scrub"] = scrub_json(input.scrub);
  std::vector<Finding> found = check_health(input, limits);
  std::vector<std::string> verdicts, imports, packs, inboxes;
  TRY(verdicts_of_status(txn, json, verdicts));
  add_all("verdicts", verdicts, found);
  TRY(dumps_of_status(txn, json, found));
  TRY(imports_of_status(txn, imports));
  add_all("imports", imports, found);
  TRY(state_.store->check_presence(txn,
                                   [&](const std::string& problem) { packs.push_back(problem); }));
  add_all("packs", packs, found);
  if (inboxes_) json["inboxes"] = inboxes_(inboxes);
  add_all("inbox", inboxes, found);
  const AlertStatus alerts = alerts_ ? alerts_() : AlertStatus{};
  json["alerts"] = alerts_json(alerts);
  add_all(kAlertsCheck, alert_problems(alerts), found);
  return found;
}

Result<std::vector<Finding>> Api::findings_now(const EngineStatus& engine) {
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  Json unused;
  return findings(*txn, engine, health().limits, unused);
}

std::vector<Finding> Api::loop_findings() {
  std::vector<Finding> found{loop_finding(health().limits.loop_ns)};
  const auto txn = state_.env->begin_read();
  if (!txn.ok()) return found;
  const auto roots = state_.journal->roots(**txn);
  if (!roots.ok()) return found;
  std::vector<std::string> names, paths;
  for (const Root& root : *roots) {
    if (root.is_virtual()) continue;
    names.push_back(root.name);
    paths.push_back(root.path);
  }
  const auto disks = disks_.ask_all(paths, kDiskTimeoutNs);
  for (size_t i = 0; i < disks.size(); ++i) {
    if (disks[i].ok() || disks[i].error().code != ErrorCode::kBusy) continue;
    found.push_back(hung_finding(names[i], paths[i], kDiskTimeoutNs));
  }
  return found;
}

Result<Disk> Api::disk_of(const std::string& path) { return disks_.ask(path, kDiskTimeoutNs); }

Result<std::string> Api::metrics() {
  MetricsInput input;
  auto engine = engine_status();
  input.answers = engine.ok();
  if (engine.ok()) input.engine = std::move(*engine);
  input.now_ns = clock_.wall_ns();
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  TRY_ASSIGN(input.store, state_.store->stats(*txn));
  input.lmdb_map_bytes = state_.env->map_bytes();
  input.lmdb_used_bytes = state_.env->used_bytes();
  if (const auto space = free_space(state_.dir); space.ok()) input.state_space = *space;
  for (const RootStatus& root : input.engine.roots) {
    if (root.lost) continue;
    if (const auto disk = disk_of(root.path); disk.ok()) input.root_space[root.name] = disk->space;
  }
  TRY_ASSIGN(const auto standing, state_.journal->standing(*txn));
  for (const Standing& verdict : standing) ++input.verdicts[verdict.verdict];
  input.scrub = scrub_ ? scrub_() : read_scrub_state(state_.dir);
  TRY_ASSIGN(input.dumps, dump_states(*state_.journal, *txn, dumps_));
  TRY_ASSIGN(const auto snapshots, state_.journal->snapshots(*txn));
  input.snapshots = snapshots.size();
  for (const Snapshot& snapshot : snapshots) {
    input.last_snapshot_ns = std::max(input.last_snapshot_ns, snapshot.time_ns);
  }
  input.snapshot_took_ns = totals_.snapshot_took_ns;
  if (pruner_ != nullptr) {
    const Pruner::Totals& prune = pruner_->totals();
    input.prune = {prune.last_ns, prune.took_ns, prune.runs, prune.freed_bytes};
  }
  if (input.prune.last_ns == 0) input.prune.last_ns = read_prune_mark(state_.dir);
  input.restores_in_place = totals_.restores_in_place;
  input.restores_elsewhere = totals_.restores_elsewhere;
  input.restored_files = totals_.restored_files;
  input.restored_bytes = totals_.restored_bytes;
  input.restore_failures = totals_.restore_failures;
  if (alerts_) input.alerts = alerts_();
  Json unused;
  TRY_ASSIGN(const auto found, findings(*txn, input.engine, health().limits, unused));
  input.problems = found.size() + (input.answers ? 0u : 1u);
  if (auto process = read_process_stats(); process.ok()) input.process = *process;
  return render_metrics(input);
}

}  // namespace holdfast
