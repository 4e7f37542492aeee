#include "journal/journal_check.h"

#include <algorithm>

namespace holdfast {

namespace {
std::string node_word(NodeId node) { return "node " + std::to_string(node.value); }
std::string name_word(NodeId parent, std::string_view name) {
  return "'" + printable(name) + "' in " + node_word(parent);
}
std::string_view chain_of(std::string_view bytes) { return bytes.substr(kRecordChainOffset, 16); }
}  // namespace

Status Journal::check(const LmdbTxn& txn,
                      const std::function<void(const std::string&)>& finding) const {
  return JournalCheck(*this, txn, finding).run();
}

void JournalCheck::found(const std::string& what) {
  if (full()) return;
  ++findings_;
  finding_(what);
  if (full())
    finding_("more than " + std::to_string(kFindingsMax) + " findings: the rest is left out");
}

Status JournalCheck::run() {
  TRY(check_records());
  TRY(check_head());
  TRY(check_count(journal_.entries_, entries_expected_, "entries", &JournalCheck::explain_entries));
  TRY(check_count(journal_.versions_, versions_expected_, "versions",
                  &JournalCheck::explain_versions));
  const auto number = [](std::string_view key) {
    if (key.size() == 4) return std::to_string(get_be32(key.data()));
    return key.size() == 8 ? std::to_string(get_be64(key.data())) : printable(key);
  };
  TRY(check_small_table(journal_.boots_, "boots", boots_, number));
  TRY(check_small_table(journal_.roots_, "roots", roots_, number));
  TRY(check_small_table(journal_.snapshots_, "snapshots", snapshots_,
                        [](std::string_view key) { return "'" + printable(key) + "'"; }));
  std::map<std::string, std::string> open;
  for (const auto& [node, row] : standing_) {
    open[std::string(Key().u64(node.value).view())] = standing_value(row.since, row.verdict);
  }
  TRY(check_small_table(journal_.standing_, "standing", open, number));
  TRY(check_times());
  TRY(check_incidents());
  TRY(check_words());
  TRY(check_lost());
  TRY(check_inodes());
  TRY(check_live_names());
  return check_counts();
}

// --- records ---

Status JournalCheck::check_records() {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.records_));
  TRY_ASSIGN(bool more, cursor.first());
  while (more && !full()) {
    const auto seq = parse_record_key(cursor.key());
    if (!seq) {
      found("table records: the key " + printable(cursor.key()) + " is no sequence number");
    } else {
      TRY(check_record(*seq, cursor.value()));
    }
    TRY_ASSIGN(more, cursor.next());
  }
  return {};
}

Status JournalCheck::check_record(Sequence seq, std::string_view bytes) {
  const uint64_t expected = last_.seq.value + 1;
  const auto decoded = decode_record(bytes);
  const bool hole = decoded.ok() && is_hole(*decoded) && decoded->prev.value == expected;
  const bool dense = seq.value == expected || hole;
  const bool linked = hole_.value == 0 || hole_ != last_.seq;  // else to a record that is lost
  if (!dense && seq.value > expected) {
    found("table records: " + at_seq(Sequence{expected}) + " to " +
          at_seq(Sequence{seq.value - 1}) + " are missing");
  } else if (!dense) {
    found("table records: there is a record " + at_seq(seq) + ", where the first is @1");
  }
  if (dense && linked) check_chain(seq, bytes);
  last_.seq = seq;
  // The chain goes on from what is stored, so that one damaged record is one finding and not all
  // that follow it.
  if (bytes.size() >= kRecordBytesMin)
    std::copy_n(chain_of(bytes).begin(), 16, last_.chain.begin());
  last_sound_ = decoded.ok();
  if (!decoded.ok()) {
    found("table records: " + at_seq(seq) + ": " + decoded.error().message);
    return {};
  }
  if (decoded->seq != seq) {
    found("table records: the record under " + at_seq(seq) + " says that it is " +
          at_seq(decoded->seq));
    return {};
  }
  TRY(check_order(*decoded));
  return check_rows_of(*decoded);
}

void JournalCheck::check_chain(Sequence seq, std::string_view bytes) {
  if (bytes.size() < kRecordBytesMin) return;  // decoding says so
  std::string unlinked(bytes);
  std::fill_n(unlinked.begin() + kRecordChainOffset, 16, '\0');
  const std::string_view before(reinterpret_cast<const char*>(last_.chain.data()),
                                last_.chain.size());
  const auto link = chain_link(journal_.key_, before, unlinked);
  if (std::memcmp(link.data(), chain_of(bytes).data(), link.size()) != 0) {
    found("table records: " + at_seq(seq) +
          " does not fit its chain: its bytes, or its predecessor's, are not what was written");
  }
}

Status JournalCheck::check_order(const Record& record) {
  if (record.seq.value > 1 && last_.time_ns != 0 && record.time_ns <= last_.time_ns) {
    found("table records: the logical time of " + at_seq(record.seq) +
          " is not after that of the record before it");
  }
  last_.time_ns = record.time_ns;
  last_.wall_ns = record.wall_ns;
  last_.boot = record.boot;
  node_highest_ = std::max({node_highest_, record.node.value, record.root.value});
  if (const std::string_view id = boot_id_of(record); !id.empty()) {
    boots_[std::string(Key().u32(record.boot).view())] = id;
  }
  if (record.boot != 0 && hole_.value == 0 &&
      !boots_.contains(std::string(Key().u32(record.boot).view()))) {
    found("table records: " + at_seq(record.seq) + " has boot number " +
          std::to_string(record.boot) + ", which no record before it registers");
  }
  if (record.flags & kFlagRootAdded) {
    roots_[std::string(Key().u64(added_root(record).value).view())] = root_value(record);
  }
  if (record.kind == RecordKind::kSnapshot) note_snapshot(record);
  note_standing(record);
  note_incidents(record);
  if (is_hole(record)) hole_ = record.seq;
  for (const ChunkId& id : lost_chunks(record))
    lost_[std::string(lost_key(id).view())] = record.seq;
  return {};
}

void JournalCheck::note_standing(const Record& record) {
  if (answers_by_sequence(record)) {
    std::erase_if(standing_, [&](const auto& row) { return row.second.since == record.prev; });
    return;
  }
  const auto row = standing_.find(record.node);
  const auto now = row == standing_.end() ? std::nullopt : std::optional(row->second);
  switch (standing_change(record, now)) {
    case StandingChange::kNone: return;
    case StandingChange::kClose: standing_.erase(row); return;
    case StandingChange::kOpen: standing_[record.node] = {record.node, record.seq, record.verdict};
  }
}

void JournalCheck::note_snapshot(const Record& record) {
  const std::string name(snapshot_name(record));
  if (record.flags & kFlagSnapshotRemoved) {
    snapshots_.erase(name);
  } else {
    snapshots_[name] = snapshot_value(record);
  }
}

Status JournalCheck::check_rows_of(const Record& record) {
  if (!is_version(record)) return {};
  ++versions_expected_;
  TRY_ASSIGN(const auto version,
             txn_.get(journal_.versions_, version_key(record.node, record.seq)));
  if (!version) {
    found("table versions: " + node_word(record.node) + " has no row for its record " +
          at_seq(record.seq));
  } else if (!version->empty()) {
    found("table versions: the row of " + node_word(record.node) + " at " + at_seq(record.seq) +
          " has a value where none belongs");
  }
  const bool stays = makes_name(record) && ended_parent(record) == record.parent &&
                     ended_name(record) == record.name;
  if (ends_name(record) && !stays) {
    TRY(expect_entry(ended_parent(record), ended_name(record), record.seq, {}));
  }
  if (!makes_name(record)) return {};
  return expect_entry(record.parent, record.name, record.seq, {record.node, record.type});
}

Status JournalCheck::expect_entry(NodeId parent, const std::string& name, Sequence seq,
                                  const EntryValue& value) {
  ++entries_expected_;
  const std::string where = "table entries: " + name_word(parent, name) + " at " + at_seq(seq);
  if (!is_safe_name(name)) {
    found("table records: the rename " + at_seq(seq) + " does not say where it was");
    return {};
  }
  TRY_ASSIGN(const auto bytes, txn_.get(journal_.entries_, entry_key(parent, name, seq)));
  if (!bytes) {
    found(where + " is missing");
    return {};
  }
  const auto row = parse_entry_value(*bytes);
  if (!row) {
    found(where + " has a damaged value");
  } else if (*row != value) {
    found(where + " leads to " + node_word(row->node) + " (" + file_type_name(row->type) +
          "), where the record says " + node_word(value.node) + " (" + file_type_name(value.type) +
          ")");
  }
  return {};
}

Status JournalCheck::check_head() {
  const auto head = journal_.head_row(txn_);
  if (!head.ok()) {
    found("table meta: " + head.error().message);
  } else if (last_sound_ && *head != last_) {
    found("table meta: 'head' says " + at_seq(head->seq) + " and does not match the last record, " +
          at_seq(last_.seq));
  } else if (head->seq != last_.seq) {
    found("table meta: 'head' says " + at_seq(head->seq) + ", the last record is " +
          at_seq(last_.seq));
  }
  const auto next = journal_.head(txn_);
  if (head.ok() && !next.ok()) {
    found("table meta: " + next.error().message);
  } else if (next.ok() && next->next_node != node_highest_ + 1) {
    found("table meta: 'next_node' is " + std::to_string(next->next_node) +
          ", the highest that a record names is " + node_word(NodeId{node_highest_}));
  }
  return {};
}

// --- tables that are a function of the records alone ---

Status JournalCheck::check_count(Dbi dbi, uint64_t expected, const char* table,
                                 Status (JournalCheck::*explain)()) {
  TRY_ASSIGN(const uint64_t count, txn_.entry_count(dbi));
  if (count == expected || full()) return {};
  found(std::string("table ") + table + ": it has " + std::to_string(count) +
        " rows, the records call for " + std::to_string(expected));
  return (this->*explain)();
}

Status JournalCheck::explain_entries() {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.entries_));
  TRY_ASSIGN(bool more, cursor.first());
  for (; more && !full();) {
    const auto key = parse_entry_key(cursor.key());
    if (!key) {
      found("table entries: the key " + printable(cursor.key()) + " is damaged");
    } else {
      const auto record = journal_.record(txn_, key->seq);
      const bool made = record.ok() && makes_name(*record) && record->parent == key->parent &&
                        record->name == key->name;
      const bool ended = record.ok() && ends_name(*record) &&
                         ended_parent(*record) == key->parent && ended_name(*record) == key->name;
      if (!made && !ended) {
        found("table entries: no record explains " + name_word(key->parent, key->name) + " at " +
              at_seq(key->seq));
      }
    }
    TRY_ASSIGN(more, cursor.next());
  }
  return {};
}

Status JournalCheck::explain_versions() {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.versions_));
  TRY_ASSIGN(bool more, cursor.first());
  for (; more && !full();) {
    const auto key = parse_version_key(cursor.key());
    if (!key) {
      found("table versions: the key " + printable(cursor.key()) + " is damaged");
    } else {
      const auto record = journal_.record(txn_, key->seq);
      if (!record.ok() || !is_version(*record) || record->node != key->node) {
        found("table versions: no record explains " + node_word(key->node) + " at " +
              at_seq(key->seq));
      }
    }
    TRY_ASSIGN(more, cursor.next());
  }
  return {};
}

Status JournalCheck::check_small_table(Dbi dbi, const char* table,
                                       const std::map<std::string, std::string>& rows,
                                       const std::function<std::string(std::string_view)>& word) {
  const std::string where = std::string("table ") + table + ": ";
  for (const auto& [key, value] : rows) {
    TRY_ASSIGN(const auto row, txn_.get(dbi, key));
    if (!row) {
      found(where + "the row of " + word(key) + " is missing");
    } else if (*row != value) {
      found(where + "the row of " + word(key) + " is not what its record says");
    }
  }
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, dbi));
  TRY_ASSIGN(bool more, cursor.first());
  for (; more && !full();) {
    if (!rows.contains(std::string(cursor.key()))) {
      found(where + "no record explains the row of " + word(cursor.key()));
    }
    TRY_ASSIGN(more, cursor.next());
  }
  return {};
}

// --- times ---

Status JournalCheck::check_times() {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.times_));
  TRY_ASSIGN(bool more, cursor.first());
  Batch before;
  uint64_t steps = 0;
  for (; more && !full();) {
    const auto batch = parse_batch(cursor.key(), cursor.value());
    if (!batch) {
      found("table times: the row " + printable(cursor.key()) + " is damaged");
    } else {
      const std::string where = "table times: the batch that ends at " + at_seq(batch->last);
      if (batch->first.value != before.last.value + 1 || batch->last < batch->first) {
        found(where + " begins at " + at_seq(batch->first) + ", the one before it ends at " +
              at_seq(before.last));
      }
      const auto time_ns = journal_.time_of(txn_, batch->last);
      const auto wall_ns = journal_.wall_of(txn_, batch->last);
      if (!time_ns.ok() || !wall_ns.ok()) {
        found(where + ": that record cannot be read");
      } else if (*time_ns != batch->time_ns || *wall_ns != batch->wall_ns) {
        found(where + " has other times than that record");
      }
      if (before.last.value != 0 && batch->wall_ns < before.wall_ns) {
        ++steps;
        TRY_ASSIGN(const auto row, txn_.get(journal_.meta_, step_key(batch->time_ns)));
        if (!row) found(where + " was written after the clock was set back; meta does not list it");
      }
      before = *batch;
    }
    TRY_ASSIGN(more, cursor.next());
  }
  TRY_ASSIGN(const auto batched, txn_.get(journal_.meta_, kMetaBatched));
  const uint64_t ended = batched && batched->size() == 8 ? get_le<uint64_t>(batched->data()) : 0;
  if (ended != before.last.value) {
    found("table times: its last batch ends at " + at_seq(before.last) + ", meta says " +
          at_seq(Sequence{ended}));
  }
  return check_steps(steps);
}

Status JournalCheck::check_steps(uint64_t steps) {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.meta_));
  TRY_ASSIGN(bool more, cursor.seek_at_or_after(kMetaStep));
  uint64_t listed = 0;
  while (more && cursor.key().starts_with(kMetaStep)) {
    ++listed;
    TRY_ASSIGN(more, cursor.next());
  }
  if (listed > steps) {
    found("table meta: it lists " + std::to_string(listed) +
          " times the clock was set back, the batches show " + std::to_string(steps));
  }
  return {};
}

}  // namespace holdfast
