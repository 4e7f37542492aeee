// Writing: records in, tables updated. append() makes the next record, replay() takes one from a
// pack; both end in apply(), so that the tables are the same function of the records either way.
#include <algorithm>

#include "journal/internal.h"

namespace holdfast {

namespace {

std::string_view bytes_of(const std::array<uint8_t, 16>& chain) {
  return {reinterpret_cast<const char*>(chain.data()), chain.size()};
}

Error refused(const Record& record, const std::string& why) {
  return make_error(ErrorCode::kUsage, std::string("cannot journal a ") +
                                           record_kind_name(record.kind) + " record: " + why);
}

// What must hold of a record whatever the tables say.
Status check_payload(const Record& record) {
  if (record.kind == RecordKind::kSnapshot) {
    const size_t size = snapshot_name(record).size();
    if (size == 0 || size > 255) return refused(record, "a snapshot's name has 1 to 255 bytes");
    if (record.prev.value >= record.seq.value) {
      return refused(record, "it pins " + at_seq(record.prev) + ", which is not journaled yet");
    }
  }
  if (record.flags & kFlagRootAdded) {
    if (added_root(record).value == 0) return refused(record, "the added root has no node");
    if (record.name.empty()) return refused(record, "an added root needs a name");
  }
  return {};
}

}  // namespace

Status Journal::set_chain(const ChunkKey& key, const std::array<uint8_t, 16>& before,
                          Record& record, std::string& bytes) {
  record.chain = {};
  TRY_ASSIGN(bytes, encode_record(record));
  record.chain = chain_link(key, bytes_of(before), bytes);
  std::memcpy(bytes.data() + kRecordChainOffset, record.chain.data(), record.chain.size());
  return {};
}

Result<std::string> Journal::append(WriteTxn& txn, Record& record, const Clock& clock) const {
  TRY_ASSIGN(const HeadRow head, head_row(txn));
  if (head.seq >= kSequenceMax) {
    return make_error(ErrorCode::kUnsupported,
                      "the journal has come to its end: " + at_seq(head.seq) +
                          " is the last sequence that there is. What it holds can be read and "
                          "restored; watch with a new --state from here on");
  }
  record.seq.value = head.seq.value + 1;
  record.wall_ns = clock.wall_ns();
  record.boottime_ns = clock.boottime_ns();
  record.time_ns = record.wall_ns;
  if (head.seq.value != 0) record.time_ns = std::max(record.wall_ns, head.time_ns + 1);
  record.boot = head.boot;
  if (const std::string_view id = boot_id_of(record); !id.empty()) {
    TRY_ASSIGN(record.boot, boot_number(txn, id));
  }
  const auto by_name = [](const Xattr& a, const Xattr& b) { return a.name < b.name; };
  if (!std::is_sorted(record.xattrs.begin(), record.xattrs.end(), by_name)) {
    std::sort(record.xattrs.begin(), record.xattrs.end(), by_name);
  }
  std::string bytes;
  TRY(set_chain(key_, head.chain, record, bytes));
  TRY(apply(txn, record, bytes));
  return bytes;
}

Status Journal::replay(WriteTxn& txn, std::string_view record_bytes) const {
  TRY_ASSIGN(const HeadRow head, head_row(txn));
  auto decoded = decode_record(record_bytes);
  if (!decoded.ok()) {
    return decoded.error().in("replaying the record after " + at_seq(head.seq));
  }
  const Record& record = *decoded;
  const Sequence expected{head.seq.value + 1};
  const bool follows =
      is_hole(record) ? record.prev == expected && record.seq >= expected : record.seq == expected;
  if (!follows) {
    return make_error(ErrorCode::kDamaged, "replaying the journal: record " + at_seq(record.seq) +
                                               " cannot follow " + at_seq(head.seq));
  }
  TRY(check_link(txn, head, record, record_bytes));
  if (head.seq.value != 0 && record.time_ns <= head.time_ns) {
    return make_error(ErrorCode::kDamaged, "replaying the journal: the time of record " +
                                               at_seq(record.seq) +
                                               " is not after its predecessor's");
  }
  return apply(txn, record, record_bytes);
}

Status Journal::check_link(const LmdbTxn& txn, const HeadRow& head, const Record& record,
                           std::string_view bytes) const {
  TRY_ASSIGN(const Sequence hole, last_hole(txn));
  if (hole.value != 0 && hole == head.seq) return {};  // the link was to a record that is lost
  std::string unlinked(bytes);
  std::fill_n(unlinked.begin() + kRecordChainOffset, record.chain.size(), '\0');
  if (chain_link(key_, bytes_of(head.chain), unlinked) == record.chain) return {};
  return make_error(ErrorCode::kDamaged,
                    "replaying the journal: record " + at_seq(record.seq) +
                        " is damaged, or belongs to another repository: its chain does not fit");
}

Result<std::string> Journal::hole(const ChunkKey& key, const Head& before, Sequence last) {
  Record record;
  record.kind = RecordKind::kGap;
  record.flags = kFlagLost;
  record.seq = last;
  record.prev = Sequence{before.seq.value + 1};
  record.time_ns = before.time_ns + 1;
  record.wall_ns = record.time_ns;
  record.note = "the records " + at_seq(record.prev) + " to " + at_seq(last) +
                " are lost: the pack that held them is damaged";
  std::string bytes;
  TRY(set_chain(key, before.chain, record, bytes));
  return bytes;
}

Status Journal::apply(WriteTxn& txn, const Record& record, std::string_view bytes) const {
  TRY(check_payload(record));
  NodeApply node(*this, txn, record);
  if (is_version(record)) TRY(node.prepare());
  if (record.kind == RecordKind::kSnapshot) TRY(apply_snapshot(txn, record));

  TRY(txn.append(records_, record_key(record.seq), bytes));
  if (is_version(record)) TRY(node.write());
  if (record.flags & kFlagRootAdded) TRY(apply_root(txn, record));
  if (const std::string_view id = boot_id_of(record); !id.empty()) {
    TRY(txn.put(boots_, Key().u32(record.boot), id));
  }
  TRY(apply_standing(txn, record));
  TRY(apply_incidents(txn, record));
  if (record.kind == RecordKind::kGap && (record.flags & kFlagLost) != 0) {
    TRY(apply_lost(txn, record));
  }
  TRY(raise_next_node(txn, record));
  const HeadRow head{record.seq, record.time_ns, record.wall_ns, record.chain, record.boot};
  return txn.put(meta_, kMetaHead, view_of(head.encode()));
}

// Runs before the record is written: it refuses, or its one write is the last thing that can fail
// without the transaction being lost anyway.
Status Journal::apply_snapshot(WriteTxn& txn, const Record& record) const {
  const std::string_view name = snapshot_name(record);
  TRY_ASSIGN(const auto existing, txn.get(snapshots_, name));
  TRY_ASSIGN(const Sequence hole, last_hole(txn));
  if (record.flags & kFlagSnapshotRemoved) {
    if (!existing && hole.value == 0) {
      return make_error(ErrorCode::kNotFound, "there is no snapshot '" + printable(name) + "'");
    }
    return txn.remove(snapshots_, name);
  }
  if (existing && hole.value == 0) {
    return make_error(ErrorCode::kExists, "there is a snapshot '" + printable(name) +
                                              "' already; remove it or choose another name");
  }
  return txn.put(snapshots_, name, snapshot_value(record));
}

Status Journal::apply_root(WriteTxn& txn, const Record& record) const {
  return txn.put(roots_, Key().u64(added_root(record).value), root_value(record));
}

Status Journal::raise_next_node(WriteTxn& txn, const Record& record) const {
  const uint64_t highest = std::max(record.node.value, record.root.value);
  if (highest == 0) return {};
  TRY_ASSIGN(const auto value, txn.get(meta_, kMetaNextNode));
  if (value && value->size() != 8) return damaged_row("meta", "'next_node'");
  if (value && get_le<uint64_t>(value->data()) > highest) return {};
  char next[8];
  set_le(next, highest + 1);
  return txn.put(meta_, kMetaNextNode, {next, sizeof next});
}

Status Journal::end_batch(WriteTxn& txn, Sequence first, Sequence last) const {
  if (first.value == 0 || last < first) {
    return make_error(ErrorCode::kUsage,
                      "a journal batch cannot span " + at_seq(first) + ".." + at_seq(last));
  }
  TRY_ASSIGN(const int64_t time_ns, time_of(txn, last));
  TRY_ASSIGN(const int64_t wall_ns, wall_of(txn, last));
  std::optional<Batch> before;
  {
    TRY_ASSIGN(Cursor cursor, Cursor::open(txn, times_));
    TRY_ASSIGN(const bool found, cursor.last());
    if (found) before = parse_batch(cursor.key(), cursor.value());
    if (found && !before) return damaged_row("times", "its end");
  }
  if (before && first <= before->last) {
    return make_error(ErrorCode::kUsage, "a journal batch cannot begin at " + at_seq(first) + ": " +
                                             at_seq(before->last) + " is in a batch already");
  }
  // Records between two batches belong to the later one: the table has no holes.
  const Sequence begin{before ? before->last.value + 1 : 1};
  const Batch batch{time_ns, begin, last, wall_ns};
  TRY(txn.put(times_, time_key(time_ns), view_of(batch_value(batch))));
  if (before && wall_ns < before->wall_ns) TRY(txn.put(meta_, step_key(time_ns), {}));
  char batched[8];
  set_le(batched, last.value);
  return txn.put(meta_, kMetaBatched, {batched, sizeof batched});
}

Result<NodeId> Journal::new_node(WriteTxn& txn) const {
  TRY_ASSIGN(const auto value, txn.get(meta_, kMetaNextNode));
  if (value && value->size() != 8) return damaged_row("meta", "'next_node'");
  const NodeId node{value ? get_le<uint64_t>(value->data()) : 1};
  char next[8];
  set_le(next, node.value + 1);
  TRY(txn.put(meta_, kMetaNextNode, {next, sizeof next}));
  return node;
}

// The number a boot id has, or would be given. Looked for from the newest: it is mostly there.
Result<uint32_t> Journal::boot_number(const LmdbTxn& txn, std::string_view boot_id) const {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, boots_));
  TRY_ASSIGN(bool found, cursor.last());
  uint32_t next = 1;
  if (found && cursor.key().size() == 4) next = get_be32(cursor.key().data()) + 1;
  while (found) {
    if (cursor.key().size() != 4) return damaged_row("boots", "some key");
    if (cursor.value() == boot_id) return get_be32(cursor.key().data());
    TRY_ASSIGN(found, cursor.previous());
  }
  return next;
}

Result<uint32_t> Journal::boot(WriteTxn& txn, const Clock& clock, std::string& appended) const {
  appended.clear();
  const std::string id = clock.boot_id();
  TRY_ASSIGN(const HeadRow head, head_row(txn));
  if (head.boot != 0) {
    TRY_ASSIGN(const auto current, txn.get(boots_, Key().u32(head.boot)));
    if (current && *current == id) return head.boot;
  }
  Record record;
  record.kind = RecordKind::kService;
  record.note = "boot " + id;
  if (boot_id_of(record) != id || id.empty()) {
    return make_error(ErrorCode::kUsage, "the boot id '" + printable(id) + "' is not usable");
  }
  TRY_ASSIGN(appended, append(txn, record, clock));
  return record.boot;
}

}  // namespace holdfast
