#include "service/job_schedule.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/clock.h"
#include "service/hooks.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr auto kLookEvery = std::chrono::seconds(1);
const std::pair<std::string, std::string> kScheduledTag{"by", "schedule"};

void job_failed(Log& log, const std::string& text) {
  log.write({LogLevel::kError, LogKind::kJobFailed, text, "", "", 0});
}

}  // namespace

bool is_scheduled(const Snapshot& snapshot) {
  return std::find(snapshot.tags.begin(), snapshot.tags.end(), kScheduledTag) !=
         snapshot.tags.end();
}

JobSchedule::JobSchedule(Api& api, Gate& gate, State& state, const Clock& clock, Log& log,
                         JobOptions options)
    : api_(api),
      gate_(gate),
      state_(state),
      clock_(clock),
      log_(log),
      options_(std::move(options)) {
  if (options_.dumps.empty() && !options_.snapshot_every_ns) return;
  read_last_times();
  thread_ = std::thread([this] { work(); });
}

JobSchedule::~JobSchedule() {
  cancel();
  if (thread_.joinable()) thread_.join();
}

void JobSchedule::cancel() {
  std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

void JobSchedule::finish() {
  {
    std::lock_guard lock(mutex_);
    finishing_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void JobSchedule::read_last_times() {
  auto read = [&]() -> Status {
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    TRY_ASSIGN(const auto states, dump_states(*state_.journal, *txn, options_.dumps));
    for (const DumpState& state : states) {
      if (!state.last) continue;
      last_dump_ns_[state.name] = state.last->wall_ns - state.last->note.took_ns;
    }
    TRY_ASSIGN(const auto snapshots, state_.journal->snapshots(*txn));
    for (const Snapshot& snapshot : snapshots) {
      if (is_scheduled(snapshot)) {
        last_snapshot_ns_ = std::max(last_snapshot_ns_.value_or(0), snapshot.time_ns);
      }
    }
    return {};
  }();
  if (!read.ok()) log_.warn("looking when dumps were made last: " + read.error().message);
}

void JobSchedule::work() {
  for (;;) {
    for (const DumpConfig& each : options_.dumps) {
      const auto last = last_dump_ns_.find(each.name);
      const auto last_ns = last == last_dump_ns_.end() ? std::nullopt : std::optional(last->second);
      const int64_t now_ns = clock_.wall_ns();
      if (stopping_ || finishing_) return;
      if (!is_due(last_ns, now_ns, each.every_ns)) continue;
      last_dump_ns_[each.name] = now_ns;
      dump(each);
    }
    if (finishing_) return;
    const int64_t now_ns = clock_.wall_ns();
    if (options_.snapshot_every_ns &&
        is_due(last_snapshot_ns_, now_ns, *options_.snapshot_every_ns)) {
      last_snapshot_ns_ = now_ns;
      snapshot();
    }
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, kLookEvery, [&] { return stopping_ || finishing_; })) return;
  }
}

void JobSchedule::dump(const DumpConfig& dump) {
  const auto result = run_dump(
      dump, clock_, [this] { return stopping_.load(); }, send_within(api_));
  if (!result.ok()) {
    if (!stopping_) job_failed(log_, result.error().message);
    return;
  }
  if (!result->good()) {
    job_failed(log_, words_for_bad_dump(dump.name, result->answer));
    if (!result->errors.empty()) log_.error(dump.name + " wrote: " + result->errors);
    return;
  }
  log_.info("dumped " + dump.name + ", " + words_for_bytes(result->answer["size"].get<uint64_t>()) +
            ", @" + std::to_string(result->answer["seq"].get<uint64_t>()));
}

void JobSchedule::snapshot() {
  const auto cancelled = [this] { return stopping_.load(); };
  const SnapshotConfig& config = options_.snapshot;
  auto before =
      run_hook("the hook before the snapshot", config.pre, config.hook_timeout_ns, cancelled);
  if (!before.ok()) snapshot_failed("no snapshot is taken: " + before.error().message);
  if (before.ok()) {
    if (auto taken = take_snapshot(); !taken.ok() && !stopping_) {
      snapshot_failed("taking a snapshot: " + taken.error().message);
    }
  }
  // In any case: what was made to pause has to go on.
  auto after =
      run_hook("the hook after the snapshot", config.post, config.hook_timeout_ns, cancelled);
  if (!after.ok()) log_.error(after.error().message);
  if (auto removed = remove_old_ones(); !removed.ok() && !stopping_) {
    log_.error("removing old snapshots: " + removed.error().message);
  }
}

void JobSchedule::snapshot_failed(const std::string& text) {
  api_.note_snapshot_failure(text);
  job_failed(log_, text);
}

Status JobSchedule::take_snapshot() {
  const int64_t began_ns = clock_.boottime_ns();
  TRY(gate_.flush(kNoTimeout));
  TRY_ASSIGN(const Snapshot snapshot, gate_.snapshot("by schedule", {kScheduledTag}));
  api_.note_snapshot(clock_.boottime_ns() - began_ns);
  log_.info("took the snapshot " + snapshot.name);
  return {};
}

// The newest ones that the schedule took are kept; those of others are nobody's business here.
Status JobSchedule::remove_old_ones() {
  std::vector<Snapshot> scheduled;
  {
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    TRY_ASSIGN(scheduled, state_.journal->snapshots(*txn));
  }
  std::erase_if(scheduled, [](const Snapshot& snapshot) { return !is_scheduled(snapshot); });
  std::sort(scheduled.begin(), scheduled.end(),
            [](const Snapshot& a, const Snapshot& b) { return a.seq > b.seq; });
  for (size_t i = options_.snapshot.keep; i < scheduled.size(); ++i) {
    TRY(gate_.remove_snapshot(scheduled[i].name));
  }
  return {};
}

}  // namespace holdfast
