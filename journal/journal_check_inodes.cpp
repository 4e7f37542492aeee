// The part of the check for `inodes`, the one table that depends on the order of records and not
// only on each of them. Each row must be right about its node; each live name must be counted by a
// row.
#include <algorithm>
#include <map>

#include "journal/journal_check.h"

namespace holdfast {

Status JournalCheck::check_inodes() {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.inodes_));
  TRY_ASSIGN(bool more, cursor.first());
  for (; more && !full();) {
    TRY(check_inode_row(cursor.key(), cursor.value()));
    TRY_ASSIGN(more, cursor.next());
  }
  return {};
}

Status JournalCheck::check_inode_row(std::string_view key, std::string_view value) {
  const auto where_it_is = parse_inode_key(key);
  const auto row = parse_inode_value(value);
  if (!where_it_is || !row) {
    found("table inodes: the row " + printable(key) + " is damaged");
    return {};
  }
  const auto& [root, inode] = *where_it_is;
  const std::string where =
      "table inodes: inode " + std::to_string(inode) + " of root " + std::to_string(root.value);
  const auto version = journal_.version(txn_, row->node, kLatest);
  if (!version.ok() || !*version) {
    found(where + " leads to node " + std::to_string(row->node.value) + ", which has no record");
    return {};
  }
  if ((*version)->root != root || (*version)->stat.inode != inode) {
    found(where + " leads to node " + std::to_string(row->node.value) +
          ", whose newest record has inode " + std::to_string((*version)->stat.inode) +
          " of root " + std::to_string((*version)->root.value));
    return {};
  }
  const auto names = journal_.count_names(txn_, row->node);
  if (names.ok() && *names != row->names) {
    found(where + " counts " + std::to_string(row->names) + " names, the entries have " +
          std::to_string(*names));
  }
  return {};
}

Status JournalCheck::check_live_names() {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.entries_));
  TRY_ASSIGN(bool more, cursor.first());
  std::optional<EntryKey> key;  // of the row before
  std::optional<EntryValue> value;
  while (more && !full()) {
    const auto now = parse_entry_key(cursor.key());
    const bool same_name = key && now && now->parent == key->parent && now->name == key->name;
    if (key && value && !same_name) TRY(check_live_name(*key, *value));
    key = now;
    value = parse_entry_value(cursor.value());
    TRY_ASSIGN(more, cursor.next());
  }
  if (key && value) TRY(check_live_name(*key, *value));
  return resolve_orphans();
}

Status JournalCheck::check_live_name(const EntryKey& key, const EntryValue& value) {
  if (value.node.value == 0) return {};
  const auto version = journal_.version(txn_, value.node, kLatest);
  if (!version.ok() || !*version) {
    found("table entries: '" + printable(key.name) + "' in node " +
          std::to_string(key.parent.value) + " leads to node " + std::to_string(value.node.value) +
          ", which has no readable record");
    return {};
  }
  const Record& newest = **version;
  if (value.type != FileType::kDir) {
    counts_[newest.root].files += 1;
    counts_[newest.root].bytes += counted_bytes(newest);
  }
  if (newest.stat.inode == 0) return {};
  TRY_ASSIGN(const auto row, txn_.get(journal_.inodes_, inode_key(newest.root, newest.stat.inode)));
  if (row) return {};
  Sequence seen;  // a delete is no sighting of the inode
  const Status read = journal_.for_each_version(txn_, value.node, true, [&](const Record& record) {
    seen = record.seq;
    return record.kind == RecordKind::kDelete ? Visit::kContinue : Visit::kStop;
  });
  if (read.ok()) orphans_.push_back({newest.root, newest.stat.inode, value.node, seen});
  return orphans_.size() < kOrphansMax ? Status() : resolve_orphans();
}

// Looks for the records that explain the orphans: another node with the same inode, seen later.
Status JournalCheck::resolve_orphans() {
  if (orphans_.empty()) return {};
  std::multimap<std::pair<uint64_t, uint64_t>, Orphan> open;
  Sequence from = kLatest;
  for (const Orphan& orphan : orphans_) {
    open.emplace(std::pair(orphan.root.value, orphan.inode), orphan);
    from = std::min(from, orphan.seen);
  }
  orphans_.clear();
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.records_));
  TRY_ASSIGN(bool more, cursor.seek_at_or_after(record_key(from)));
  while (more && !open.empty()) {
    const auto record = decode_record(cursor.value());
    if (record.ok() && is_version(*record)) {
      auto [at, end] = open.equal_range({record->root.value, record->stat.inode});
      while (at != end) {
        const bool explained = at->second.node != record->node && at->second.seen < record->seq;
        at = explained ? open.erase(at) : std::next(at);
      }
    }
    TRY_ASSIGN(more, cursor.next());
  }
  for (const auto& [key, orphan] : open) {
    found("table inodes: inode " + std::to_string(orphan.inode) + " of root " +
          std::to_string(orphan.root.value) + " is missing; node " +
          std::to_string(orphan.node.value) + " has it");
  }
  return {};
}

}  // namespace holdfast
