#include "service/supervisor.h"

#include "service/words.h"

namespace holdfast {

namespace {
constexpr int64_t kTellEveryNs = 1'000'000'000;
}

std::string words_for_service(const EngineStatus& status) {
  std::string names;
  uint64_t files = 0, bytes = 0;
  for (const RootStatus& root : status.roots) {
    names += (names.empty() ? "" : ", ") + root.name + (root.lost ? " (LOST)" : "");
    files += root.files;
    bytes += root.bytes;
  }
  if (names.empty()) return "watching nothing";
  const std::string kept = std::to_string(files) + " files, " + words_for_bytes(bytes);
  if (status.scanning) return "looking through " + names + ": " + kept + " so far";
  return "watching " + names + ": " + kept;
}

Status Supervisor::start(Loop& loop) {
  started_ = true;
  ask();
  if (manager_.alive_every_ns() <= 0) return {};
  manager_.alive();
  return loop.every(manager_.alive_every_ns(), [this] { manager_.alive(); });
}

// Not by a timer: an idle service is not to wake for it.
void Supervisor::turned() {
  if (!started_) return;
  const int64_t now = clock_.boottime_ns();
  if (turned_ns_ != 0 && now - turned_ns_ < kTellEveryNs) return;
  turned_ns_ = now;
  if (!ready_ && !asked_) ask();
  tell();
}

// Again where it fails, because the disk of the state is full or a root is lost.
void Supervisor::ask() {
  asked_ = true;
  engine_.flush([this](const Result<Sequence>& result) {
    asked_ = false;
    if (result.ok() && !ready_) ready(*result);
  });
}

void Supervisor::tell() {
  if (!manager_.listens()) return;
  std::string text = words_for_service(engine_.status());
  if (text == told_) return;
  manager_.status(text);
  told_ = std::move(text);
}

void Supervisor::ready(Sequence seq) {
  ready_ = true;
  const std::string text =
      "all roots are looked through, the journal is at @" + std::to_string(seq.value);
  log_.write({LogLevel::kInfo, LogKind::kReady, text, "", "", seq.value});
  tell();
  manager_.ready();
}

}  // namespace holdfast
