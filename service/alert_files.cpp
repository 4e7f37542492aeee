#include "service/alert_files.h"

#include <algorithm>
#include <map>

#include "base/path.h"
#include "service/query.h"
#include "service/words.h"

namespace holdfast {

namespace {

// Of one root: how many files could not be read, and the first of them.
struct Unreadable {
  uint64_t files = 0;
  std::string first;
};

Finding large_file(const Record& version, const std::string& root, const std::string& path,
                   uint64_t bound_bytes) {
  Finding finding;
  finding.check = "file_size";
  finding.root = root;
  finding.what = "the file " + display_path(path) + " is large";
  finding.value = words_for_bytes(version.stat.size);
  finding.bound = "at most " + words_for_bytes(bound_bytes);
  finding.fix = "holdfast history shows how it grew; file_above in [alerts] is the bound";
  finding.subject = "node " + std::to_string(version.node.value);
  return finding;
}

Finding unreadable_files(const std::string& root, const Unreadable& unreadable) {
  Finding finding;
  finding.check = "unreadable";
  finding.root = root;
  finding.what = "files cannot be read, so their contents are not kept";
  finding.value = std::to_string(unreadable.files) + ", the first is " + unreadable.first;
  finding.bound = "none may be";
  finding.fix = "let the service's user read them, or exclude them; holdfast ls shows which";
  finding.subject = "unreadable";
  return finding;
}

}  // namespace

bool AlertFiles::is_wanted(const Record& record) const {
  if (!record.is_node_record() || record.type != FileType::kFile) return false;
  if (record.kind == RecordKind::kDelete || virtual_roots_.contains(record.root)) return false;
  return (record.flags & kFlagUnreadable) != 0 ||
         (above_bytes_ && record.stat.size > *above_bytes_);
}

void AlertFiles::take(const Record& record) {
  if (is_wanted(record) && nodes_.size() < kFilesMax) nodes_.insert(record.node);
}

Status AlertFiles::read_roots(const LmdbTxn& txn) {
  TRY_ASSIGN(const auto roots, state_.journal->roots(txn));
  virtual_roots_.clear();
  for (const Root& root : roots) {
    if (root.is_virtual()) virtual_roots_.insert(root.node);
  }
  return {};
}

Result<bool> AlertFiles::step() {
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  TRY_ASSIGN(const Head head, state_.journal->head(*txn));
  if (!begun_) {
    begun_ = head.seq;
    next_ = Sequence{head.seq.value + 1};
  }
  TRY(read_roots(*txn));
  if (!nodes_done_) return step_nodes(*txn);
  return step_records(*txn, head.seq);
}

Result<bool> AlertFiles::step_nodes(const LmdbTxn& txn) {
  size_t rows = 0;
  bool done = true;
  TRY(state_.journal->for_each_node(txn, next_node_, *begun_, [&](const Record& record) {
    take(record);
    next_node_ = NodeId{record.node.value + 1};
    if (++rows < kStepRows) return Visit::kContinue;
    done = false;
    return Visit::kStop;
  }));
  nodes_done_ = done;
  return false;
}

Result<bool> AlertFiles::step_records(const LmdbTxn& txn, Sequence head) {
  const Sequence last{std::min<uint64_t>(head.value, next_.value + kStepRows)};
  if (next_ <= last) {
    TRY(state_.journal->for_each_record_between(
        txn, next_, last, false, [](RecordKind, Verdict) { return true; },
        [&](const Record& record) {
          take(record);
          return Visit::kContinue;
        }));
    next_ = Sequence{last.value + 1};
  }
  if (last < head) return false;
  complete_ = true;
  // What is not wanted any more makes room.
  std::vector<NodeId> over;
  for (const NodeId node : nodes_) {
    TRY_ASSIGN(const auto version, state_.journal->version(txn, node, head));
    if (!version || !is_wanted(*version)) over.push_back(node);
  }
  for (const NodeId node : over) nodes_.erase(node);
  return true;
}

Result<std::vector<Finding>> AlertFiles::findings(const std::set<std::string>& watched) const {
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  TRY_ASSIGN(const Head head, state_.journal->head(*txn));
  Query query(state_, *txn);
  std::vector<Finding> findings;
  std::map<std::string, Unreadable> unreadable;
  for (const NodeId node : nodes_) {
    TRY_ASSIGN(const auto version, state_.journal->version(*txn, node, head.seq));
    if (!version || !is_wanted(*version)) continue;
    const std::string root = query.place(*version).first;
    if (!watched.contains(root)) continue;
    const std::string path = query.user_path(*version);
    if ((version->flags & kFlagUnreadable) != 0) {
      Unreadable& of_root = unreadable[root];
      if (of_root.files++ == 0) {
        of_root.first = display_path(path) + (version->note.empty() ? "" : ": " + version->note);
      }
    }
    if (above_bytes_ && version->stat.size > *above_bytes_) {
      findings.push_back(large_file(*version, root, path, *above_bytes_));
    }
  }
  for (const auto& [root, of_root] : unreadable)
    findings.push_back(unreadable_files(root, of_root));
  return findings;
}

}  // namespace holdfast
