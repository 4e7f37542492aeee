// How one record changes the tables of nodes. The inode table follows three rules: a row belongs to
// the node that was last seen with the inode; it counts the node's present names; a node seen with
// another inode takes its row along.
#include <set>

#include "journal/internal.h"

namespace holdfast {

Status NodeApply::find_ended_name() {
  const NodeId parent = ended_parent(record_);
  const std::string& name = ended_name(record_);
  if (!is_safe_name(name)) {
    return make_error(ErrorCode::kUsage, "cannot journal a rename of '" + printable(record_.name) +
                                             "' that does not say where it was");
  }
  TRY_ASSIGN(const auto present, journal_.entry_at(txn_, parent, name, kLatest));
  if (!present || present->value.node != record_.node) {
    TRY_ASSIGN(const Sequence hole, journal_.last_hole(txn_));
    ends_unknown_name_ = hole.value != 0;
    if (ends_unknown_name_) return {};
    return make_error(ErrorCode::kUsage,
                      std::string("cannot journal the ") + record_kind_name(record_.kind) +
                          " of '" + printable(name) + "': that name does not lead to node " +
                          std::to_string(record_.node.value) + " now");
  }
  loses_name_ = true;
  return {};
}

// A directory in itself would be a ring: no path leads to it, and none to what is below it.
Status NodeApply::refuse_ring() {
  if (record_.kind != RecordKind::kRename || record_.type != FileType::kDir) return {};
  TRY_ASSIGN(const bool ring, journal_.is_within(txn_, record_.parent, record_.node));
  if (!ring) return {};
  return make_error(ErrorCode::kUsage, "cannot journal a rename of '" + printable(record_.name) +
                                           "' to a place below itself");
}

Status NodeApply::prepare() {
  TRY_ASSIGN(version_before_, newest(record_.node));
  if (version_before_) before_ = InodeRef{version_before_->root, version_before_->stat.inode};
  const bool moves = !ends_name(record_) || record_.kind == RecordKind::kDelete ||
                     ended_parent(record_) != record_.parent || ended_name(record_) != record_.name;
  if (ends_name(record_) && moves) TRY(find_ended_name());
  TRY(refuse_ring());
  if (makes_name(record_)) {
    TRY_ASSIGN(const auto present, journal_.entry_at(txn_, record_.parent, record_.name, kLatest));
    const NodeId holder = present ? present->value.node : NodeId{};
    gains_name_ = holder != record_.node;
    if (gains_name_) victim_ = holder;
  }
  return prepare_counts();
}

// Each present name counts its node's newest size, so a new size counts for all names there are.
Status NodeApply::prepare_counts() {
  if (record_.type == FileType::kDir) return {};
  const int64_t bytes = counted_bytes(record_);
  change_.files = (gains_name_ ? 1 : 0) - (loses_name_ ? 1 : 0);
  change_.bytes = change_.files * bytes;
  if (!version_before_ || bytes == counted_bytes(*version_before_)) return {};
  TRY_ASSIGN(const auto row, inode_row(*before_));
  int64_t names = row && row->node == record_.node ? row->names : 0;
  if (names == 0) {
    TRY_ASSIGN(names, journal_.count_names(txn_, record_.node));
  }
  change_.bytes += names * (bytes - counted_bytes(*version_before_));
  return {};
}

Status NodeApply::write_counts() {
  if (change_ == RootCounts{}) return {};
  TRY_ASSIGN(RootCounts counts, journal_.counts(txn_, record_.root));
  counts.files += change_.files;
  counts.bytes += change_.bytes;
  return txn_.put(journal_.meta_, counts_key(record_.root), counts_value(counts));
}

Status NodeApply::write() {
  TRY(txn_.put(journal_.versions_, version_key(record_.node, record_.seq), {}));
  if (loses_name_ || ends_unknown_name_) {
    const Key key = entry_key(ended_parent(record_), ended_name(record_), record_.seq);
    TRY(txn_.put(journal_.entries_, key, entry_value({})));
  }
  if (makes_name(record_)) {
    const Key key = entry_key(record_.parent, record_.name, record_.seq);
    TRY(txn_.put(journal_.entries_, key, entry_value({record_.node, record_.type})));
  }
  if (victim_.value != 0) TRY(drop_name(victim_));
  TRY(write_counts());
  return update_inode();
}

// A node's newest version; nullopt for a node without one.
Result<std::optional<Record>> NodeApply::newest(NodeId node) const {
  TRY_ASSIGN(const auto seq, journal_.version_seq(txn_, node, kLatest));
  if (!seq) return std::optional<Record>();
  TRY_ASSIGN(Record record, journal_.record(txn_, *seq));
  return std::optional(std::move(record));
}

Result<std::optional<InodeValue>> NodeApply::inode_row(const InodeRef& ref) const {
  if (ref.inode == 0) return std::optional<InodeValue>();
  TRY_ASSIGN(const auto value, txn_.get(journal_.inodes_, inode_key(ref.root, ref.inode)));
  if (!value) return std::optional<InodeValue>();
  const auto row = parse_inode_value(*value);
  if (!row) return damaged_row("inodes", std::to_string(ref.inode));
  return row;
}

Status NodeApply::put_inode_row(const InodeRef& ref, uint32_t names) {
  const Key key = inode_key(ref.root, ref.inode);
  if (names == 0) return txn_.remove(journal_.inodes_, key);
  return txn_.put(journal_.inodes_, key, inode_value({record_.node, names}));
}

// The node loses a name to another one; its row stays where another node has taken the inode over.
Status NodeApply::drop_name(NodeId node) {
  TRY_ASSIGN(const auto version, newest(node));
  if (!version) return {};
  if (version->type != FileType::kDir) {
    change_.files -= 1;
    change_.bytes -= counted_bytes(*version);
  }
  const InodeRef ref{version->root, version->stat.inode};
  TRY_ASSIGN(const auto row, inode_row(ref));
  if (!row || row->node != node) return {};
  const Key key = inode_key(ref.root, ref.inode);
  if (row->names <= 1) return txn_.remove(journal_.inodes_, key);
  return txn_.put(journal_.inodes_, key, inode_value({node, row->names - 1}));
}

Status NodeApply::update_inode() {
  const InodeRef now{record_.root, record_.stat.inode};
  // How many names the node has, as far as its row tells without counting.
  std::optional<uint32_t> names;
  if (!before_) names = gains_name_ ? 1u : 0u;
  if (before_) {
    TRY_ASSIGN(const auto row, inode_row(*before_));
    if (row && row->node == record_.node) {
      names = row->names + (gains_name_ ? 1u : 0u);
      if (loses_name_ && *names > 0) --*names;
      if (*before_ == now) return *names == row->names ? Status() : put_inode_row(now, *names);
      TRY(txn_.remove(journal_.inodes_, inode_key(before_->root, before_->inode)));
    }
  }
  if (now.inode == 0) return {};
  TRY_ASSIGN(const auto holder, inode_row(now));
  // A delete is no sighting of the inode: it does not take the row from a node that was seen later.
  if (holder && record_.kind == RecordKind::kDelete) return {};
  if (!names) {
    TRY_ASSIGN(names, journal_.count_names(txn_, record_.node));
  }
  return *names == 0 ? Status() : put_inode_row(now, *names);
}

Result<uint32_t> Journal::count_names(const LmdbTxn& txn, NodeId node) const {
  std::set<std::pair<uint64_t, std::string>> seen;
  uint32_t count = 0;
  Status inner;
  TRY(for_each_version(txn, node, false, [&](const Record& record) {
    if (!makes_name(record) || !seen.emplace(record.parent.value, record.name).second) {
      return Visit::kContinue;
    }
    const auto present = entry_at(txn, record.parent, record.name, kLatest);
    if (!present.ok()) {
      inner = present.error();
      return Visit::kStop;
    }
    if (*present && (*present)->value.node == node) ++count;
    return Visit::kContinue;
  }));
  TRY(inner);
  return count;
}

}  // namespace holdfast
