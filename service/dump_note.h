// DumpNote: what a record says of how a dump went (docs/formats/record.md), and whether it is good.
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

// kFailed: the command ended badly. kEmpty, kShrunk: it ended well, with nothing, or with much less
// than the last good one had.
enum class DumpOutcome : uint8_t { kOk, kFailed, kEmpty, kShrunk };
const char* dump_outcome_name(DumpOutcome outcome);  // "ok", "failed", "empty", "shrunk"

struct DumpNote {
  DumpOutcome outcome = DumpOutcome::kOk;
  int exit_status = 0;
  int signal = 0;  // that ended the command; 0: none did
  int64_t took_ns = 0;
  std::string words;  // for a person: why it is not good
  bool operator==(const DumpNote&) const = default;
};

// "ok, exit 0, 2.134 s", "failed, signal 15, 3600.001 s: it did not end within 1 h".
std::string dump_note_text(const DumpNote& note);
std::optional<DumpNote> parse_dump_note(std::string_view text);

// Whether so much is believable after a good dump of that size. `shrink_percent` 0: whatever is not
// empty.
DumpOutcome judge_dump_size(uint64_t size, std::optional<uint64_t> last_good,
                            uint32_t shrink_percent);

// Whether a job that runs every `every_ns` is due, which was last begun at `last_wall_ns`: in each
// of the spans that whole multiples of `every_ns` since 1970 begin, once. So it stays on time
// however long it takes, and what was missed is not made up for.
bool is_due(std::optional<int64_t> last_wall_ns, int64_t now_wall_ns, int64_t every_ns);

}  // namespace holdfast
