#include "service/dump_note.h"

#include <array>
#include <charconv>
#include <cstdio>

#include "base/clock.h"

namespace holdfast {

namespace {
constexpr std::array<const char*, 4> kOutcomes{"ok", "failed", "empty", "shrunk"};

// Takes `prefix` off the front of `text`.
bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

template <class T>
bool take_number(std::string_view& text, T& number) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc{}) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

int64_t span_of(int64_t wall_ns, int64_t every_ns) {
  const int64_t span = wall_ns / every_ns;
  return wall_ns % every_ns < 0 ? span - 1 : span;
}
}  // namespace

const char* dump_outcome_name(DumpOutcome outcome) {
  return kOutcomes[static_cast<size_t>(outcome)];
}

std::string dump_note_text(const DumpNote& note) {
  char end[64];
  std::snprintf(end, sizeof end, ", %s %d, %lld.%03lld s", note.signal != 0 ? "signal" : "exit",
                note.signal != 0 ? note.signal : note.exit_status,
                static_cast<long long>(note.took_ns / 1'000'000'000),
                static_cast<long long>(note.took_ns % 1'000'000'000 / kMillisecondNs));
  return dump_outcome_name(note.outcome) + std::string(end) +
         (note.words.empty() ? "" : ": " + note.words);
}

std::optional<DumpNote> parse_dump_note(std::string_view text) {
  DumpNote note;
  bool known = false;
  for (size_t i = 0; i < kOutcomes.size() && !known; ++i) {
    known = take(text, std::string(kOutcomes[i]) + ", ");
    note.outcome = static_cast<DumpOutcome>(i);
  }
  if (!known) return std::nullopt;
  const bool signal = take(text, "signal ");
  if (!signal && !take(text, "exit ")) return std::nullopt;
  if (!take_number(text, signal ? note.signal : note.exit_status)) return std::nullopt;
  int64_t seconds = 0, milliseconds = 0;
  if (!take(text, ", ") || !take_number(text, seconds) || !take(text, ".") ||
      !take_number(text, milliseconds) || !take(text, " s") || seconds < 0 ||
      seconds > 1'000'000'000 || milliseconds < 0 || milliseconds > 999) {
    return std::nullopt;
  }
  note.took_ns = seconds * 1'000'000'000 + milliseconds * kMillisecondNs;
  if (take(text, ": ")) note.words = text;
  return note;
}

DumpOutcome judge_dump_size(uint64_t size, std::optional<uint64_t> last_good,
                            uint32_t shrink_percent) {
  if (size == 0) return DumpOutcome::kEmpty;
  if (!last_good) return DumpOutcome::kOk;
  const double bound = static_cast<double>(*last_good) * shrink_percent / 100;
  return static_cast<double>(size) < bound ? DumpOutcome::kShrunk : DumpOutcome::kOk;
}

bool is_due(std::optional<int64_t> last_wall_ns, int64_t now_wall_ns, int64_t every_ns) {
  if (every_ns <= 0) return false;
  return !last_wall_ns || span_of(*last_wall_ns, every_ns) != span_of(now_wall_ns, every_ns);
}

}  // namespace holdfast
