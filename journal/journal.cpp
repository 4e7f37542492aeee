#include "journal/journal.h"

#include <cstdio>

#include "journal/internal.h"

namespace holdfast {

std::array<char, Journal::HeadRow::kBytes> Journal::HeadRow::encode() const {
  std::array<char, kBytes> bytes;
  set_le(bytes.data(), seq.value);
  set_le(bytes.data() + 8, time_ns);
  set_le(bytes.data() + 16, wall_ns);
  std::memcpy(bytes.data() + 24, chain.data(), chain.size());
  set_le(bytes.data() + 40, boot);
  return bytes;
}

std::optional<Journal::HeadRow> Journal::HeadRow::decode(std::string_view bytes) {
  if (bytes.size() != kBytes) return std::nullopt;
  HeadRow row;
  row.seq.value = get_le<uint64_t>(bytes.data());
  row.time_ns = get_le<int64_t>(bytes.data() + 8);
  row.wall_ns = get_le<int64_t>(bytes.data() + 16);
  std::memcpy(row.chain.data(), bytes.data() + 24, row.chain.size());
  row.boot = get_le<uint32_t>(bytes.data() + 40);
  return row;
}

namespace {
constexpr const char* kAdvice =
    "; stop the service and run holdfast rebuild, which makes the journal anew from the packs";
}

Error damaged_row(const char* table, const std::string& key) {
  return make_error(ErrorCode::kDamaged, std::string("the journal's table ") + table +
                                             " is damaged at " + key + kAdvice);
}

Error damaged_record(Sequence seq, const Error& why) {
  return make_error(ErrorCode::kDamaged,
                    "reading record " + at_seq(seq) + ": " + why.message + kAdvice);
}

std::string at_seq(Sequence seq) { return "@" + std::to_string(seq.value); }

std::string at_moment(Sequence seq) { return seq == kLatest ? "now" : "at " + at_seq(seq); }

std::string printable(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f && c != '\\') {
      text += c;
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", unsigned{byte});
      text += escape;
    }
  }
  return text;
}

Result<std::unique_ptr<Journal>> Journal::open(LmdbEnv& env, const ChunkKey& key) {
  std::unique_ptr<Journal> journal(new Journal);
  journal->key_ = key;
  const std::pair<const char*, Dbi*> tables[] = {
      {"records", &journal->records_},   {"entries", &journal->entries_},
      {"versions", &journal->versions_}, {"inodes", &journal->inodes_},
      {"times", &journal->times_},       {"snapshots", &journal->snapshots_},
      {"boots", &journal->boots_},       {"roots", &journal->roots_},
      {"standing", &journal->standing_}, {"meta", &journal->meta_},
  };
  // `meta` first: a journal of a newer format must not be given tables.
  TRY_ASSIGN(journal->meta_, env.table("meta"));
  std::optional<std::string> format;
  {
    TRY_ASSIGN(const auto txn, env.begin_read());
    TRY_ASSIGN(format, journal->meta(*txn, kMetaFormat));
  }
  if (format) {
    if (format->size() != 4) return damaged_row("meta", "'format'");
    const auto found = get_le<uint32_t>(format->data());
    if (found != kJournalFormat) {
      return make_error(ErrorCode::kUnsupported,
                        "the journal has format " + std::to_string(found) +
                            ", this program knows format " + std::to_string(kJournalFormat) +
                            "; use the holdfast version that wrote it, or a newer one");
    }
  }
  for (const auto& [name, handle] : tables) {
    TRY_ASSIGN(*handle, env.table(name));
  }
  if (!format) {
    TRY_ASSIGN(const auto reading, env.begin_read());
    TRY_ASSIGN(const uint64_t records, reading->entry_count(journal->records_));
    if (records > 0) return damaged_row("meta", "'format', which is missing");
  }
  if (!format) {
    std::string value;
    put_le(value, kJournalFormat);
    TRY_ASSIGN(const auto txn, env.begin_write());
    TRY(txn->put(journal->meta_, kMetaFormat, value));
    TRY(txn->commit());
  }
  return journal;
}

Result<Journal::HeadRow> Journal::head_row(const LmdbTxn& txn) const {
  TRY_ASSIGN(const auto value, txn.get(meta_, kMetaHead));
  if (!value) return HeadRow();
  const auto row = HeadRow::decode(*value);
  if (!row) return damaged_row("meta", "'head'");
  return *row;
}

Result<Head> Journal::head(const LmdbTxn& txn) const {
  TRY_ASSIGN(const HeadRow row, head_row(txn));
  TRY_ASSIGN(const auto next_node, txn.get(meta_, kMetaNextNode));
  Head head{row.seq, row.time_ns, row.wall_ns, row.chain, 1};
  if (next_node) {
    if (next_node->size() != 8) return damaged_row("meta", "'next_node'");
    head.next_node = get_le<uint64_t>(next_node->data());
  }
  return head;
}

Result<std::optional<std::string>> Journal::meta(const LmdbTxn& txn, std::string_view word) const {
  TRY_ASSIGN(const auto value, txn.get(meta_, word));
  return value ? std::optional<std::string>(*value) : std::nullopt;
}

Status Journal::put_meta(WriteTxn& txn, std::string_view word, std::string_view value) const {
  return txn.put(meta_, word, value);
}

Result<std::string> Journal::boot_id(const LmdbTxn& txn, uint32_t boot) const {
  TRY_ASSIGN(const auto value, txn.get(boots_, Key().u32(boot)));
  if (!value) {
    return make_error(ErrorCode::kNotFound,
                      "the journal knows no boot number " + std::to_string(boot));
  }
  return std::string(*value);
}

NodeId added_root(const Record& record) {
  return record.root.value != 0 ? record.root : record.node;
}

std::string root_value(const Record& record) {
  std::string value;
  put_le(value, static_cast<uint8_t>(record.name.size()));
  value += record.name;
  value += record.note;
  return value;
}

namespace {
// Cuts `text` at its first `mark`; what is behind it stays in `text`.
std::string_view cut(std::string_view& text, char mark) {
  const size_t at = text.find(mark);
  const std::string_view piece = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return piece;
}
}  // namespace

std::string root_note(const std::string& path, const std::vector<std::string>& excludes) {
  std::string note = path;
  for (const std::string& pattern : excludes) note += '\0' + pattern;
  return note;
}

Result<std::vector<Root>> Journal::roots(const LmdbTxn& txn) const {
  std::vector<Root> roots;
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, roots_));
  TRY_ASSIGN(bool found, cursor.first());
  while (found) {
    ByteReader in(cursor.value());
    const std::string name(in.bytes(in.le<uint8_t>()));
    if (in.failed() || cursor.key().size() != 8) return damaged_row("roots", "some key");
    std::string_view rest = in.bytes(in.left());
    Root root{NodeId{get_be64(cursor.key().data())}, name, std::string(cut(rest, '\0')), {}};
    while (!rest.empty()) root.excludes.emplace_back(cut(rest, '\0'));
    roots.push_back(std::move(root));
    TRY_ASSIGN(found, cursor.next());
  }
  return roots;
}

std::string_view snapshot_name(const Record& record) {
  const std::string_view note = record.note;
  return note.substr(0, note.find('\0'));
}

std::string snapshot_value(const Record& record) {
  const size_t name_size = snapshot_name(record).size();
  std::string value;
  put_le(value, record.prev.value);
  put_le(value, record.time_ns);
  put_le(value, record.seq.value);
  if (name_size < record.note.size()) value.append(record.note, name_size + 1);
  return value;
}

std::optional<SnapshotRow> parse_snapshot(std::string_view value) {
  if (value.size() < 24) return std::nullopt;
  return SnapshotRow{Sequence{get_le<uint64_t>(value.data())}, get_le<int64_t>(value.data() + 8),
                     Sequence{get_le<uint64_t>(value.data() + 16)}, value.substr(24)};
}

namespace {

std::optional<Snapshot> make_snapshot(std::string_view name, std::string_view value) {
  const auto row = parse_snapshot(value);
  if (!row) return std::nullopt;
  Snapshot snapshot{std::string(name), row->pinned, row->time_ns, {}, {}};
  std::string_view rest = row->rest;
  snapshot.message = cut(rest, '\0');
  while (!rest.empty()) {
    std::string_view tag = cut(rest, '\0');
    const std::string_view word = cut(tag, '=');
    snapshot.tags.emplace_back(word, tag);
  }
  return snapshot;
}

}  // namespace

Result<std::vector<Snapshot>> Journal::snapshots(const LmdbTxn& txn) const {
  std::vector<Snapshot> snapshots;
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, snapshots_));
  TRY_ASSIGN(bool found, cursor.first());
  while (found) {
    auto snapshot = make_snapshot(cursor.key(), cursor.value());
    if (!snapshot) return damaged_row("snapshots", printable(cursor.key()));
    snapshots.push_back(std::move(*snapshot));
    TRY_ASSIGN(found, cursor.next());
  }
  return snapshots;
}

Result<std::optional<Snapshot>> Journal::snapshot(const LmdbTxn& txn, std::string_view name) const {
  if (name.empty() || name.size() > 255) return std::optional<Snapshot>();
  TRY_ASSIGN(const auto value, txn.get(snapshots_, name));
  if (!value) return std::optional<Snapshot>();
  auto snapshot = make_snapshot(name, *value);
  if (!snapshot) return damaged_row("snapshots", printable(name));
  return snapshot;
}

}  // namespace holdfast
