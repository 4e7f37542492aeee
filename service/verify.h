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
#include <string>
#include <vector>

#include "base/result.h"
#include "service/gate.h"
#include "service/query.h"
#include "service/verify_read.h"

namespace holdfast {

struct VerifyOptions {
  size_t workers = 4;       // they mostly wait for the disk
  uint64_t rate_bytes = 0;  // a second; 0: no limit
  bool idle = false;        // I/O and CPU at idle priority
  bool judge_only = false;  // journal nothing: compare with a moment that is not the present
};

struct VerifyFinding {
  Root root;
  std::string path;  // relative
  std::string verdict;
  std::string
      loss;  // "missing", "empty", "shortened", "changed", "corrupt" or "" where nothing was lost
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

// One name to verify, with its open directory.
struct VerifyItem {
  Root root;
  FsTraits fs;
  std::shared_ptr<Fd> dir_fd;  // null: the directory is not there
  std::string path;            // relative
  std::string name;
  Record version;
};

class Verifier {
 public:
  Verifier(State& state, Gate& gate, const VerifyOptions& options)
      : state_(state), gate_(gate), options_(options), rate_(options.rate_bytes) {}

  // Everything at and below these paths, as of `at`.
  Result<VerifyResult> verify_paths(const std::vector<UserPath>& paths, Sequence at);
  // Regular files in the order of their nodes, from `from` on: about one `batch` of them. Returns
  // where to go on, or nullopt when all have been seen.
  Result<std::optional<NodeId>> verify_nodes(NodeId from, size_t batch, VerifyResult& into);
  void cancel();
  const VerifyCounts& counts() const { return counts_; }

 private:
  using Source = std::function<Result<bool>(std::vector<VerifyItem>&)>;  // false: no more
  struct Moved {
    VerifyItem item;
    FileReport report;
  };
  Status run(const Source& more, VerifyResult& into);
  void work(std::vector<VerifyItem>& items, std::atomic<size_t>& next, VerifyResult& into);
  void take(const VerifyItem& item, FileReport report, VerifyResult& into);
  void add(const VerifyItem& item, const FileReport& report, Verdict verdict, Sequence seq,
           VerifyResult& into);
  Status journal_found(VerifyResult& into);
  Status look_at_moved(VerifyResult& into);
  Status list_dir(const Root& root, NodeId dir, const std::string& path, Sequence at,
                  std::vector<VerifyItem>& items,
                  std::vector<std::pair<NodeId, std::string>>& below);
  Result<FsTraits> open_root(const Root& root, Fd& fd);

  State& state_;
  Gate& gate_;
  const VerifyOptions options_;
  RateLimit rate_;
  std::atomic<bool> cancelled_{false};
  VerifyCounts counts_;
  std::mutex mutex_;  // of what the workers add to
  std::vector<Moved> moved_;
  std::vector<Moved> found_;  // to be journaled
};

}  // namespace holdfast
