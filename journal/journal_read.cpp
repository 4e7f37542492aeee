// Reading: the state of names and nodes at any sequence. Callbacks may append records when the
// transaction is a WriteTxn: each loop keeps copies, not views, across a call.
#include <algorithm>

#include "journal/internal.h"

namespace holdfast {

namespace {

constexpr int kDepthMax = 100'000;  // no tree is that deep: damaged records that form a ring

Error no_such_node(NodeId node, Sequence at) {
  return make_error(ErrorCode::kNotFound,
                    "node " + std::to_string(node.value) + " does not exist " + at_moment(at));
}

// One row of a directory, copied out of the map.
struct EntryRow {
  std::string name;
  Sequence seq;
  EntryValue value;
  bool there = false;  // false: the directory has no more rows
};

Status load(const Cursor& cursor, bool found, NodeId parent, EntryRow& row) {
  row.there = false;
  if (!found) return {};
  const auto key = parse_entry_key(cursor.key());
  const auto value = parse_entry_value(cursor.value());
  if (!key || !value) return damaged_row("entries", printable(cursor.key()));
  if (key->parent != parent) return {};
  row.name.assign(key->name);
  row.seq = key->seq;
  row.value = *value;
  row.there = true;
  return {};
}

// Reads the rows of one name, beginning at `row`, and leaves `row` at the next name. What the name
// leads to at `at` is put into `entry`; its node is 0 where it leads nowhere.
Status take_name(Cursor& cursor, NodeId parent, Sequence at, EntryRow& row, Entry& entry) {
  constexpr int kStepsMax = 4;  // after that many rows of one name, two seeks are cheaper
  entry.name.assign(row.name);
  entry.node = {};
  const auto consider = [&] {
    if (row.seq <= at) entry = {std::move(entry.name), row.value.node, row.value.type, row.seq};
  };
  for (int step = 0; step < kStepsMax; ++step) {
    consider();
    TRY_ASSIGN(const bool found, cursor.next());
    TRY(load(cursor, found, parent, row));
    if (!row.there || row.name != entry.name) return {};
  }
  if (row.seq <= at) {
    TRY_ASSIGN(const bool found, cursor.seek_at_or_before(entry_key(parent, entry.name, at)));
    TRY(load(cursor, found, parent, row));
    consider();
  }
  TRY_ASSIGN(const bool found, cursor.seek_at_or_after(after_name(parent, entry.name)));
  return load(cursor, found, parent, row);
}

}  // namespace

Result<std::string_view> Journal::record_bytes(const LmdbTxn& txn, Sequence seq) const {
  TRY_ASSIGN(const auto bytes, txn.get(records_, record_key(seq)));
  if (!bytes) return make_error(ErrorCode::kNotFound, "there is no record " + at_seq(seq));
  return *bytes;
}

Result<Record> Journal::record(const LmdbTxn& txn, Sequence seq) const {
  TRY_ASSIGN(const auto bytes, record_bytes(txn, seq));
  auto record = decode_record(bytes);
  if (!record.ok()) return damaged_record(seq, record.error());
  if (record->seq != seq) return damaged_row("records", at_seq(seq));
  return record;
}

Result<std::optional<Journal::EntryAt>> Journal::entry_at(const LmdbTxn& txn, NodeId parent,
                                                          std::string_view name,
                                                          Sequence at) const {
  using Found = std::optional<EntryAt>;
  if (!is_safe_name(name)) return Found();
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, entries_));
  TRY_ASSIGN(const bool found, cursor.seek_at_or_before(entry_key(parent, name, at)));
  if (!found || !cursor.key().starts_with(name_prefix(parent, name).view())) return Found();
  const auto key = parse_entry_key(cursor.key());
  const auto value = parse_entry_value(cursor.value());
  if (!key || !value) return damaged_row("entries", printable(name));
  return Found(EntryAt{*value, key->seq});
}

Result<std::optional<Entry>> Journal::entry(const LmdbTxn& txn, NodeId parent,
                                            std::string_view name, Sequence at) const {
  TRY_ASSIGN(const auto found, entry_at(txn, parent, name, at));
  if (!found || found->value.node.value == 0) return std::optional<Entry>();
  return std::optional(
      Entry{std::string(name), found->value.node, found->value.type, found->since});
}

Status Journal::for_each_entry(const LmdbTxn& txn, NodeId parent, Sequence at,
                               const std::function<Visit(const Entry&)>& visit) const {
  return for_each_entry_after(txn, parent, "", at, visit);
}

Status Journal::for_each_entry_after(const LmdbTxn& txn, NodeId parent, std::string_view after,
                                     Sequence at,
                                     const std::function<Visit(const Entry&)>& visit) const {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, entries_));
  const Key from = after.empty() ? directory_prefix(parent) : after_name(parent, after);
  TRY_ASSIGN(const bool found, cursor.seek_at_or_after(from));
  EntryRow row;
  Entry entry;
  TRY(load(cursor, found, parent, row));
  while (row.there) {
    TRY(take_name(cursor, parent, at, row, entry));
    if (entry.node.value != 0 && visit(entry) == Visit::kStop) return {};
  }
  return {};
}

Result<std::optional<Sequence>> Journal::version_seq(const LmdbTxn& txn, NodeId node,
                                                     Sequence at) const {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, versions_));
  TRY_ASSIGN(const bool found, cursor.seek_at_or_before(version_key(node, at)));
  if (!found) return std::optional<Sequence>();
  const auto key = parse_version_key(cursor.key());
  if (!key) return damaged_row("versions", "node " + std::to_string(node.value));
  return key->node == node ? std::optional(key->seq) : std::nullopt;
}

Result<std::optional<Record>> Journal::version(const LmdbTxn& txn, NodeId node, Sequence at) const {
  TRY_ASSIGN(const auto seq, version_seq(txn, node, at));
  if (!seq) return std::optional<Record>();
  TRY_ASSIGN(Record found, record(txn, *seq));
  return std::optional(std::move(found));
}

Status Journal::for_each_node(const LmdbTxn& txn, NodeId from, Sequence at,
                              const std::function<Visit(const Record&)>& visit) const {
  NodeId next = from;
  for (;;) {
    std::optional<NodeId> node;
    {
      TRY_ASSIGN(Cursor cursor, Cursor::open(txn, versions_));
      TRY_ASSIGN(const bool found, cursor.seek_at_or_after(version_key(next, {})));
      if (!found) return {};
      const auto key = parse_version_key(cursor.key());
      if (!key) return damaged_row("versions", printable(cursor.key()));
      node = key->node;
    }
    TRY_ASSIGN(const auto newest, version(txn, *node, at));
    if (newest && visit(*newest) == Visit::kStop) return {};
    next.value = node->value + 1;
  }
}

Status Journal::for_each_version(const LmdbTxn& txn, NodeId node, bool newest_first,
                                 const std::function<Visit(const Record&)>& visit) const {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, versions_));
  TRY_ASSIGN(bool found, newest_first ? cursor.seek_at_or_before(version_key(node, kLatest))
                                      : cursor.seek_at_or_after(version_key(node, {})));
  while (found) {
    const auto key = parse_version_key(cursor.key());
    if (!key) return damaged_row("versions", "node " + std::to_string(node.value));
    if (key->node != node) return {};
    TRY_ASSIGN(const Record version, record(txn, key->seq));
    if (visit(version) == Visit::kStop) return {};
    TRY_ASSIGN(found, newest_first ? cursor.previous() : cursor.next());
  }
  return {};
}

Result<std::vector<Journal::NameSpan>> Journal::name_spans(const LmdbTxn& txn, NodeId parent,
                                                           std::string_view name) const {
  std::vector<NameSpan> spans;
  if (!is_safe_name(name)) return spans;
  const Key prefix = name_prefix(parent, name);
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, entries_));
  TRY_ASSIGN(bool found, cursor.seek_at_or_before(entry_key(parent, name, kLatest)));
  Sequence until;
  while (found && cursor.key().starts_with(prefix.view())) {
    const auto key = parse_entry_key(cursor.key());
    const auto value = parse_entry_value(cursor.value());
    if (!key || !value) return damaged_row("entries", printable(name));
    if (value->node.value != 0) spans.push_back({value->node, value->type, key->seq, until});
    until = key->seq;
    TRY_ASSIGN(found, cursor.previous());
  }
  return spans;
}

Status Journal::for_each_span(
    const LmdbTxn& txn, NodeId parent,
    const std::function<Visit(std::string_view name, const NameSpan&)>& visit) const {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, entries_));
  TRY_ASSIGN(bool found, cursor.seek_at_or_after(directory_prefix(parent)));
  EntryRow row, next;
  TRY(load(cursor, found, parent, row));
  while (row.there) {
    TRY_ASSIGN(found, cursor.next());
    TRY(load(cursor, found, parent, next));
    const bool same_name = next.there && next.name == row.name;
    if (row.value.node.value != 0) {
      const NameSpan span{row.value.node, row.value.type, row.seq,
                          same_name ? next.seq : Sequence{}};
      if (visit(row.name, span) == Visit::kStop) return {};
    }
    std::swap(row, next);
  }
  return {};
}

Status Journal::for_each_version_between(const LmdbTxn& txn, NodeId node, Sequence first,
                                         Sequence last,
                                         const std::function<Visit(Sequence)>& visit) const {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, versions_));
  TRY_ASSIGN(bool found, cursor.seek_at_or_after(version_key(node, first)));
  while (found) {
    const auto key = parse_version_key(cursor.key());
    if (!key) return damaged_row("versions", "node " + std::to_string(node.value));
    if (key->node != node || key->seq > last) return {};
    if (visit(key->seq) == Visit::kStop) return {};
    TRY_ASSIGN(found, cursor.next());
  }
  return {};
}

Result<std::optional<InodeEntry>> Journal::inode(const LmdbTxn& txn, NodeId root,
                                                 uint64_t inode) const {
  TRY_ASSIGN(const auto value, txn.get(inodes_, inode_key(root, inode)));
  if (!value) return std::optional<InodeEntry>();
  const auto row = parse_inode_value(*value);
  if (!row) return damaged_row("inodes", std::to_string(inode));
  return std::optional(InodeEntry{row->node, row->names});
}

Result<bool> Journal::is_within(const LmdbTxn& txn, NodeId dir, NodeId above) const {
  NodeId node = dir;
  for (int depth = 0; depth < kDepthMax && node.value != 0; ++depth) {
    if (node == above) return true;
    TRY_ASSIGN(const auto newest, version(txn, node, kLatest));
    if (!newest) return false;
    node = newest->parent;
  }
  return false;
}

Result<Journal::DirPlace> Journal::dir_place(const LmdbTxn& txn, NodeId dir, Sequence at) const {
  DirPlace place{"", Sequence{1}, Sequence{}};
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, entries_));
  NodeId node = dir;
  for (int depth = 0; depth < kDepthMax; ++depth) {
    TRY_ASSIGN(const auto newest, version(txn, node, at));
    if (!newest) return no_such_node(dir, at);
    const Key prefix = name_prefix(newest->parent, newest->name);
    TRY_ASSIGN(bool found, cursor.seek_at_or_before(entry_key(newest->parent, newest->name, at)));
    if (!found || !cursor.key().starts_with(prefix.view())) return no_such_node(dir, at);
    const auto key = parse_entry_key(cursor.key());
    const auto value = parse_entry_value(cursor.value());
    if (!key || !value) return damaged_row("entries", printable(newest->name));
    if (value->node != node) return no_such_node(dir, at);
    place.since = std::max(place.since, key->seq);
    TRY_ASSIGN(found, cursor.next());
    if (found && cursor.key().starts_with(prefix.view())) {
      const auto end = parse_entry_key(cursor.key());
      if (!end) return damaged_row("entries", printable(newest->name));
      if (place.until.value == 0 || end->seq < place.until) place.until = end->seq;
    }
    if (newest->parent.value == 0) return place;
    place.path.insert(0, place.path.empty() ? newest->name : newest->name + '/');
    node = newest->parent;
  }
  return damaged_row("entries", "the ancestors of node " + std::to_string(dir.value));
}

Result<std::string> Journal::dir_path(const LmdbTxn& txn, NodeId dir, Sequence at) const {
  TRY_ASSIGN(DirPlace place, dir_place(txn, dir, at));
  return std::move(place.path);
}

Result<Located> Journal::locate(const LmdbTxn& txn, NodeId root, std::string_view relative,
                                Sequence at) const {
  TRY_ASSIGN(const auto newest, version(txn, root, at));
  if (!newest) return no_such_node(root, at);
  TRY_ASSIGN(const auto present, entry_at(txn, newest->parent, newest->name, at));
  if (!present || present->value.node != root) return no_such_node(root, at);
  Located located{root, newest->parent, newest->name, root, newest->type};
  size_t begin = 0;
  while (begin < relative.size()) {
    const size_t end = std::min(relative.find('/', begin), relative.size());
    const std::string_view name = relative.substr(begin, end - begin);
    if (!name.empty()) {
      TRY_ASSIGN(const auto step, entry(txn, located.node, name, at));
      if (!step) {
        return make_error(ErrorCode::kNotFound, "there is no '" +
                                                    printable(relative.substr(0, end)) + "' in '" +
                                                    printable(newest->name) + "' " + at_moment(at));
      }
      located = {root, located.node, step->name, step->node, step->type};
    }
    begin = end + 1;
  }
  return located;
}

Status Journal::for_each_record(const LmdbTxn& txn, Sequence from, bool backwards,
                                const std::function<Visit(const Record&)>& visit) const {
  return backwards ? for_each_record_between(txn, {}, from, true, nullptr, visit)
                   : for_each_record_between(txn, from, kLatest, false, nullptr, visit);
}

Status Journal::for_each_record_between(const LmdbTxn& txn, Sequence first, Sequence last,
                                        bool backwards,
                                        const std::function<bool(RecordKind, Verdict)>& wanted,
                                        const std::function<Visit(const Record&)>& visit) const {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, records_));
  TRY_ASSIGN(bool found, backwards ? cursor.seek_at_or_before(record_key(last))
                                   : cursor.seek_at_or_after(record_key(first)));
  while (found) {
    const auto key = parse_record_key(cursor.key());
    if (!key) return damaged_row("records", "some key");
    const Sequence seq = *key;
    if (seq < first || seq > last) return {};
    const auto word = peek_kind(cursor.value());
    // What cannot be peeked at is decoded, which says what is wrong with it.
    if (!wanted || !word || wanted(word->first, word->second)) {
      auto decoded = decode_record(cursor.value());
      if (!decoded.ok()) return damaged_record(seq, decoded.error());
      if (decoded->seq != seq) return damaged_row("records", at_seq(seq));
      if (visit(*decoded) == Visit::kStop) return {};
    }
    TRY_ASSIGN(found, backwards ? cursor.previous() : cursor.next());
  }
  return {};
}

}  // namespace holdfast
