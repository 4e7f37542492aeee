#include "tools/mend.h"

#include <unistd.h>

#include <cstdio>

#include "base/clock.h"
#include "base/path.h"
#include "service/query.h"
#include "service/rebuild.h"
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

}  // namespace holdfast
