// The API's put: contents that programs give.
#include <algorithm>
#include <charconv>

#include "base/path.h"
#include "journal/time_spec.h"
#include "service/api.h"
#include "service/content_writer.h"
#include "service/dump_command.h"
#include "service/dump_run.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr size_t kPieceBytes = 256 * 1024;

Result<RecordKind> kind_of(const std::string& text) {
  if (text.empty() || text == "dump") return RecordKind::kDump;
  if (text == "seed") return RecordKind::kSeed;
  return make_error(ErrorCode::kUsage, "a content is given as a dump or a seed, not as \"" +
                                           display_path(text) + "\"");
}

Status copy_body(ApiBody& body, ContentWriter& writer) {
  std::string piece(kPieceBytes, '\0');
  for (;;) {
    TRY_ASSIGN(const size_t got, body.read(piece.data(), piece.size()));
    if (got == 0) return {};
    TRY(writer.write(std::string_view(piece).substr(0, got)));
  }
}

Result<uint32_t> shrink_percent_of(const std::string& text) {
  uint32_t percent = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), percent);
  if (problem == std::errc{} && end == text.data() + text.size() && percent <= 100) return percent;
  return make_error(ErrorCode::kUsage,
                    "shrink is a number of percent, not \"" + display_path(text) + "\"");
}

// How the command ended, where it is known, and whether so much is believable, where that is asked.
Result<DumpNote> judge(const ApiRequest& request, std::optional<uint32_t> shrink_percent,
                       const ContentWriter& writer) {
  DumpNote note = dump_note_of(request.body->trailers()).value_or(DumpNote{});
  if (note.outcome != DumpOutcome::kOk || !shrink_percent) return note;
  TRY_ASSIGN(const auto last_good, writer.last_good_size());
  note.outcome = judge_dump_size(writer.size(), last_good, *shrink_percent);
  if (note.outcome == DumpOutcome::kEmpty) note.words = "it wrote nothing";
  if (note.outcome == DumpOutcome::kShrunk) {
    note.words = words_for_bytes(writer.size()) + " where the last good one has " +
                 words_for_bytes(*last_good);
  }
  return note;
}

}  // namespace

// What is known of each dump, and of the virtual roots what an engine would tell of watched ones.
Status Api::dumps_of_status(const LmdbTxn& txn, Json& json, std::vector<Finding>& found) {
  TRY_ASSIGN(const auto roots, state_.journal->roots(txn));
  for (const Root& root : roots) {
    if (!root.is_virtual()) continue;
    TRY_ASSIGN(const RootCounts counts, state_.journal->counts(txn, root.node));
    json["roots"].push_back({{"name", root.name},
                             {"path", ""},
                             {"backend", "none"},
                             {"coverage", "virtual"},
                             {"files", counts.files},
                             {"bytes", counts.bytes},
                             {"lag_ms", 0},
                             {"degraded", Json::array()}});
  }
  std::vector<DumpConfig> dumps;
  int64_t dumps_since_ns = 0;
  {
    const std::lock_guard lock(told_mutex_);
    dumps = dumps_;
    dumps_since_ns = dumps_since_ns_;
  }
  TRY_ASSIGN(const auto states, dump_states(*state_.journal, txn, dumps));
  json["dumps"] = Json::array();
  for (const DumpState& state : states) {
    const auto config = std::find_if(dumps.begin(), dumps.end(), [&](const DumpConfig& dump) {
      return dump.name == state.name;
    });
    const auto attempt_json = [](const std::optional<DumpState::Attempt>& attempt) {
      if (!attempt) return Json(nullptr);
      Json entry{{"seq", attempt->seq.value},
                 {"time", format_time(attempt->time_ns)},
                 {"size", attempt->size}};
      put_dump_note(entry, attempt->note);
      if (!attempt->note.words.empty()) entry["words"] = to_utf8_lossy(attempt->note.words);
      return entry;
    };
    Json entry{{"name", state.name},
               {"last_good", attempt_json(state.good)},
               {"last", attempt_json(state.last)}};
    // One that is not configured any more is nobody's problem.
    const bool wanted = dumps.empty() || config != dumps.end();
    const auto problem = wanted ? dump_problem(state, config == dumps.end() ? nullptr : &*config,
                                               clock_.wall_ns(), dumps_since_ns)
                                : std::nullopt;
    if (problem) {
      found.push_back(finding_of("dumps", *problem));
      found.back().subject = state.name;  // the words name each try
    }
    entry["problem"] = problem ? Json(to_utf8_lossy(*problem)) : Json(nullptr);
    json["dumps"].push_back(std::move(entry));
  }
  return {};
}

Status Api::put(const ApiRequest& request, ApiSink& sink) {
  if (!request.body) {
    return make_error(ErrorCode::kUsage, "a content is given as the body of the request");
  }
  GivenContent given;
  TRY_ASSIGN(given.kind, kind_of(request.get("kind")));
  given.note = request.get("note");
  std::optional<uint32_t> shrink_percent;
  if (const std::string shrink = request.get("shrink"); !shrink.empty()) {
    TRY_ASSIGN(shrink_percent, shrink_percent_of(shrink));
  }
  TRY_ASSIGN(const auto writer, ContentWriter::begin(state_, gate_, request.get("path")));
  TRY(copy_body(*request.body, *writer));
  const bool of_command = !request.body->trailers().empty();
  TRY_ASSIGN(const DumpNote note, judge(request, shrink_percent, *writer));
  given.rejected = given.kind == RecordKind::kDump && note.outcome != DumpOutcome::kOk;
  if (of_command || given.rejected) given.note = dump_note_text(note);
  TRY_ASSIGN(const Record record, writer->finish(given));
  Json json;
  json["seq"] = record.seq.value;
  json["size"] = record.stat.size;
  json["hash"] = "xxh3:" + to_hex(record.hash.bytes.data(), record.hash.bytes.size());
  json["stored"] = true;
  json["new_bytes"] = writer->new_bytes();
  json["rejected"] = given.rejected;
  if (!given.note.empty()) json["note"] = to_utf8_lossy(given.note);
  if (of_command || given.rejected) put_dump_note(json, note);
  sink.write(json_line(json));
  return {};
}

}  // namespace holdfast
