// The table `standing`: verdicts that nobody has answered yet. It is a function of the records like
// the others; the rule is one function, for applying and for checking.
#include "journal/internal.h"
#include "journal/verdict.h"

namespace holdfast {

StandingChange standing_change(const Record& record, const std::optional<Standing>& now) {
  if (!is_version(record)) return StandingChange::kNone;
  switch (record.kind) {
    case RecordKind::kAccept:
    case RecordKind::kHeal:
    case RecordKind::kRestore: return now ? StandingChange::kClose : StandingChange::kNone;
    default: break;
  }
  if (stands(record.verdict)) {
    // The first one stays, unless what is found now is graver. A finding takes over from one that
    // is as grave: it is of a later version, which is the one to heal.
    const bool graver = now && is_corruption(record.verdict) && !is_corruption(now->verdict);
    const bool milder = now && !is_corruption(record.verdict) && is_corruption(now->verdict);
    const bool later = record.kind == RecordKind::kVerify && !milder;
    return !now || graver || later ? StandingChange::kOpen : StandingChange::kNone;
  }
  const bool sound = record.kind == RecordKind::kVerify && record.verdict == Verdict::kOk;
  return now && sound && ends_by_itself(now->verdict) ? StandingChange::kClose
                                                      : StandingChange::kNone;
}

bool answers_by_sequence(const Record& record) {
  const bool answer = record.kind == RecordKind::kAccept || record.kind == RecordKind::kRestore;
  return answer && !record.is_node_record() && record.prev.value != 0;
}

std::string standing_value(Sequence since, Verdict verdict) {
  std::string value;
  put_le(value, since.value);
  put_le(value, static_cast<uint8_t>(verdict));
  return value;
}

namespace {
std::optional<Standing> parse_standing(std::string_view key, std::string_view value) {
  if (key.size() != 8 || value.size() != 9) return std::nullopt;
  const auto verdict = static_cast<Verdict>(value[8]);
  if (!stands(verdict)) return std::nullopt;
  return Standing{NodeId{get_be64(key.data())}, Sequence{get_le<uint64_t>(value.data())}, verdict};
}
}  // namespace

Result<std::vector<Standing>> Journal::standing(const LmdbTxn& txn) const {
  std::vector<Standing> all;
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, standing_));
  TRY_ASSIGN(bool more, cursor.first());
  while (more) {
    const auto row = parse_standing(cursor.key(), cursor.value());
    if (!row) return damaged_row("standing", printable(cursor.key()));
    all.push_back(*row);
    TRY_ASSIGN(more, cursor.next());
  }
  return all;
}

Result<std::optional<Standing>> Journal::standing_of(const LmdbTxn& txn, NodeId node) const {
  const Key key = Key().u64(node.value);
  TRY_ASSIGN(const auto value, txn.get(standing_, key));
  if (!value) return std::optional<Standing>();
  const auto row = parse_standing(key, *value);
  if (!row) return damaged_row("standing", "node " + std::to_string(node.value));
  return row;
}

Status Journal::apply_standing(WriteTxn& txn, const Record& record) const {
  if (answers_by_sequence(record)) {
    TRY_ASSIGN(const auto all, standing(txn));
    for (const Standing& row : all) {
      if (row.since == record.prev) TRY(txn.remove(standing_, Key().u64(row.node.value)));
    }
    return {};
  }
  const bool matters = stands(record.verdict) || record.kind == RecordKind::kAccept ||
                       record.kind == RecordKind::kHeal || record.kind == RecordKind::kRestore ||
                       record.kind == RecordKind::kVerify;
  if (!matters || !is_version(record)) return {};
  TRY_ASSIGN(const auto now, standing_of(txn, record.node));
  const Key key = Key().u64(record.node.value);
  switch (standing_change(record, now)) {
    case StandingChange::kNone: return {};
    case StandingChange::kClose: return txn.remove(standing_, key);
    case StandingChange::kOpen: break;
  }
  return txn.put(standing_, key, standing_value(record.seq, record.verdict));
}

}  // namespace holdfast
