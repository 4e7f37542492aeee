#include "service/below.h"

#include <algorithm>

namespace holdfast {

namespace {

class Gatherer {
 public:
  Gatherer(const Journal& journal, const LmdbTxn& txn, Sequence first, Sequence last,
           uint64_t steps_max)
      : journal_(journal), txn_(txn), first_(first), last_(last), steps_left_(steps_max) {}

  Result<bool> gather(const std::vector<Life>& lives);  // false: too many steps
  std::vector<Sequence> take();

 private:
  bool step() { return steps_left_ != 0 && --steps_left_ != 0; }
  Status add_versions(NodeId node, Sequence since, Sequence until);
  Status add_children(const Life& dir);

  const Journal& journal_;
  const LmdbTxn& txn_;
  const Sequence first_, last_;
  uint64_t steps_left_;
  std::vector<Life> dirs_;  // still to be opened
  std::vector<Sequence> found_;
};

// A name's last record may come after its end (its loss was accepted), so that versions are taken
// for as long as the directory was there.
Status Gatherer::add_versions(NodeId node, Sequence since, Sequence until) {
  const Sequence last = until.value == 0 ? last_ : std::min(last_, until);
  return journal_.for_each_version_between(txn_, node, std::max(first_, since), last,
                                           [&](Sequence seq) {
                                             found_.push_back(seq);
                                             return step() ? Visit::kContinue : Visit::kStop;
                                           });
}

Status Gatherer::add_children(const Life& dir) {
  Status failed;
  TRY(journal_.for_each_span(txn_, dir.node, [&](std::string_view, const Journal::NameSpan& span) {
    if (!step()) return Visit::kStop;
    Life below{span.node, span.type, std::max(span.since, dir.since), span.until};
    if (dir.until.value != 0 && (below.until.value == 0 || below.until > dir.until)) {
      below.until = dir.until;
    }
    const bool after = below.since > last_ || (dir.until.value != 0 && below.since > dir.until);
    if (after) return Visit::kContinue;
    failed = add_versions(below.node, below.since, dir.until);
    const bool over = below.until.value != 0 && (below.until < first_ || below.until < below.since);
    if (below.type == FileType::kDir && !over) dirs_.push_back(below);
    return failed.ok() ? Visit::kContinue : Visit::kStop;
  }));
  return failed;
}

Result<bool> Gatherer::gather(const std::vector<Life>& lives) {
  for (const Life& life : lives) {
    TRY(add_versions(life.node, life.since, {}));
    if (life.type == FileType::kDir) dirs_.push_back(life);
    while (!dirs_.empty() && steps_left_ != 0) {
      const Life dir = dirs_.back();
      dirs_.pop_back();
      TRY(add_children(dir));
    }
    if (steps_left_ == 0) return false;
  }
  return true;
}

std::vector<Sequence> Gatherer::take() {
  std::sort(found_.begin(), found_.end());
  found_.erase(std::unique(found_.begin(), found_.end()), found_.end());
  return std::move(found_);
}

}  // namespace

Result<std::optional<std::vector<Sequence>>> sequences_below(const Journal& journal,
                                                             const LmdbTxn& txn,
                                                             const std::vector<Life>& lives,
                                                             Sequence first, Sequence last,
                                                             uint64_t steps_max) {
  Gatherer gatherer(journal, txn, first, last, steps_max);
  TRY_ASSIGN(const bool all, gatherer.gather(lives));
  if (!all) return std::optional<std::vector<Sequence>>();
  return std::optional(gatherer.take());
}

}  // namespace holdfast
