// Engine: the one owner of all mutable state while a service runs: what is dirty, what is being
// looked at, and the batch that is being written.
//
//   hints -> DirtySet -> look (scan or statx) -> compare with the journal -> capture -> records ->
//   batch
//
// One thread, the loop's. step() does a bounded piece of work and never waits for workers; tests
// turn it by hand. A batch is one LMDB transaction plus the frames it refers to; it is closed
// (journal frame, fdatasync, commit) when it is 100 ms old, large, or nothing else is to be done.
// The write transaction itself is the view of what is not committed yet.
//
// Consistency: a directory is looked at by one operation at a time (busy_dirs_), a name captured by
// one (busy_names_); what arrives meanwhile waits in the dirty set. Every item carries an epoch:
// flush() is done when nothing of its epoch or an earlier one is left and the batch is durable.
//
// Failure: whatever goes wrong while a batch is written (disk full above all), the batch is undone
// in both LMDB and packs, the roots are marked to be looked at again, and work resumes when it can.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/fd_set.h"
#include "base/ignore.h"
#include "base/log.h"
#include "base/mounts.h"
#include "service/missing_names.h"
#include "service/offline_summary.h"
#include "service/pipeline.h"
#include "service/space_policy.h"
#include "service/state.h"
#include "service/totals.h"
#include "watcher/dirty_set.h"
#include "watcher/watcher.h"

namespace holdfast {

struct RootSpec {
  std::string name;
  std::string path;  // absolute
  std::vector<std::string> excludes;
};

// What tells of changes. kAuto: for each root the best that works there.
enum class Backend : uint8_t { kAuto, kFanotify, kInotify, kPoll };
Result<Backend> backend_of_name(const std::string& name);  // kUsage: there is none of that name

struct EngineOptions {
  size_t workers = 2;
  Backend backend = Backend::kAuto;
  int64_t poll_interval_ns = 10'000'000'000;
  bool watch = true;  // false: reconcile only (a command without a service)
  int64_t batch_age_ns = 100'000'000;
  size_t batch_ops_max = 10'000;
  uint64_t batch_bytes_max = 16ull << 20;
  int64_t settle_ns = 100'000'000;
  // A hot file is captured again only after this many times what its last capture took.
  int64_t hold_factor = 4;
  SpaceLimits space;
};

struct RootStatus {
  std::string name, path, backend, coverage;
  std::string backend_why;  // what a better backend would take, or why it is polled
  uint64_t files = 0, bytes = 0;
  int64_t lag_ms = 0;
  std::vector<std::string> degraded;
  bool lost = false;
  // Since when all that had happened by then is journaled, as far as anybody tells; nullopt: not
  // once since the start.
  std::optional<int64_t> caught_up_ago_ns;
  uint64_t queued = 0;    // names and directories to be looked at
  uint64_t watches = 0;   // directories that its watcher keeps
  uint64_t unlisted = 0;  // directories that cannot be read
  RootTotals totals;
};

// A problem in words, and the check of docs/health.md that it belongs to.
struct EngineProblem {
  const char* check;
  std::string text;
  std::string root;     // empty: of no root in particular
  std::string subject;  // stays the same while it lasts; empty: the text does
};

// A clock that stamps files and is not ours: of the file system, or of who writes to a root.
struct SkewStatus {
  std::string of;  // "file_system" or "writer"
  std::string root;
  int64_t amount_ns = 0;  // theirs minus ours
};

struct ClockStatus {
  uint64_t steps = 0;  // of our own clock, since the start
  int64_t last_step_ns = 0;
  std::vector<SkewStatus> skews;  // those that stand
};

// A content that a program is giving (engine_put.cpp).
struct PutTicket {
  uint64_t id = 0;
};
struct GivenContent {
  RecordKind kind = RecordKind::kDump;  // or kSeed
  uint64_t size = 0;
  ContentHash hash;
  ContentRef content;
  std::string note;
  bool rejected = false;  // kept as a version, and the one of before goes on being the good one
};

// The room that the store has (docs/quota.md).
struct SpaceStatus {
  SpaceState state = SpaceState::kNormal;
  SpaceUse use;
  uint64_t quota_bytes = 0, reserve_bytes = 0;  // 0: none
  int64_t since_ns = 0;   // wall: since when contents of the present may be missing; 0: none are
  uint64_t not_kept = 0;  // versions without their content since then
  bool is_keeping() const { return state != SpaceState::kStopped; }
};

struct EngineStatus {
  Sequence seq;
  bool scanning = false;
  std::vector<RootStatus> roots;
  std::vector<EngineProblem> problems;
  ClockStatus clock;
  std::optional<OfflineReport> offline;
  int64_t up_ns = 0;                   // since the start
  int64_t stuck_ns = 0;                // since workers with work have finished any of it
  std::optional<std::string> stalled;  // why nothing can be written
  SpaceStatus space;
  uint64_t under_way = 0;  // looks and captures
  EngineTotals totals;
};

class Engine {
 public:
  // `state`, `clock` and `log` outlive the engine. `wake` is called from worker threads when step()
  // has something to do.
  Engine(State& state, const Clock& clock, Log& log, EngineOptions options,
         std::function<void()> wake);
  ~Engine();

  Status start();                         // journals the start and the gap since the last run
  Status add_root(const RootSpec& spec);  // and begins to reconcile it
  Status stop();                          // commits what is open and journals the stop

  bool step();                   // false: nothing to do before next_wake_ns() or wake
  int64_t next_wake_ns() const;  // clock.boottime_ns() when to step again at the latest
  void wait(int64_t timeout_ns) { pipeline_.wait(timeout_ns); }
  void drain_watchers();
  Status rearm_watcher(size_t index);
  void cannot_watch(size_t index, const Error& error);
  void events_lost(size_t index);
  int watch_fd() const;  // readable when a watcher has something; -1: none watches
  int mount_fd() const;  // POLLPRI when mounts change; -1: nobody tells
  void mounts_changed() { mounts_changed_ = true; }  // seen by the next step()

  // Calls back, from step(), with the sequence that covers everything that happened before this
  // call. kChanged: a root is lost. kNoSpace: the disk of the state is full.
  void flush(std::function<void(Result<Sequence>)> done);
  void reconcile_all(const std::string& why);
  // These take effect in a batch of their own, durable on return. Call flush() first. A snapshot is
  // refused (kNoSpace) while contents of the present are not kept.
  Result<Snapshot> snapshot(const std::string& message,
                            const std::vector<std::pair<std::string, std::string>>& tags);
  Status remove_snapshot(const std::string& name);
  Result<Sequence> journal_note(RecordKind kind, NodeId root, const std::string& note);

  // --- verifying (engine_verify.cpp) ---
  // Looks at the name though no event told of it: what has changed there did so unseen.
  void doubt(NodeId root, NodeId dir, const std::string& name);
  // A reading found `now` (its verdict says what) where the journal has `version`. Journals the
  // finding, and keeps `version` as the file's version; durable on return. False: the journal has
  // moved on, so that there is nothing to report.
  Result<bool> report(const Record& version, const Record& now);
  enum class Reread : uint8_t { kAccept, kSuspect, kDamaged };
  // Captures the file though nothing may have moved: as the accepted content, as a version that is
  // suspect, or as the damaged one, kept beside the good one. Calls back from step().
  void read_anew(const Record& version, Reread reread, std::function<void(Result<Record>)> done);
  // Puts a durable file with the version's content in its place, under all its names.
  Result<Record> put_healed(const Record& version, const FileStat& damaged, int dir_fd,
                            const std::string& temporary);
  // An answer to the open verdict of record `since`, where its file is not what it was.
  Result<Sequence> answer(RecordKind kind, NodeId root, Sequence since, const std::string& note);
  // Until it is called with 0, what appears as it was at `at` is a restore's own writing.
  void begin_restore(NodeId root, Sequence at);
  // The same of files with these inode numbers; without any: of none any more.
  void know_own_files(NodeId root, const std::vector<uint64_t>& inodes);

  // --- contents that programs give (engine_put.cpp), through service/content_writer.h ---
  // kUsage: `root` is a watched directory. kExists: a directory is there, or no directory above it.
  // kBusy: somebody else is giving the same path. `path` is not empty.
  Result<PutTicket> begin_put(const std::string& root, const std::string& path);
  // kNoSpace: the put ends, and nothing else does. kChanged: the batch with part of the content was
  // undone, and the put with it.
  Status put_frames(PutTicket ticket, const std::vector<NewFrame>& frames);
  // Journals the content as the next version, and what is missing above it; durable on return.
  Result<Record> finish_put(PutTicket ticket, const GivenContent& given);
  void end_put(PutTicket ticket);  // however it ended
  // --- trees that archives hold (engine_import.cpp), through service/importer.h ---
  // A put of a whole root. kUsage: it is watched, or has contents that no import brought. kBusy:
  // somebody is giving something below it.
  Result<PutTicket> begin_import(const std::string& root);
  // Journals a part of an ImportPlan, durable on return. Errors as of put_frames().
  Status journal_import(PutTicket ticket, std::vector<Record>& records);
  // The rest of it and a snapshot, in one batch: both are there, or neither.
  Result<Snapshot> finish_import(PutTicket ticket, std::vector<Record>& records,
                                 const std::string& message,
                                 const std::vector<std::pair<std::string, std::string>>& tags);
  bool is_importing(const std::string& root) const;
  // Calls back when all puts that are under way now have ended: until then they may rely on chunks
  // that no record names.
  void after_puts(std::function<void(const Status&)> done);

  // --- pruning (engine_prune.cpp) ---
  // Seals the pack that is being written, and journals `note` in the next one; durable on return.
  Status seal_pack(const std::string& note);
  // What is needed of the packs from now on is stored anew (Store::set_leaving()).
  void set_leaving(const std::vector<uint32_t>& packs);
  // One transaction of its own on the store's tables, between batches. Gives way for a moment to
  // what is being captured, and then calls back from a later step().
  using StoreChange = std::function<Status(Store&, WriteTxn&)>;
  void with_store(const StoreChange& change, std::function<void(const Status&)> done);
  bool is_busy() const;  // something is being journaled, or was a moment ago

  // --- the room that there is (engine_space.cpp) ---
  void set_space_limits(const SpaceLimits& limits);
  SpaceStatus space();

  EngineStatus status();
  State& state() { return state_; }
  const PendingChunks& pending_chunks() { return pipeline_.pending(); }  // thread-safe
  // Called after each commit with the new head.
  std::function<void(Sequence)> on_commit;

 private:
  struct RootState;
  struct Batch;
  struct Place;
  struct Look;
  struct Waiter;
  struct Clocks;
  struct PutTarget;
  struct Space;

  // engine.cpp
  Status turn(bool& progress);
  Status take_outputs(bool& progress);
  Status finish_flushes(bool& progress);
  Status check_space(uint64_t more) const;
  Result<WriteTxn*> txn();
  Status append(Record& record);
  Result<Snapshot> pin(const std::string& message,
                       const std::vector<std::pair<std::string, std::string>>& tags);
  Status commit();
  Status commit_if_due();
  void fail_batch(const Error& error);
  bool stalled();
  void recheck(RootState& root);
  std::optional<uint64_t> lowest_epoch() const;
  bool quiet() const;

  // engine_space.cpp
  bool is_keeping();
  Status begin_space();
  Status measure_space();
  Status take_judgement(const SpaceJudgement& judged);
  Status stop_keeping(SpaceBound bound, uint64_t wanted);
  Status keep_again();
  Status tend_space(bool& progress);
  Status search_not_kept(bool& progress);
  Status end_search();
  void restart_search();
  int64_t space_wake_ns() const;
  std::string words_for_bound() const;
  SpaceStatus space_status() const;
  Error not_keeping(const std::string& what) const;
  Result<bool> has_room_for(uint64_t bytes);
  Result<bool> keep_frame(const NewFrame& frame);
  bool may_lack_content(const WriteTxn& open, const CaptureResult& result);
  bool leave_content(CaptureResult& result);
  void find_kept_content(const Record& before, const CaptureResult& result, Record& record) const;
  Status check_keeping();
  Status check_whole() const;
  void space_problems(std::vector<EngineProblem>& problems) const;

  // engine_health.cpp
  void tend_proof();
  void note_caught_up(int64_t until_ns);
  Status store_frame(const NewFrame& frame);
  void count_capture(size_t root, const CaptureResult& result);
  void count_batch(const Batch& batch);
  void root_problems(const RootState& root, std::vector<EngineProblem>& problems) const;

  // engine_look.cpp
  Status start_work(bool& progress);
  Status look_at(size_t root, DirtyDir dirty, bool offline);
  Result<std::shared_ptr<Fd>> open_dir(size_t root, const DirtyDir& dirty, std::string& path);
  Status scanned(ScanResult result);
  Status known_names(const Look& look, std::vector<Entry>& known);
  Status compare(Look& look);
  Status compare_name(Look& look, const std::string& name, const StatxResult* now,
                      const std::optional<Entry>& old);
  Status note_unknown(const Look& look, std::vector<Entry>& known);
  Status appeared(Look& look, const std::string& name, const StatxResult& now);
  void look_when_free(const Look& look, const std::string& name);
  void look_at_freed();
  void end_outstanding(uint64_t epoch);
  Result<NodeId> create_dir(const Look& look, const std::string& name, const FileStat& stat,
                            const std::optional<Entry>& old);
  Status compare_self(Look& look);
  void descend(Look& look, NodeId dir);
  void capture(Look& look, const std::string& name, uint64_t bytes, Told told = Told::kSeen);
  bool put_off(const Look& look, const std::string& name, Told told);
  void close_capture_group();
  bool excluded(const Look& look, const std::string& name, bool is_dir) const;
  Result<bool> is_known_root(size_t root, int dir_fd);
  Status root_lost(size_t root, const std::string& why);
  Status root_found(size_t root);
  Status journal_gap(size_t root, const std::string& note);

  // engine_judge.cpp
  Told told_of(const Look& look, const std::string& name, const FileStat& stat) const;
  bool read_again(const Look& look, const Record& version, Told told) const;
  Status judge(size_t root, const Record& before, bool same_identity, const CaptureResult& result,
               Record& record);
  Result<std::optional<Sequence>> earlier_version(const Record& record, NodeId node);
  Result<bool> is_own_write(size_t root, const Record& record);
  Result<bool> is_known_damage(const Record& before, const Record& now);
  Result<bool> keep_good_content(const Record& before, Record& now);
  bool is_to_be_confirmed(size_t root, const CaptureResult& result, Record& record);
  Status keep_damaged(const Record& before, Record& record);
  Status journal_finding(size_t root, const Record& before, const Record& now);
  void tell(const Record& record);
  Status note_incidents(const Record& record, WriteTxn& open);

  // engine_verify.cpp
  std::optional<size_t> index_of(NodeId root) const;
  Status start_asks(bool& progress);
  Status apply_ask(size_t root, CaptureResult& result);
  void finish_ask(uint64_t id, Result<Record> result);
  void fail_asks(const Error& error);
  Result<std::vector<std::pair<std::shared_ptr<Fd>, std::string>>> other_names(
      size_t root, const Record& version);

  // engine_prune.cpp
  bool change_store();
  Status change_store_now(const StoreChange& change);

  // engine_put.cpp
  Result<PutTarget> put_target(const std::string& root, const std::string& path);
  Status check_put(PutTicket ticket) const;
  Status journal_given_dirs(const std::string& root, PutTarget& target);
  Status keep_good_one(const Record& rejected, const std::optional<Record>& before);

  // engine_import.cpp
  Status append_import(PutTicket ticket, std::vector<Record>& records);

  // engine_sqlite.cpp
  bool belongs_to_database(size_t root, int dir_fd, const std::string& name,
                           const StatxResult* now) const;
  Result<bool> is_sidecar(const Look& look, const std::string& name, const StatxResult* now);
  bool capture_if_due(Look& look, const std::string& name, uint64_t bytes, Told told);
  void tend_database(size_t root, const CaptureResult& result, int64_t hold_ns);
  void database_problems(std::vector<std::string>& problems) const;

  // engine_watch.cpp
  Result<std::unique_ptr<Watcher>> make_fanotify(size_t root);
  Result<std::optional<NodeId>> find_dir(const LmdbTxn& view, size_t root, uint64_t inode,
                                         int64_t btime_ns,
                                         const std::function<std::string()>& path) const;
  Result<std::unique_ptr<Watcher>> make_watcher(size_t root);
  Status open_watcher(size_t root);
  Status watch_dir(size_t root, NodeId dir, int dir_fd, const std::string& path);
  Status tell_degraded(size_t root, const std::string& path);
  Status retry_inotify(size_t root);
  Status end_degraded(size_t root);
  Status cannot_look(size_t root, NodeId dir, bool recursive, const std::string& note);
  void retry_unlisted(RootState& root);
  void sweep(size_t root, bool asked);
  Status tend_coverage();
  void check_path(RootState& root);
  static bool root_elsewhere(const RootState& root);
  Result<bool> root_mounted(size_t root, Fd fd, const StatxResult& st);
  Result<bool> holds_names(const LmdbTxn& view, NodeId dir);
  Result<std::optional<NodeId>> dir_at(const LmdbTxn& view, NodeId root,
                                       std::string_view path) const;
  Status check_mounts();
  Status compare_mounts(size_t root, const std::vector<MountPoint>& mounts);
  bool hidden_by_mount(const RootState& root, const std::string& path) const;
  std::string poll_words() const;
  std::string coverage_of(const RootState& root, bool scanning) const;

  // engine_apply.cpp
  Result<Place> place(size_t root, NodeId dir, const std::string& name, FileType type,
                      const FileStat& stat, uint64_t handle = 0);
  Result<bool> was_away(NodeId dir);
  bool still_there(size_t root, NodeId parent, const std::string& name, uint64_t inode);
  Status captured(CaptureOutput output);
  Status apply(size_t root, CaptureResult& result, uint64_t epoch, bool offline);
  Status apply_same(size_t root, const CaptureResult& result, Record& record, const Record& before);
  Result<std::optional<Place>> place_now(size_t root, const CaptureResult& result);
  Status apply_parked();
  Status journal_move(size_t root, NodeId dir, const std::string& name, const Place& place,
                      const FileStat& stat, bool offline);
  Status apply_move(size_t root, const CaptureResult& result, Record& record, const Place& place);
  Status displace(size_t root, const Entry& old);
  Status look_at_other_names(size_t root, const Record& version);
  bool is_back(const MissingName& missing);
  Status resolve_missing(bool everything);
  bool is_walking(size_t root) const;
  Status displace_for(size_t root, const Place& place);
  Status delete_tree(size_t root, NodeId parent, const std::string& name, NodeId node,
                     FileType type, bool offline);
  Status delete_one(size_t root, NodeId parent, const std::string& name, NodeId node, FileType type,
                    bool offline);
  Result<bool> alive(NodeId dir);

  // engine_clock.cpp
  Status begin_clocks(const Record& last, bool stopped);
  Status check_clocks();
  Status probe_clocks();
  Status journal_amount(RecordKind kind, NodeId root, int64_t amount_ns, const std::string& words);
  Status note_stamp(const Look& look, const FileStat& stat, const std::optional<Entry>& old);
  Status note_unmoved(const Look& look, const FileStat& stat, const std::optional<Entry>& old);
  void note_shift(size_t root, const FileStat& before, const FileStat& now);
  uint32_t future_flag(size_t root, const FileStat& stat);
  Status finish_offline();
  void batch_committed();
  void batch_undone();
  void clock_status(EngineStatus& status) const;

  State& state_;
  const Clock& clock_;
  Log& log_;
  EngineOptions options_;
  std::vector<std::unique_ptr<RootState>> roots_;
  std::unique_ptr<Batch> batch_;
  std::vector<ChunkId> claimed_;  // chunks appended in this batch
  uint64_t generation_ = 1;
  uint64_t epoch_ = 1;
  std::map<uint64_t, size_t> outstanding_;  // by epoch: walks, looks, captures
  struct Walk {
    size_t root;
    NodeId dir;
    uint64_t epoch;
    bool offline;
  };
  std::vector<Walk> walk_stack_;
  std::deque<CaptureTask> captures_;
  CaptureTask group_;
  uint64_t group_bytes_ = 0;
  size_t scans_running_ = 0;
  std::deque<ScanTask> scans_;  // of scans_running_: large directories, to be gone on with
  std::unordered_set<NodeId, NodeIdHash> busy_dirs_;
  std::set<std::pair<NodeId, std::string>> busy_names_;
  struct WaitingName {
    size_t root;
    uint64_t epoch;
  };
  // Of busy_names_: to be looked at when they are not busy any more; counted in outstanding_.
  std::map<std::pair<NodeId, std::string>, WaitingName> waiting_names_;
  struct Parked {
    size_t root;
    CaptureResult result;
    uint64_t epoch;
    bool offline;
  };
  std::vector<Parked> parked_;
  struct Unconfirmed {
    ContentHash hash;
    int64_t since_ns;
    bool offline;
  };
  // Findings that a writer may be the cause of, by name.
  std::map<std::pair<NodeId, std::string>, Unconfirmed> unconfirmed_;
  struct Unproven {
    size_t root = 0;
    std::string why;
    int64_t retry_ns = 0;  // how long the next reading waits
  };
  // SQLite databases, by name.
  struct {
    // To be read because of their logs; true: what told was found late.
    std::map<std::pair<NodeId, std::string>, bool> due;
    std::map<std::pair<NodeId, std::string>, FileStat> logs;  // as last seen
    std::map<std::pair<NodeId, std::string>, Unproven> unproven;
  } databases_;
  MissingNames missing_;
  int64_t missing_check_ns_ = 0;
  Incidents incidents_;    // as the journal has them
  uint64_t arrivals_ = 0;  // hints of something that moved to a name, so far
  std::vector<Waiter> waiters_;
  struct Ask {
    uint64_t id;
    Record version;
    Reread reread;
    std::function<void(Result<Record>)> done;
    bool started;
  };
  std::optional<std::pair<NodeId, std::string>> moving_from_;  // while its new name is cleared
  std::vector<Ask> asks_;
  uint64_t next_ask_ = 1;
  struct Put {
    uint64_t generation;
    std::string root, path;    // "": an import, of all of it
    std::vector<NodeId> made;  // by an import
  };
  std::map<uint64_t, Put> puts_;  // by ticket
  struct PutWaiter {
    std::set<uint64_t> puts;
    std::function<void(const Status&)> done;
  };
  std::vector<PutWaiter> put_waiters_;
  struct StoreWaiter {
    StoreChange change;
    std::function<void(const Status&)> done;
    int64_t until_ns;  // boottime: then it has waited for long enough
  };
  std::deque<StoreWaiter> store_waiters_;
  int64_t committed_ns_ = 0;  // boottime, of the last batch that had records
  uint64_t next_put_ = 1;
  std::optional<Error> stall_;
  int64_t stall_until_ns_ = 0;
  std::string last_problem_;
  OfflineSummary offline_;
  // What happened until here is journaled once nothing of its epoch is left and what was open then
  // is committed.
  struct Proof {
    uint64_t epoch;
    int64_t until_ns;
    std::optional<uint64_t> done_at_commit;
  };
  std::optional<Proof> proof_;
  uint64_t commits_ = 0;
  int64_t started_ns_ = 0, drained_ns_ = 0, progress_ns_ = 0;
  EngineTotals totals_;
  std::unique_ptr<Clocks> clocks_;
  std::unique_ptr<Space> space_;
  std::optional<FdSet> fds_;  // of the watchers
  std::optional<MountTable> mount_table_;
  bool mounts_changed_ = false;
  bool asking_ = false;  // a flush is draining: what a sweep is to find has happened by now
  Pipeline pipeline_;    // last: its threads end before what they use
};

}  // namespace holdfast
