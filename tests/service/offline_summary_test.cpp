#include "service/offline_summary.h"

#include <catch2/catch.hpp>

namespace holdfast {
namespace {

constexpr int64_t kMinute = 60'000'000'000;

Record found(RecordKind kind, uint32_t flags = kFlagOffline, FileType type = FileType::kFile,
             Verdict verdict = Verdict::kNone) {
  Record record;
  record.kind = kind;
  record.flags = flags;
  record.type = type;
  record.verdict = verdict;
  return record;
}

OfflineReport off(int64_t ns, bool at_most = false) {
  OfflineReport report;
  report.off_ns = ns;
  report.at_most = at_most;
  return report;
}

}  // namespace

TEST_CASE("what is found after a start is counted by outcome", "[offline]") {
  OfflineSummary summary;
  summary.begin(off(843 * kMinute, true));
  for (int i = 0; i < 12; ++i) {
    summary.appended(
        found(RecordKind::kModify, kFlagOffline, FileType::kFile, Verdict::kModifiedOffline));
  }
  summary.appended(found(RecordKind::kCreate));
  summary.appended(found(RecordKind::kLink));
  summary.appended(found(RecordKind::kCreate, kFlagOffline | kFlagReplaced));
  for (int i = 0; i < 3; ++i) summary.appended(found(RecordKind::kDelete));
  summary.appended(found(RecordKind::kRename));
  summary.appended(found(RecordKind::kAttrib));
  summary.appended(found(RecordKind::kAttrib, kFlagOffline, FileType::kDir));
  summary.appended(found(RecordKind::kModify, kFlagOffline, FileType::kFile, Verdict::kCorrupt));
  summary.appended(found(RecordKind::kModify, 0));  // an event told of it
  summary.appended(found(RecordKind::kService, 0));
  const auto note = summary.finish();
  REQUIRE(note);
  REQUIRE(*note ==
          "while the service was off, at most 14 h 3 min: 13 changed, 2 new, 3 gone, 1 moved, "
          "1 with other attributes, 1 corrupt");
  REQUIRE_FALSE(summary.report()->finished);
  REQUIRE(summary.committed());
  REQUIRE(summary.report()->finished);
  REQUIRE(words_for_offline(*summary.report()) == *note);
  // It is over: what is found later is not of that time.
  summary.appended(found(RecordKind::kModify));
  REQUIRE_FALSE(summary.committed());
  REQUIRE_FALSE(summary.finish());
  REQUIRE(summary.report()->counts.changed == 13);
}

TEST_CASE("what a failed batch found counts once", "[offline]") {
  OfflineSummary summary;
  summary.begin(off(kMinute));
  summary.appended(found(RecordKind::kModify));
  REQUIRE_FALSE(summary.committed());
  summary.appended(found(RecordKind::kDelete));
  REQUIRE(summary.finish());
  summary.undone();
  summary.appended(found(RecordKind::kDelete));
  REQUIRE(summary.finish() == "while the service was off, 1 min 0 s: 1 changed, 1 gone");
  REQUIRE(summary.committed());
  REQUIRE(summary.report()->counts.deleted == 1);
}

TEST_CASE("no change and an unknown time have words", "[offline]") {
  OfflineSummary summary;
  REQUIRE_FALSE(summary.finish());
  summary.begin(off(kMinute));
  REQUIRE(summary.finish() == "while the service was off, 1 min 0 s: nothing changed");
  OfflineReport report;
  REQUIRE(words_for_offline(report) ==
          "while the service was off, for an unknown time (the clock went back): nothing changed");
}

}  // namespace holdfast
