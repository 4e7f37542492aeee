// The part of the check for the words of `meta` that journal_check.cpp does not compare on its way.
#include <algorithm>

#include "journal/journal_check.h"

namespace holdfast {

void JournalCheck::note_incidents(const Record& record) {
  if (is_set_back(record)) incidents_.set_back = record.seq;
  if (is_start(record) && after_boot_ && !after_stop_) incidents_.unclean_boot = record.seq;
  after_boot_ = !boot_id_of(record).empty();
  if (!after_boot_) after_stop_ = is_stop(record);
}

Status JournalCheck::check_incidents() {
  const auto stored = journal_.incidents(txn_);
  if (!stored.ok()) {
    found("table meta: " + stored.error().message);
    return {};
  }
  const auto compare = [&](std::string_view word, Sequence is, Sequence should_be) {
    if (is == should_be) return;
    found("table meta: '" + std::string(word) + "' is " + at_seq(is) + ", the records say " +
          at_seq(should_be));
  };
  compare(kMetaSetBack, stored->set_back, incidents_.set_back);
  compare(kMetaUncleanBoot, stored->unclean_boot, incidents_.unclean_boot);
  return {};
}

Status JournalCheck::check_counts() {
  std::map<NodeId, RootCounts> stored;
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.meta_));
  TRY_ASSIGN(bool more, cursor.seek_at_or_after(kMetaCounts));
  while (more && cursor.key().starts_with(kMetaCounts)) {
    const auto counts = parse_counts(cursor.value());
    if (!counts || cursor.key().size() != kMetaCounts.size() + 8) {
      found("table meta: the row " + printable(cursor.key()) + " is damaged");
    } else {
      stored[NodeId{get_be64(cursor.key().data() + kMetaCounts.size())}] = *counts;
    }
    TRY_ASSIGN(more, cursor.next());
  }
  const auto words = [](const RootCounts& counts) {
    return std::to_string(counts.files) + " files of " + std::to_string(counts.bytes) + " bytes";
  };
  for (const auto& [root, counts] : counts_) stored.try_emplace(root, RootCounts{});
  for (const auto& [root, counts] : stored) {
    const auto now = counts_.find(root);
    const RootCounts is = now == counts_.end() ? RootCounts{} : now->second;
    if (is == counts) continue;
    found("table meta: root " + std::to_string(root.value) + " has " + words(counts) +
          ", the entries have " + words(is));
  }
  return {};
}

// A word that nobody knows was another one once.
Status JournalCheck::check_words() {
  constexpr std::string_view kWords[] = {kMetaFormat,  kMetaHead,    kMetaNextNode,
                                         kMetaBatched, kMetaSetBack, kMetaUncleanBoot,
                                         kMetaHole};
  constexpr std::string_view kFormer[] = {"counts:", "excludes:"};  // of versions before
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.meta_));
  TRY_ASSIGN(bool more, cursor.first());
  while (more && !full()) {
    const std::string_view key = cursor.key();
    const bool known = std::find(std::begin(kWords), std::end(kWords), key) != std::end(kWords) ||
                       (key.starts_with(kMetaStep) && key.size() == kMetaStep.size() + 8) ||
                       key.starts_with(kMetaCounts) || key.starts_with(kMetaLost) ||
                       key.starts_with(kFormer[0]) || key.starts_with(kFormer[1]);
    if (!known) found("table meta: nobody knows the word '" + printable(key) + "'");
    if (key.starts_with(kMetaStep) && !cursor.value().empty()) {
      found("table meta: the row " + printable(key) + " has a value where none belongs");
    }
    TRY_ASSIGN(more, cursor.next());
  }
  return {};
}

Status JournalCheck::check_lost() {
  std::map<std::string, std::string> expected;
  const auto bytes_of = [](Sequence seq) {
    std::string value;
    put_le(value, seq.value);
    return value;
  };
  for (const auto& [key, seq] : lost_) expected[key] = bytes_of(seq);
  if (hole_.value != 0) expected[std::string(kMetaHole)] = bytes_of(hole_);
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, journal_.meta_));
  TRY_ASSIGN(bool more, cursor.first());
  while (more && !full()) {
    const std::string_view key = cursor.key();
    if (key == kMetaHole || key.starts_with(kMetaLost)) {
      const auto row = expected.find(std::string(key));
      if (row == expected.end() || row->second != cursor.value()) {
        found("table meta: no record explains the row " + printable(key));
      }
      if (row != expected.end()) expected.erase(row);
    }
    TRY_ASSIGN(more, cursor.next());
  }
  for (const auto& [key, value] : expected) {
    found("table meta: the row " + printable(key) + " is missing");
  }
  return {};
}

Status Journal::check_end(const LmdbTxn& txn) const {
  TRY_ASSIGN(const HeadRow head, head_row(txn));
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, records_));
  TRY_ASSIGN(const bool found, cursor.last());
  const auto wrong = [](const std::string& why) { return make_error(ErrorCode::kDamaged, why); };
  if (!found && head.seq.value == 0) return {};
  if (!found || cursor.key() != record_key(head.seq).view() ||
      cursor.value().size() < kRecordBytesMin) {
    return wrong("its last record is not " + at_seq(head.seq) + ", as it says");
  }
  std::string bytes(cursor.value());
  std::array<uint8_t, 16> before{}, chain{};
  std::copy_n(bytes.begin() + kRecordChainOffset, 16, chain.begin());
  TRY_ASSIGN(const bool follows, cursor.previous());
  if (follows) {
    const std::string_view earlier = cursor.value();
    if (earlier.size() < kRecordBytesMin) {
      return wrong("the record before its last is too short");
    }
    std::copy_n(earlier.begin() + kRecordChainOffset, 16, before.begin());
    const auto decoded = decode_record(earlier);
    if (decoded.ok() && is_hole(*decoded)) return {};  // its link was to a record that is lost
  }
  std::fill_n(bytes.begin() + kRecordChainOffset, 16, '\0');
  const std::string_view link(reinterpret_cast<const char*>(before.data()), before.size());
  if (chain_link(key_, link, bytes) != chain || chain != head.chain) {
    return wrong("the chain of its last record, " + at_seq(head.seq) + ", does not fit");
  }
  return {};
}

}  // namespace holdfast
