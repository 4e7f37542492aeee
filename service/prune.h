// Pruning: contents that no kept moment sees are dropped, beside the watch (docs/retention.md).
//
// A run marks what is needed, then rewrites the packs that are worth it, one group after the other.
// Nothing holds the engine for longer than a small transaction, and whatever ends a run half way
// leaves a whole store: the next run goes on. Dropping a content is never needed for correctness,
// so in doubt it stays.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "journal/retention.h"
#include "service/gate.h"
#include "service/query.h"
#include "service/space_policy.h"
#include "service/state.h"
#include "store/compaction.h"
#include "store/live_map.h"

namespace holdfast {

struct PruneOptions {
  RetentionPolicy policy = kDefaultRetention;
  bool dry_run = false;
  // How long the files of packs that nobody needs stay. Whoever copies packs elsewhere may be at
  // it.
  int64_t grace_ns = 60'000'000'000;
};

struct PruneResult {
  Kept kept;
  uint64_t bytes_before = 0;  // of all packs
  uint64_t dead_bytes = 0;    // of contents that nobody needs, as they are stored
  uint64_t packs_rewritten = 0, bytes_rewritten = 0;
  uint64_t packs_written = 0, bytes_written = 0;
  uint64_t bytes_freed = 0;    // of files that are gone
  uint64_t bytes_waiting = 0;  // of files that go when their time is over
};

class Pruner {
 public:
  Pruner(State& state, Gate& gate, const Clock& clock)
      : state_(state), gate_(gate), clock_(clock) {}
  // One at a time: kFailed while another run is under way.
  Result<PruneResult> run(const PruneOptions& options);
  // Deletes condemned packs whose time has come; returns the bytes freed. Cheap where there are
  // none, and nothing while a run is under way.
  Result<uint64_t> remove_condemned(int64_t grace_ns);
  void cancel() { cancelled_ = true; }
  // Of the run under way, from any thread.
  struct Counts {
    std::atomic<uint64_t> marked{0}, packs{0}, packs_done{0};
  };
  const Counts& counts() const { return counts_; }
  // Of all runs since the start, from any thread: those that ended well, when the last one did
  // (wall) and how long it took, and the bytes of packs that are gone.
  struct Totals {
    std::atomic<uint64_t> runs{0}, freed_bytes{0};
    std::atomic<int64_t> last_ns{0}, took_ns{0};
  };
  const Totals& totals() const { return totals_; }

 private:
  // Packs that stand for one piece of the log. More than one where a run was interrupted.
  struct Unit {
    uint32_t first = 0, last = 0;
    std::vector<uint32_t> packs;
    uint32_t widest = 0;  // the pack that has all its batches; 0: the packs in order have them
    LiveMap::PackUse use;
    uint64_t bytes = 0;
    bool is_worst = false;  // one of those that have the most of what is dead in all
    uint64_t dead() const { return use.data_bytes - use.live_bytes; }
    bool worth_it() const;
    bool is_small() const;
  };
  struct Group {
    std::vector<Unit> units;
    uint64_t bytes = 0, live_bytes = 0, chunks = 0;
    bool worth_it() const;
  };
  struct Copy;
  struct Condemned {
    uint64_t commit = 0;  // who reads from here on does not need it
    int64_t since_ns = 0;
  };

  Result<uint64_t> remove_condemned_now(int64_t grace_ns);
  Status begin(const PruneOptions& options, PruneResult& result);
  Status scan_packs(bool with_open_pack);
  Status mark_kept(const Kept& kept);
  Status mark_new_records();
  Status mark(const LmdbTxn& txn, ChunkReader& reader, const ContentRef& content);
  Status mark_all(const std::vector<ContentRef>& contents);
  void choose_worst();
  std::vector<Group> plan() const;
  Status compact(const Group& group, PruneResult& result);
  Status copy(const Group& group, Copy& copy);
  Status copy_chunks(uint32_t pack, Copy& copy);
  Status copy_batches(const Group& group, Copy& copy);
  Status move_index(const Group& group, const Copy& copy);
  Status change_index(std::vector<Store::Move> changes);
  Status drop_rows_of(uint32_t pack);
  Status change(const std::function<Status(Store&, WriteTxn&)>& change);
  Status leave(const std::vector<uint32_t>& packs);
  Status remove_packs(const std::vector<uint32_t>& packs);
  Status stop_if_cancelled() const;

  State& state_;
  Gate& gate_;
  const Clock& clock_;
  std::mutex running_;
  std::atomic<bool> cancelled_{false};
  Counts counts_;
  Totals totals_;
  // Of the run under way.
  std::map<uint32_t, PackEntry> packs_;
  LiveMap live_;
  std::vector<Unit> units_;
  Sequence marked_until_;
  bool busy_ = true;                         // the engine was, when the index was changed last
  std::map<uint32_t, Condemned> condemned_;  // whose rows are gone from the index
};

Json prune_json(const PruneResult& result, bool dry_run);

// When the schedule pruned last, in a file of the state that a restart finds. 0: never, or the file
// is not what was written, which the flaw says (nullopt: nothing is wrong).
int64_t read_prune_mark(const std::string& state_dir);
Status write_prune_mark(const std::string& state_dir, int64_t wall_ns);
std::optional<std::string> prune_mark_flaw(const std::string& state_dir);

// Prunes by the policy of the configuration, once a day and when the store comes near its quota or
// its disk near its reserve, and deletes what is condemned meanwhile.
class PruneSchedule {
 public:
  // Without a policy only the latter.
  PruneSchedule(Pruner& pruner, const std::optional<RetentionPolicy>& policy, State& state,
                Gate& gate, const Clock& clock, Log& log);
  ~PruneSchedule();
  PruneSchedule(const PruneSchedule&) = delete;
  PruneSchedule& operator=(const PruneSchedule&) = delete;

 private:
  void work();
  void prune();
  void prune_for_space();
  std::optional<uint64_t> run();
  Pruner& pruner_;
  const std::optional<RetentionPolicy> policy_;
  State& state_;
  Gate& gate_;
  const Clock& clock_;
  Log& log_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  PruneTrigger trigger_;
  std::thread thread_;
};

}  // namespace holdfast
