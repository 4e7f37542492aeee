#include "service/engine.h"

#include <fcntl.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/path.h"
#include "service/engine_clock.h"
#include "service/engine_parts.h"
#include "service/words.h"

namespace holdfast {

namespace {
constexpr int64_t kStallRetryNs = 1'000'000'000;
constexpr int64_t kNever = INT64_MAX;

// Kept free on the state's file system, so that a full disk is met before LMDB meets it.
uint64_t reserve_bytes(uint64_t total) {
  return std::min<uint64_t>(64ull << 20, std::max<uint64_t>(4ull << 20, total / 20));
}
}  // namespace

Engine::Engine(State& state, const Clock& clock, Log& log, EngineOptions options,
               std::function<void()> wake)
    : state_(state),
      clock_(clock),
      log_(log),
      options_(options),
      clocks_(std::make_unique<Clocks>()),
      space_(std::make_unique<Space>()),
      pipeline_(options.workers, *state.env, *state.store, std::move(wake)) {}

Engine::~Engine() = default;

Status Engine::start() {
  std::optional<Record> last;  // before this run
  {
    TRY_ASSIGN(auto read, state_.env->begin_read());
    TRY_ASSIGN(const Head head, state_.journal->head(*read));
    if (head.seq.value > 0) {
      TRY_ASSIGN(last, state_.journal->record(*read, head.seq));
    }
  }
  Record service;
  service.kind = RecordKind::kService;
  service.note = "started " HOLDFAST_VERSION;
  started_ns_ = progress_ns_ = clock_.boottime_ns();
  TRY(append(service));
  TRY(begin_space());
  const bool stopped = last && last->kind == RecordKind::kService && last->note == "stopped";
  if (last) TRY(begin_clocks(*last, stopped));
  return commit();
}

Status Engine::add_root(const RootSpec& spec) {
  auto root = std::make_unique<RootState>();
  root->spec = spec;
  root->added_ns = clock_.boottime_ns();
  auto fd = open_directory(spec.path);
  if (!fd.ok()) return fd.error().in("watching " + display_path(spec.path));
  root->fd = std::move(*fd);
  TRY_ASSIGN(const StatxResult st, statx_fd(root->fd.get()));
  root->mount_id = st.mount_id;
  TRY_ASSIGN(root->fs, fs_traits_of(root->fd.get()));
  TRY_ASSIGN(root->ignore, IgnoreRules::parse(spec.excludes));
  if (const auto own = path_below(state_.dir, spec.path); own && !own->empty()) {
    root->own_state = *own;
    log_.warn("the state directory " + state_.dir + " lies inside " + spec.path +
              "; it is left out of what is watched");
  }

  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto known, state_.journal->roots(*open));
  const auto found = std::find_if(known.begin(), known.end(),
                                  [&](const Root& other) { return other.name == spec.name; });
  root->root = {NodeId{}, spec.name, spec.path, spec.excludes};
  const bool is_new = found == known.end();
  if (!is_new && found->is_virtual()) {
    return make_error(ErrorCode::kUsage,
                      "cannot watch " + display_path(spec.path) + " as " + spec.name +
                          ": that name holds what programs gave, and has no directory; give the "
                          "directory another name, as in NAME=" +
                          display_path(spec.path));
  }
  if (!is_new) root->root.node = found->node;
  if (is_new || found->path != spec.path || found->excludes != spec.excludes) {
    Record record;
    if (is_new) {
      TRY_ASSIGN(root->root.node, state_.journal->new_node(*open));
    }
    record.kind = is_new ? RecordKind::kCreate : RecordKind::kAttrib;
    record.type = FileType::kDir;
    record.flags = kFlagRootAdded;
    record.root = record.node = root->root.node;
    record.name = spec.name;
    record.stat = to_file_stat(st);
    record.note = root_note(spec.path, spec.excludes);
    TRY(append(record));
  }
  TRY(commit());

  if (options_.watch) {
    if (!mount_table_) {
      if (auto table = MountTable::open(); table.ok()) mount_table_.emplace(std::move(*table));
    }
    mounts_changed_ = true;
  }
  DirtySetLimits limits;
  limits.settle_ns = options_.settle_ns;
  root->dirty = std::make_unique<DirtySet>(root->root.node, limits, [this](NodeId dir) {
    auto open_txn = txn();
    if (!open_txn.ok()) return NodeId{};
    auto version = state_.journal->version(**open_txn, dir, kHead);
    return version.ok() && *version ? (*version)->parent : NodeId{};
  });
  walk_stack_.push_back({roots_.size(), root->root.node, epoch_, !is_new});
  ++outstanding_[epoch_];
  roots_.push_back(std::move(root));
  return open_watcher(roots_.size() - 1);
}

Status Engine::stop() {
  const Error stopping = make_error(ErrorCode::kInterrupted, "the service is stopping");
  for (Waiter& waiter : std::exchange(waiters_, {})) waiter.done(stopping);
  fail_asks(stopping);
  for (PutWaiter& waiter : std::exchange(put_waiters_, {})) waiter.done(stopping);
  for (StoreWaiter& waiter : std::exchange(store_waiters_, {})) waiter.done(stopping);
  TRY(check_clocks());
  Record service;
  service.kind = RecordKind::kService;
  service.note = "stopped";
  TRY(append(service));
  return commit();
}

bool Engine::step() {
  bool progress = change_store();
  if (stalled()) return progress;
  if (auto status = turn(progress); !status.ok()) fail_batch(status.error());
  return progress;
}

Status Engine::turn(bool& progress) {
  const bool idle = pipeline_.tasks_outstanding() == 0;
  TRY(check_clocks());
  if (mounts_changed_) TRY(check_mounts());
  TRY(tend_coverage());
  TRY(take_outputs(progress));
  if (progress) look_at_freed();
  TRY(start_asks(progress));
  TRY(start_work(progress));
  if (!missing_.empty()) {
    const bool was_quiet = quiet();
    TRY(resolve_missing(was_quiet));
    progress = progress || (was_quiet && !quiet());
  }
  TRY(commit_if_due());
  TRY(finish_flushes(progress));
  TRY(tend_space(progress));
  if (progress || idle) progress_ns_ = clock_.boottime_ns();
  tend_proof();
  return {};
}

Status Engine::take_outputs(bool& progress) {
  // A bounded number a turn, so that events are read in between.
  for (int i = 0; i < 64; ++i) {
    auto output = pipeline_.try_take();
    if (!output) return {};
    progress = true;
    if (auto* scan = std::get_if<ScanResult>(&*output)) {
      TRY(scanned(std::move(*scan)));
    } else {
      TRY(captured(std::move(std::get<CaptureOutput>(*output))));
    }
    TRY(commit_if_due());
  }
  return {};
}

// What was captured meanwhile has left busy_names_.
void Engine::look_at_freed() {
  for (auto at = waiting_names_.begin(); at != waiting_names_.end();) {
    const auto here = at++;
    const auto& [dir, name] = here->first;
    if (busy_names_.contains(here->first)) continue;
    const auto [root, epoch] = here->second;
    roots_[root]->dirty->add_name(dir, name, epoch, clock_.boottime_ns());
    end_outstanding(epoch);
    waiting_names_.erase(here);
  }
}

void Engine::end_outstanding(uint64_t epoch) {
  if (const auto left = outstanding_.find(epoch);
      left != outstanding_.end() && --left->second == 0) {
    outstanding_.erase(left);
  }
}

// Whether so much more leaves the reserve alone.
Status Engine::check_space(uint64_t more) const {
  TRY_ASSIGN(const FreeSpace space, free_space(state_.dir));
  if (space.free_bytes < reserve_bytes(space.total_bytes) + more) {
    return make_error(ErrorCode::kNoSpace,
                      "the disk of the state " + state_.dir +
                          " is full: " + words_for_bytes(space.free_bytes) + " of " +
                          words_for_bytes(space.total_bytes) + " free, " +
                          words_for_bytes(reserve_bytes(space.total_bytes)) +
                          " are kept in reserve; free some space, and watching goes on by itself");
  }
  return {};
}

Result<WriteTxn*> Engine::txn() {
  if (batch_) return batch_->txn.get();
  TRY(check_space(0));
  auto batch = std::make_unique<Batch>();
  TRY_ASSIGN(batch->txn, state_.env->begin_write());
  batch->opened_ns = clock_.boottime_ns();
  batch_ = std::move(batch);
  std::string booted;
  TRY(state_.journal->boot(*batch_->txn, clock_, booted));
  if (!booted.empty()) {
    batch_->records += booted;
    TRY_ASSIGN(const Head head, state_.journal->head(*batch_->txn));
    batch_->first = batch_->last = head.seq;
  }
  return batch_->txn.get();
}

Status Engine::append(Record& record) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const std::string bytes, state_.journal->append(*open, record, clock_));
  batch_->records += bytes;
  if (batch_->first.value == 0) batch_->first = record.seq;
  batch_->last = record.seq;
  ++batch_->ops;
  ++batch_->added.records[static_cast<size_t>(record.kind)];
  if ((record.flags & kFlagNotKept) != 0 && space_->since_ns != 0) ++space_->not_kept;
  offline_.appended(record);
  return note_incidents(record, *open);
}

Status Engine::commit_if_due() {
  TRY(check_clocks());
  if (!batch_) return {};
  const bool full =
      batch_->ops >= options_.batch_ops_max ||
      state_.store->batch_bytes() + batch_->records.size() >= options_.batch_bytes_max;
  const bool idle = walk_stack_.empty() && captures_.empty() && group_.items.empty() &&
                    pipeline_.tasks_outstanding() == 0 && missing_.empty() && puts_.empty();
  const bool old = clock_.boottime_ns() - batch_->opened_ns >= options_.batch_age_ns;
  if (!full && !idle && !old) return {};
  return commit();
}

Status Engine::commit() {
  if (!batch_) return {};
  if (batch_->first.value == 0 && state_.store->batch_bytes() == 0) {
    batch_.reset();  // only looked
    return {};
  }
  WriteTxn& open = *batch_->txn;
  if (batch_->first.value != 0) {
    TRY(state_.journal->end_batch(open, batch_->first, batch_->last));
  }
  TRY(state_.store->close_batch(open, batch_->records));
  TRY(open.commit());
  const Sequence last = batch_->last;
  if (last.value != 0) committed_ns_ = clock_.boottime_ns();
  count_batch(*batch_);
  batch_.reset();
  batch_committed();
  pipeline_.pending().release_committed(claimed_);
  claimed_.clear();
  if (!last_problem_.empty()) {
    log_.write({LogLevel::kInfo, LogKind::kStateWorks, "writing works again", "", "", 0});
  }
  last_problem_.clear();
  if (on_commit && last.value != 0) on_commit(last);
  return state_.store->after_commit();
}

// Undoes the batch and marks everything to be looked at again. What was in flight is dropped when
// it arrives, by its generation.
void Engine::fail_batch(const Error& cause) {
  Error error = cause;
  if (error.code == ErrorCode::kNoSpace && !error.message.starts_with("the disk of")) {
    error.message = "the disk of the state " + state_.dir + " is full (" + cause.message +
                    "); free some space, and watching goes on by itself";
  }
  if (error.message != last_problem_) {
    log_.write({LogLevel::kError, LogKind::kStateFailed, error.message, "", "", 0});
  }
  last_problem_ = error.message;
  totals_.count(error.code == ErrorCode::kNoSpace ? Trouble::kNoSpace : Trouble::kWrite);
  proof_.reset();
  batch_.reset();
  batch_undone();
  if (auto status = state_.store->roll_back(); !status.ok()) log_.error(status.error().message);
  ++generation_;
  claimed_.clear();
  pipeline_.pending().clear();
  parked_.clear();
  missing_.clear();
  captures_.clear();
  group_ = {};
  walk_stack_.clear();
  outstanding_.clear();
  busy_dirs_.clear();
  busy_names_.clear();
  waiting_names_.clear();
  scans_running_ = 0;
  scans_.clear();
  for (auto& root : roots_) {
    root->dirty->add_dir(root->root.node, true, epoch_, clock_.boottime_ns());
    root->lost_why.clear();  // the record of it may have been undone
    root->mounts.clear();
    root->degraded_why.clear();
    root->unlisted.clear();
  }
  mounts_changed_ = true;
  if (space_->search.wanted) restart_search();
  stall_ = error;
  stall_until_ns_ = clock_.boottime_ns() + kStallRetryNs;
  std::vector<Waiter> waiters = std::move(waiters_);
  waiters_.clear();
  for (Waiter& waiter : waiters) waiter.done(error);
  fail_asks(error);
}

bool Engine::stalled() {
  if (!stall_) return false;
  if (clock_.boottime_ns() < stall_until_ns_) return true;
  stall_until_ns_ = clock_.boottime_ns() + kStallRetryNs;
  if (stall_->code == ErrorCode::kNoSpace) {
    // Asks first: looking at whole trees in vain every second would help nobody.
    auto space = free_space(state_.dir);
    if (!space.ok() || space->free_bytes < reserve_bytes(space->total_bytes) * 5 / 4) {
      for (Waiter& waiter : waiters_) waiter.done(*stall_);
      waiters_.clear();
      return true;
    }
  }
  stall_.reset();
  return false;
}

void Engine::drain_watchers() {
  drained_ns_ = clock_.boottime_ns();
  for (size_t index = 0; index < roots_.size(); ++index) {
    auto& root = roots_[index];
    if (!root->watcher) continue;
    const int64_t now = clock_.boottime_ns();
    bool overflow = false;
    auto status = root->watcher->drain([&](const Hint& hint) {
      overflow = overflow || hint.kind == HintKind::kOverflow;
      ++root->totals.events;
      if (hint.kind == HintKind::kSweep) return sweep(index, asking_);
      if ((hint.what & kWhatMoved) != 0 && (hint.what & kWhatCreated) != 0) ++arrivals_;
      root->dirty->add(hint, epoch_, now);
    });
    if (!status.ok()) cannot_watch(index, status.error());
    if (overflow || !status.ok()) events_lost(index);
  }
}

// Before anything is looked at of which an event told.
Status Engine::rearm_watcher(size_t index) {
  RootState& root = *roots_[index];
  Status status = root.watcher ? root.watcher->rearm() : Status();
  if (status.ok()) return status;
  cannot_watch(index, status.error());
  ++arrivals_;
  return journal_gap(
      index, "the kernel may not have told of every write; the whole tree is looked at again");
}

void Engine::cannot_watch(size_t index, const Error& error) {
  RootState& root = *roots_[index];
  log_.error(error.message);
  totals_.count(Trouble::kWatch);
  root.dirty->add_dir(root.root.node, true, epoch_, clock_.boottime_ns());
}

void Engine::events_lost(size_t index) {
  RootState& root = *roots_[index];
  totals_.count(Trouble::kOverflow);
  ++root.totals.overflows;
  ++arrivals_;  // for all that is known
  const std::string note = "the kernel's event queue overflowed; the whole tree is looked at again";
  const std::string text = root.spec.name + ": " + note;
  log_.write({LogLevel::kWarn, LogKind::kGap, text, root.spec.name, "", 0});
  if (auto told = journal_gap(index, note); !told.ok()) fail_batch(told.error());
}

int Engine::watch_fd() const { return fds_ ? fds_->fd() : -1; }
int Engine::mount_fd() const { return mount_table_ ? mount_table_->fd() : -1; }

void Engine::flush(std::function<void(Result<Sequence>)> done) {
  for (auto& root : roots_) {
    if (root->watcher) root->watcher->ask();
  }
  asking_ = true;
  drain_watchers();
  asking_ = false;
  if (stall_) return done(*stall_);
  if (mount_table_ && mount_table_->changed()) mounts_changed_ = true;
  if (mounts_changed_) {
    if (auto status = check_mounts(); !status.ok()) {
      fail_batch(status.error());
      return done(status.error());
    }
  }
  // Where not everything is watched, only looking tells what happened.
  for (size_t i = 0; i < roots_.size(); ++i) {
    RootState& root = *roots_[i];
    if (root.lost) {
      recheck(root);
      continue;
    }
    retry_unlisted(root);
    root.path_check_ns = 0;
    check_path(root);
    if (!root.degraded.empty() && !root.polled) sweep(i, true);
  }
  waiters_.push_back({epoch_++, drained_ns_, std::move(done)});
}

// Looks whether a lost root is back, and at all of it.
void Engine::recheck(RootState& root) {
  const int64_t now = clock_.boottime_ns();
  root.recheck_ns = now + kRecheckNs;
  root.lost = false;
  proof_.reset();  // it does not speak of this root
  root.dirty->add_dir(root.root.node, true, epoch_, now);
}

void Engine::reconcile_all(const std::string& why) {
  log_.info("looking at everything again: " + why);
  for (auto& root : roots_) {
    root->dirty->add_dir(root->root.node, true, epoch_, clock_.boottime_ns());
  }
}

std::optional<uint64_t> Engine::lowest_epoch() const {
  std::optional<uint64_t> lowest;
  auto consider = [&](uint64_t epoch) { lowest = lowest ? std::min(*lowest, epoch) : epoch; };
  if (!outstanding_.empty()) consider(outstanding_.begin()->first);
  if (const auto epoch = missing_.lowest_epoch()) consider(*epoch);
  for (const auto& root : roots_) {
    if (auto epoch = root->dirty->lowest_epoch(); epoch && !root->lost) consider(*epoch);
  }
  return lowest;
}

// Nothing left to look at, so what is missing has not just moved elsewhere.
bool Engine::quiet() const {
  // What is being read may turn out to be what is missing.
  const bool capturing = !captures_.empty() || !group_.items.empty() || !parked_.empty() ||
                         pipeline_.tasks_outstanding() > 0;
  if (scans_running_ > 0 || !walk_stack_.empty() || capturing) return false;
  const int64_t now = clock_.boottime_ns();
  return std::none_of(roots_.begin(), roots_.end(), [&](const auto& root) {
    const auto due = root->dirty->next_due_ns();
    return !root->lost && due && *due <= now;
  });
}

Status Engine::finish_flushes(bool& progress) {
  if (waiters_.empty()) return {};
  const auto lowest = lowest_epoch();
  const auto done = std::stable_partition(waiters_.begin(), waiters_.end(), [&](const Waiter& w) {
    return lowest && *lowest <= w.epoch;
  });
  if (done == waiters_.end()) return {};
  TRY(finish_offline());
  TRY(commit());
  TRY_ASSIGN(auto read, state_.env->begin_read());
  TRY_ASSIGN(const Head head, state_.journal->head(*read));
  std::vector<Waiter> finished(std::make_move_iterator(done),
                               std::make_move_iterator(waiters_.end()));
  waiters_.erase(done, waiters_.end());
  const auto lost =
      std::find_if(roots_.begin(), roots_.end(), [](const auto& root) { return root->lost; });
  for (Waiter& waiter : finished) {
    totals_.flush.observe(clock_.boottime_ns() - waiter.since_ns);
    if (lost == roots_.end()) {
      waiter.done(head.seq);
      continue;
    }
    const RootSpec& spec = (*lost)->spec;
    waiter.done(make_error(ErrorCode::kChanged,
                           "the root " + display_path(spec.name) +
                               " is lost: " + display_path(spec.path) +
                               " is gone or is not the same, so nobody knows what changed there; "
                               "all other roots are durable at @" +
                               std::to_string(head.seq.value)));
  }
  progress = true;
  return {};
}

int64_t Engine::next_wake_ns() const {
  const int64_t now = clock_.boottime_ns();
  if (stall_) return stall_until_ns_;
  int64_t next = space_wake_ns();
  if (batch_) next = std::min(next, batch_->opened_ns + options_.batch_age_ns);
  if (!store_waiters_.empty()) next = std::min(next, store_waiters_.front().until_ns);
  if (!missing_.empty()) {
    const int64_t wait = quiet() ? kRenameWindowNs : kMissingWaitNs;
    next = std::min(next, missing_.oldest_ns() + wait);
  }
  for (const auto& root : roots_) {
    // What is due already is blocked by work whose end wakes us; the timer is for what is to come.
    if (auto due = root->dirty->next_due_after(now)) next = std::min(next, *due);
    if (root->lost || !root->degraded.empty()) next = std::min(next, root->recheck_ns);
    if (root->no_inotify && !root->lost) next = std::min(next, root->inotify_retry_ns);
    if (root->watcher && !root->lost) next = std::min(next, root->path_check_ns);
    if (!root->unlisted.empty()) next = std::min(next, root->unlisted_retry_ns);
  }
  return next == kNever ? kNever : std::max(next, now + 1'000'000);
}

Result<Snapshot> Engine::snapshot(const std::string& message,
                                  const std::vector<std::pair<std::string, std::string>>& tags) {
  if (stall_) return *stall_;
  TRY(check_whole());
  return pin(message, tags);
}

Result<Snapshot> Engine::pin(const std::string& message,
                             const std::vector<std::pair<std::string, std::string>>& tags) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const Head head, state_.journal->head(*open));
  Snapshot snapshot;
  snapshot.seq = head.seq;
  snapshot.name = "s" + std::to_string(head.seq.value);
  snapshot.message = message;
  snapshot.tags = tags;
  TRY_ASSIGN(const auto existing, state_.journal->snapshot(*open, snapshot.name));
  if (existing) snapshot.name += "-" + std::to_string(head.seq.value + 1);
  Record record;
  record.kind = RecordKind::kSnapshot;
  record.prev = head.seq;
  record.note = snapshot.name + '\0' + message;
  for (const auto& [key, value] : tags) record.note += '\0' + key + "=" + value;
  auto status = append(record);
  if (status.ok()) status = commit();
  if (!status.ok()) {
    fail_batch(status.error());
    return status.error();
  }
  snapshot.time_ns = record.time_ns;
  return snapshot;
}

Status Engine::remove_snapshot(const std::string& name) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto existing, state_.journal->snapshot(*open, name));
  if (!existing) {
    return make_error(ErrorCode::kNotFound, "there is no snapshot " + display_path(name) +
                                                "; holdfast snapshots lists them");
  }
  Record record;
  record.kind = RecordKind::kSnapshot;
  record.flags = kFlagSnapshotRemoved;
  record.note = name;
  auto status = append(record);
  if (status.ok()) status = commit();
  if (!status.ok()) fail_batch(status.error());
  return status;
}

Result<Sequence> Engine::journal_note(RecordKind kind, NodeId root, const std::string& note) {
  Record record;
  record.kind = kind;
  record.root = root;
  record.note = note;
  auto status = append(record);
  if (status.ok()) status = commit();
  if (!status.ok()) {
    fail_batch(status.error());
    return status.error();
  }
  return record.seq;
}

}  // namespace holdfast
