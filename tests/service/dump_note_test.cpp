// What a record says of a dump, when one is good, and when one is due.
#include "service/dump_note.h"

#include <catch2/catch.hpp>

namespace holdfast {

TEST_CASE("a dump's note is read back as it was written", "[dump]") {
  DumpNote note;
  note.took_ns = 2'134'000'000;
  REQUIRE(dump_note_text(note) == "ok, exit 0, 2.134 s");
  REQUIRE(parse_dump_note("ok, exit 0, 2.134 s") == note);
  note = {DumpOutcome::kFailed, 0, 15, 3'600'001'000'000, "it did not end: it said, why"};
  REQUIRE(dump_note_text(note) == "failed, signal 15, 3600.001 s: it did not end: it said, why");
  REQUIRE(parse_dump_note(dump_note_text(note)) == note);
  note = {DumpOutcome::kShrunk, 0, 0, 0, "1 B where the last good one has 2 B"};
  REQUIRE(parse_dump_note(dump_note_text(note)) == note);
  for (const char* other : {"", "ok", "ok, exit", "fine, exit 0, 1.000 s", "ok, exit 0, 1 s",
                            "ok, exit 0, -1.000 s", "before the restore", "ok, exit x, 1.000 s"}) {
    INFO(other);
    REQUIRE_FALSE(parse_dump_note(other).has_value());
  }
}

TEST_CASE("a dump that is empty, or much smaller than the last good one, is no good one",
          "[dump]") {
  struct Row {
    uint64_t size;
    std::optional<uint64_t> last_good;
    uint32_t percent;
    DumpOutcome outcome;
  };
  const Row rows[] = {{0, std::nullopt, 50, DumpOutcome::kEmpty},
                      {0, 10, 0, DumpOutcome::kEmpty},
                      {1, std::nullopt, 50, DumpOutcome::kOk},
                      {49, 100, 50, DumpOutcome::kShrunk},
                      {50, 100, 50, DumpOutcome::kOk},
                      {1, 100, 0, DumpOutcome::kOk},
                      {99, 100, 100, DumpOutcome::kShrunk},
                      {1, UINT64_MAX, 50, DumpOutcome::kShrunk},
                      {5, 0, 50, DumpOutcome::kOk}};
  for (const Row& row : rows) {
    INFO(row.size << " after " << row.last_good.value_or(0) << ", " << row.percent << " %");
    REQUIRE(judge_dump_size(row.size, row.last_good, row.percent) == row.outcome);
  }
}

TEST_CASE("a job is due once in each span, whatever was missed", "[dump]") {
  constexpr int64_t kHour = 3'600'000'000'000;
  REQUIRE(is_due(std::nullopt, 5, kHour));
  REQUIRE_FALSE(is_due(std::nullopt, 5, 0));
  REQUIRE_FALSE(is_due(10 * kHour, 11 * kHour - 1, kHour));
  REQUIRE(is_due(11 * kHour - 1, 11 * kHour, kHour));
  // Three hours later: due, and then not again before the next one.
  REQUIRE(is_due(10 * kHour + 5, 13 * kHour + 7, kHour));
  REQUIRE_FALSE(is_due(13 * kHour + 7, 13 * kHour + 8, kHour));
  // A clock that was set back does not stop it.
  REQUIRE(is_due(100 * kHour, 13 * kHour, kHour));
  REQUIRE(is_due(-1, 1, kHour));
  REQUIRE_FALSE(is_due(-2, -1, kHour));
}

}  // namespace holdfast
