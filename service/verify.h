// Verify: is everything still what the journal says it is? Reads the files again, gives verdicts,
// and has the engine journal what must be known. Used by `holdfast verify` and by the scrub.
//
// Runs on the caller's thread with workers of its own; reads through short transactions, so that a
// run of hours pins nothing. A file whose stamps have moved is no finding by itself: the engine is
// asked to look at it, and what it journals is the finding.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "service/gate.h"
#include "service/query.h"
#include "service/verify_read.h"
#include "service/verify_walk.h"

namespace holdfast {

struct VerifyOptions {
  size_t workers = 16;      // they mostly wait for the disk
  uint64_t rate_bytes = 0;  // a second; 0: no limit
  bool idle = false;        // I/O and CPU at idle priority
  bool judge_only = false;  // journal nothing: compare with a moment that is not the present
};

struct VerifyFinding {
  Root root;
  std::string path;  // relative
  std::string verdict;
  // "missing", "empty", "shortened", "changed", "corrupt"; "unread" where it could not be looked
  // at, so that nobody knows; "" where nothing was lost.
  std::string loss;
  std::string note;
  NodeId node;
  Sequence seq;          // the record that tells of it; 0 where there is none
  bool problem = false;  // somebody has to do something about it
};

struct VerifyCounts {
  std::atomic<uint64_t> files{0}, bytes{0};
};

struct VerifyResult {
  std::map<std::string, uint64_t> verdicts;  // of files, by name
  std::map<std::string, uint64_t> losses;
  std::vector<VerifyFinding> findings;  // the first kFindingsMax
  uint64_t problems = 0;
  uint64_t left_out = 0;  // findings that are only counted
};
inline constexpr size_t kVerifyFindingsMax = 10'000;

// Regular files in the order of their nodes: `files` of them at most, and no more than fit into
// `bytes`, but one in any case.
struct NodeBatch {
  std::vector<VerifyItem> items;
  uint64_t bytes = 0;
  std::optional<NodeId> next;  // where to go on; nullopt: all have been seen
};

class Verifier {
 public:
  Verifier(State& state, Gate& gate, const VerifyOptions& options)
      : state_(state), gate_(gate), options_(options), rate_(options.rate_bytes) {}

  // Everything at and below these paths, as of `at`.
  Result<VerifyResult> verify_paths(const std::vector<UserPath>& paths, Sequence at);
  Result<NodeBatch> pick_nodes(NodeId from, size_t files, uint64_t bytes);
  Status verify_batch(NodeBatch batch, VerifyResult& into);
  void cancel();
  const VerifyCounts& counts() const { return counts_; }

 private:
  struct Moved {
    VerifyItem item;
    FileReport report;
  };
  Status run(std::vector<VerifyItem> items, VerifyResult& into);
  FileReport look(DiskReader& reader, const VerifyItem& item);
  void work(std::vector<VerifyItem>& items, std::atomic<size_t>& next, VerifyResult& into);
  void take(const VerifyItem& item, FileReport report, VerifyResult& into);
  void add(const VerifyItem& item, const FileReport& report, Verdict verdict, Sequence seq,
           VerifyResult& into);
  Status load_ending();
  Status journal_found(VerifyResult& into);
  void compare_moved(Moved moved, VerifyResult& into);
  Status look_at_moved(VerifyResult& into);
  Status ask_engine(std::vector<Moved>& moved, int round, VerifyResult& into);
  Status reopen_moved_dirs(const LmdbTxn& txn, std::vector<Moved>& silent);
  Result<bool> judge_asked(const LmdbTxn& txn, const Moved& moved, bool lost, VerifyResult& into);

  State& state_;
  Gate& gate_;
  const VerifyOptions options_;
  RateLimit rate_;
  std::atomic<bool> cancelled_{false};
  VerifyCounts counts_;
  std::mutex mutex_;  // of what the workers add to
  std::vector<Moved> moved_;
  std::vector<Moved> found_;  // to be journaled
  std::set<NodeId> ending_;   // whose open verdict ends when they are read and sound; of a batch
};

}  // namespace holdfast
