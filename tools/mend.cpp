#include "tools/mend.h"

#include <unistd.h>

#include <cstdio>

#include "base/clock.h"
#include "base/log.h"
#include "base/path.h"
#include "journal/time_spec.h"
#include "service/query.h"
#include "service/rebuild.h"
#include "service/repair.h"
#include "service/words.h"
#include "tools/client.h"

namespace holdfast {

namespace {

constexpr int64_t kShowEveryNs = 200'000'000;

int report(const Error& error, const char* doing) {
  std::string message = error.message;
  // Whoever holds the state is, most of the time, the service.
  if (error.code == ErrorCode::kBusy)
    message += "; " + std::string(doing) +
               " works on a state that nobody has open: stop the "
               "service first";
  std::fprintf(stderr, "holdfast: %s\n", message.c_str());
  return exit_code_of(error);
}

// "  34 %", over and over on one line of a terminal.
class ShownProgress {
 public:
  explicit ShownProgress(bool quiet) : shown_(!quiet && ::isatty(STDERR_FILENO) != 0) {}
  ~ShownProgress() {
    if (drawn_) std::fprintf(stderr, "\r\033[K");
  }
  void operator()(uint64_t done, uint64_t all) {
    const int64_t now = clock_.boottime_ns();
    if (!shown_ || all == 0 || now < next_ns_) return;
    next_ns_ = now + kShowEveryNs;
    drawn_ = true;
    std::fprintf(stderr, "\r\033[K %3u %% of %s", static_cast<unsigned>(done * 100 / all),
                 words_for_bytes(all).c_str());
  }

 private:
  const bool shown_;
  bool drawn_ = false;
  SystemClock clock_;
  int64_t next_ns_ = 0;
};

std::string counted(uint64_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

Json rebuild_json(const RebuildResult& result, int64_t took_ns) {
  Json json;
  json["state"] = result.state;
  json["packs"] = result.packs;
  json["bytes"] = result.bytes;
  json["batches"] = result.batches;
  json["records"] = result.records;
  json["chunks"] = result.chunks;
  json["seq"] = result.head.value;
  json["seconds"] = static_cast<double>(took_ns / 1'000'000) / 1000.0;
  json["kept"] = result.kept.empty() ? Json(nullptr) : Json(result.kept);
  json["header_written"] = result.header_written;
  json["notes"] = result.notes;
  return json;
}

std::string rebuild_text(const RebuildResult& result, int64_t took_ns) {
  std::string text = "rebuilt the journal from " + counted(result.packs, "pack", "packs") + ", " +
                     words_for_bytes(result.bytes) + ", in " + words_for_duration(took_ns) + ": " +
                     counted(result.batches, "batch", "batches") + ", " +
                     counted(result.records, "record", "records") + " up to @" +
                     std::to_string(result.head.value) + ", " +
                     counted(result.chunks, "chunk", "chunks") + "\n";
  if (result.header_written) text += "wrote the file repository anew from the packs\n";
  for (const std::string& note : result.notes) text += "note     " + display_path(note) + "\n";
  if (!result.kept.empty()) {
    text += "the old journal is kept as " + display_path(result.kept) +
            "; delete it when you have looked around\n";
  }
  return text;
}

Json lost_json(const LostContent& lost) {
  Json json;
  json["root"] = lost.root;
  put_path(json, "path", lost.path);
  json["since"] = lost.since.value;
  json["since_time"] = format_time(lost.since_ns);
  json["until"] = lost.until.value == 0 ? Json(nullptr) : Json(lost.until.value);
  json["until_time"] = lost.until.value == 0 ? Json(nullptr) : Json(format_time(lost.until_ns));
  json["size"] = lost.bytes;
  return json;
}

Json repair_json(const RepairResult& result) {
  Json json;
  json["state"] = result.state;
  json["found"] = result.found;
  json["replaced"] = result.replaced;
  json["rebuilt"] = result.rebuilt;
  json["records_saved"] = result.records_saved;
  json["records_lost"] = Json::array();
  for (const auto& span : result.lost_records) {
    json["records_lost"].push_back({{"first", span.first.value}, {"last", span.last.value}});
  }
  json["chunks_missing"] = result.contents.chunks_missing;
  json["chunks_refetched"] = result.contents.chunks_refetched;
  json["lost"] = Json::array();
  for (const LostContent& lost : result.contents.lost) json["lost"].push_back(lost_json(lost));
  return json;
}

std::string repair_text(const RepairResult& result) {
  std::string text;
  for (const std::string& found : result.found) text += "FOUND    " + display_path(found) + "\n";
  for (const std::string& pack : result.replaced) {
    text += "replaced " + display_path(pack) + "\n";
  }
  if (result.records_saved > 0) {
    text += "saved    " + counted(result.records_saved, "record", "records") +
            " that a pack lacked, from the journal\n";
  }
  if (result.rebuilt) text += "rebuilt  the journal from the packs\n";
  if (result.contents.chunks_refetched > 0) {
    text += "fetched  " + counted(result.contents.chunks_refetched, "chunk", "chunks") + ", " +
            words_for_bytes(result.contents.bytes_refetched) + ", from live files\n";
  }
  for (const auto& span : result.lost_records) {
    text += "LOST     the records @" + std::to_string(span.first.value) + " to @" +
            std::to_string(span.last.value) + "\n";
  }
  for (const LostContent& lost : result.contents.lost) {
    text += "LOST     " + lost.root + ":" + display_path(lost.path) + ", " +
            words_for_bytes(lost.bytes) + ", from @" + std::to_string(lost.since.value) + " " +
            format_time(lost.since_ns) + " to " +
            (lost.until.value == 0
                 ? std::string("now")
                 : "@" + std::to_string(lost.until.value) + " " + format_time(lost.until_ns)) +
            "\n";
  }
  if (!result.replaced.empty() || result.rebuilt) {
    text += "what was replaced is kept in " + display_path(result.state) +
            "/damaged; delete it when you have looked around\n";
  }
  const bool lost = !result.contents.lost.empty() || !result.lost_records.empty();
  if (result.found.empty() && !lost) return text + "nothing to repair\n";
  return text + (lost ? "" : "nothing is lost\n");
}

}  // namespace

int run_rebuild(const MendOptions& options) {
  SystemClock clock;
  const int64_t start_ns = clock.boottime_ns();
  auto result = [&] {
    ShownProgress progress(options.quiet);
    return rebuild_state(options.state_dir,
                         [&](uint64_t done, uint64_t all) { progress(done, all); });
  }();
  if (!result.ok()) return report(result.error(), "a rebuild");
  const int64_t took_ns = clock.boottime_ns() - start_ns;
  if (options.json) {
    std::fputs(json_line(rebuild_json(*result, took_ns)).c_str(), stdout);
  } else if (!options.quiet) {
    std::fputs(rebuild_text(*result, took_ns).c_str(), stdout);
  }
  return std::fflush(stdout) == 0 ? 0 : 1;
}

int run_repair(const MendOptions& options) {
  SystemClock clock;
  const auto log = make_stderr_log(LogLevel::kWarn);
  auto result = [&] {
    ShownProgress progress(options.quiet);
    return repair_state(options.state_dir, clock, *log,
                        [&](uint64_t done, uint64_t all) { progress(done, all); });
  }();
  if (!result.ok()) return report(result.error(), "a repair");
  if (options.json) {
    std::fputs(json_line(repair_json(*result)).c_str(), stdout);
  } else if (!options.quiet) {
    std::fputs(repair_text(*result).c_str(), stdout);
  }
  if (std::fflush(stdout) != 0) return 1;
  if (!result->contents.lost.empty() || !result->lost_records.empty()) return 5;
  return result->found.empty() && result->contents.chunks_missing == 0 ? 0 : 3;
}

}  // namespace holdfast
