// Words of `meta` that follow from the records: what each root holds, and the incidents that
// verdicts ask for.
#include <map>

#include "journal/internal.h"

namespace holdfast {

bool is_start(const Record& record) {
  return record.kind == RecordKind::kService && !record.is_node_record() &&
         record.note.starts_with("started ");
}

bool is_stop(const Record& record) {
  return record.kind == RecordKind::kService && !record.is_node_record() &&
         record.note == "stopped";
}

bool is_set_back(const Record& record) {
  return record.kind == RecordKind::kClockStep && record.note.starts_with("-");
}

std::string counts_value(const RootCounts& counts) {
  std::string value;
  put_le(value, counts.files);
  put_le(value, counts.bytes);
  return value;
}

std::optional<RootCounts> parse_counts(std::string_view value) {
  if (value.size() != 16) return std::nullopt;
  return RootCounts{get_le<int64_t>(value.data()), get_le<int64_t>(value.data() + 8)};
}

namespace {
Result<Sequence> read_sequence(const LmdbTxn& txn, Dbi meta, std::string_view word) {
  TRY_ASSIGN(const auto value, txn.get(meta, word));
  if (!value) return Sequence{};
  if (value->size() != 8) return damaged_row("meta", "'" + std::string(word) + "'");
  return Sequence{get_le<uint64_t>(value->data())};
}

Status write_sequence(WriteTxn& txn, Dbi meta, std::string_view word, Sequence seq) {
  char value[8];
  set_le(value, seq.value);
  return txn.put(meta, word, {value, sizeof value});
}
}  // namespace

Result<Incidents> Journal::incidents(const LmdbTxn& txn) const {
  Incidents incidents;
  TRY_ASSIGN(incidents.set_back, read_sequence(txn, meta_, kMetaSetBack));
  TRY_ASSIGN(incidents.unclean_boot, read_sequence(txn, meta_, kMetaUncleanBoot));
  return incidents;
}

// A service that starts in another boot registers that first. Where the record before that is not
// the stop of the service before, the machine went down under it.
Status Journal::apply_incidents(WriteTxn& txn, const Record& record) const {
  if (is_set_back(record)) return write_sequence(txn, meta_, kMetaSetBack, record.seq);
  if (!is_start(record) || record.seq.value < 3) return {};
  const auto boot = this->record(txn, Sequence{record.seq.value - 1});
  if (!boot.ok() || boot_id_of(*boot).empty()) return {};
  TRY_ASSIGN(const Record last, this->record(txn, Sequence{record.seq.value - 2}));
  if (is_stop(last)) return {};
  return write_sequence(txn, meta_, kMetaUncleanBoot, record.seq);
}

std::vector<ChunkId> lost_chunks(const Record& record) {
  std::vector<ChunkId> chunks;
  if (record.kind != RecordKind::kGap || (record.flags & kFlagLost) == 0) return chunks;
  const size_t words = record.note.find('\0');
  if (words == std::string::npos) return chunks;
  std::string_view rest = std::string_view(record.note).substr(words + 1);
  while (rest.size() >= sizeof(ChunkId::bytes)) {
    std::memcpy(chunks.emplace_back().bytes.data(), rest.data(), sizeof(ChunkId::bytes));
    rest.remove_prefix(sizeof(ChunkId::bytes));
  }
  return chunks;
}

Status Journal::apply_lost(WriteTxn& txn, const Record& record) const {
  if (is_hole(record)) TRY(write_sequence(txn, meta_, kMetaHole, record.seq));
  for (const ChunkId& id : lost_chunks(record)) {
    TRY(write_sequence(txn, meta_, lost_key(id), record.seq));
  }
  return {};
}

Result<Sequence> Journal::last_hole(const LmdbTxn& txn) const {
  return read_sequence(txn, meta_, kMetaHole);
}

Result<std::optional<Sequence>> Journal::lost_since(const LmdbTxn& txn, const ChunkId& id) const {
  TRY_ASSIGN(const Sequence seq, read_sequence(txn, meta_, lost_key(id)));
  return seq.value == 0 ? std::optional<Sequence>() : std::optional(seq);
}

Result<std::string> Journal::encoded(const LmdbTxn& txn, Sequence seq) const {
  TRY_ASSIGN(const std::string_view bytes, record_bytes(txn, seq));
  return std::string(bytes);
}

Result<RootCounts> Journal::counts(const LmdbTxn& txn, NodeId root) const {
  TRY_ASSIGN(const auto value, txn.get(meta_, counts_key(root)));
  if (!value) return RootCounts{};
  const auto counts = parse_counts(*value);
  if (!counts) return damaged_row("meta", "'counts' of root " + std::to_string(root.value));
  return *counts;
}

Status Journal::recount(WriteTxn& txn) const {
  TRY_ASSIGN(Cursor words, Cursor::open(txn, meta_));
  TRY_ASSIGN(const bool counted, words.seek_at_or_after(kMetaCounts));
  if (counted && words.key().starts_with(kMetaCounts)) return {};
  std::map<NodeId, RootCounts> found;
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, entries_));
  TRY_ASSIGN(bool more, cursor.first());
  while (more) {
    const auto key = parse_entry_key(cursor.key());
    const auto value = parse_entry_value(cursor.value());
    if (!key || !value) return damaged_row("entries", printable(cursor.key()));
    const Key prefix = name_prefix(key->parent, key->name);
    TRY_ASSIGN(more, cursor.next());
    const bool newest = !more || !cursor.key().starts_with(prefix.view());
    if (!newest || value->node.value == 0 || value->type == FileType::kDir) continue;
    TRY_ASSIGN(const auto seq, version_seq(txn, value->node, kLatest));
    if (!seq) return damaged_row("versions", "node " + std::to_string(value->node.value));
    TRY_ASSIGN(const Record version, record(txn, *seq));
    RootCounts& counts = found[version.root];
    counts.files += 1;
    counts.bytes += counted_bytes(version);
  }
  for (const auto& [root, counts] : found) {
    TRY(txn.put(meta_, counts_key(root), counts_value(counts)));
  }
  return {};
}

}  // namespace holdfast
