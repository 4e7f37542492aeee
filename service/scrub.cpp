#include "service/scrub.h"

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/path.h"
#include "journal/time_spec.h"
#include "service/engine.h"
#include "service/words.h"

namespace holdfast {

namespace {
// Of a batch, after which findings are journaled and the position moves on.
constexpr size_t kBatchFiles = 256;
constexpr uint64_t kScrubBytes = 64 << 20;
constexpr uint64_t kBeginsMax = 3;  // of one large file, by as many runs
constexpr unsigned kToldMax = 5;    // problems of one batch that have a line of their own
constexpr int64_t kSaveEveryNs = 10'000'000'000;
constexpr int64_t kLookAtClockNs = 3600'000'000'000;  // at the clock, which may have been set
constexpr size_t kStateBytesMax = 4096;

std::string scrub_file_of(const std::string& state_dir) { return state_dir + "/scrub"; }
}  // namespace

namespace {

// The fields in their order, with a checksum over them as they are written.
std::string encode_state(const ScrubState& state) {
  Json fields = {{"next_node", state.next.value},
                 {"started_ns", state.started_ns},
                 {"finished_ns", state.finished_ns},
                 {"files", state.files},
                 {"bytes", state.bytes},
                 {"problems", state.problems},
                 {"begun_node", state.begun.value},
                 {"times_begun", state.times_begun}};
  const ContentHash hash = content_hash(fields.dump());
  fields["checksum"] = "xxh3:" + to_hex(hash.bytes.data(), hash.bytes.size());
  return json_line(fields);
}

// nullopt: the file is not what was written.
std::optional<ScrubState> decode_state(const std::string& text) {
  ScrubState state;
  const Json fields = Json::parse(text, nullptr, false);
  if (!fields.is_object()) return std::nullopt;
  const auto number = [&](const char* key) -> int64_t {
    const auto at = fields.find(key);
    return at != fields.end() && at->is_number_integer() ? at->get<int64_t>() : 0;
  };
  state.next.value = static_cast<uint64_t>(number("next_node"));
  state.started_ns = number("started_ns");
  state.finished_ns = number("finished_ns");
  state.files = static_cast<uint64_t>(number("files"));
  state.bytes = static_cast<uint64_t>(number("bytes"));
  state.problems = static_cast<uint64_t>(number("problems"));
  state.begun.value = static_cast<uint64_t>(number("begun_node"));
  state.times_begun = static_cast<uint64_t>(number("times_begun"));
  constexpr size_t kFormerFields = 8;  // a version before had no checksum
  if (fields.size() == kFormerFields || text == encode_state(state)) return state;
  return std::nullopt;
}

}  // namespace

ScrubState read_scrub_state(const std::string& state_dir) {
  const auto text = read_whole_file(scrub_file_of(state_dir), kStateBytesMax);
  // Damaged: a pass too many harms nobody.
  return text.ok() ? decode_state(*text).value_or(ScrubState{}) : ScrubState{};
}

std::optional<std::string> scrub_flaw(const std::string& state_dir) {
  const auto text = read_whole_file(scrub_file_of(state_dir), kStateBytesMax);
  if (!text.ok() && text.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (text.ok() && decode_state(*text)) return std::nullopt;
  return "the file " + scrub_file_of(state_dir) +
         " is damaged; delete it: the scrub then begins anew";
}

Json scrub_json(const ScrubState& state) {
  Json json;
  json["running"] = state.next.value != 0;
  json["started"] = state.started_ns == 0 ? Json() : Json(format_time(state.started_ns));
  json["finished"] = state.finished_ns == 0 ? Json() : Json(format_time(state.finished_ns));
  json["files"] = state.files;
  json["bytes"] = state.bytes;
  json["problems"] = state.problems;
  return json;
}

Scrub::Scrub(State& state, Gate& gate, const Clock& clock, Log& log, const ScrubOptions& options)
    : state_(state),
      gate_(gate),
      clock_(clock),
      log_(log),
      options_(options),
      at_(read_scrub_state(state.dir)) {
  if (options_.every_ns <= 0) return;
  if (at_.finished_ns == 0 && at_.next.value == 0) {
    at_.finished_ns = clock_.wall_ns();  // all that is there has been read just now, or will be
    save();
  }
  VerifyOptions verify;
  verify.workers = 1;
  verify.rate_bytes = options_.rate_bytes;
  verify.idle = true;
  verifier_ = std::make_shared<Verifier>(state_, gate_, verify);
  thread_ = std::thread([this] { work(); });
}

Scrub::~Scrub() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (verifier_) verifier_->cancel();
  if (thread_.joinable()) thread_.join();
}

void Scrub::save() {
  if (auto saved = write_file_durably(scrub_file_of(state_.dir), encode_state(at_), 0600);
      !saved.ok()) {
    log_.warn("keeping where the scrub stands: " + saved.error().message);
  }
}

bool Scrub::wait_until_due() {
  std::unique_lock lock(mutex_);
  while (!stopping_ && at_.next.value == 0) {
    const int64_t since = clock_.wall_ns() - at_.finished_ns;
    if (since < 0) at_.finished_ns = clock_.wall_ns();  // the clock was set back
    const int64_t left = options_.every_ns - std::max<int64_t>(0, since);
    if (left <= 0) break;
    changed_.wait_for(lock, std::chrono::nanoseconds(std::min(left, kLookAtClockNs)));
  }
  return !stopping_;
}

void Scrub::work() {
  while (wait_until_due()) {
    if (auto done = pass(); !done.ok()) {
      save();
      if (done.error().code != ErrorCode::kInterrupted) {
        log_.warn("the scrub stopped: " + done.error().message + "; it goes on later");
      }
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::seconds(60), [&] { return stopping_; });
      if (stopping_) return;
    }
  }
}

ScrubState Scrub::at() const {
  std::lock_guard lock(mutex_);
  return at_;
}

void Scrub::set(const ScrubState& state) {
  std::lock_guard lock(mutex_);
  at_ = state;
}

// A batch of one large file may take longer than the machine is on. That it was begun is kept
// before it is read, so that a crash counts too. False: it has been begun often enough.
bool Scrub::begin_large(const NodeBatch& batch, ScrubState& now) {
  if (batch.bytes < kScrubBytes || batch.items.size() != 1) return true;
  const VerifyItem& item = batch.items[0];
  if (now.begun != item.version.node) now.times_begun = 0;
  now.begun = item.version.node;
  if (now.times_begun >= kBeginsMax) {
    log_.warn("scrub: passes over " + display_path(join_path(item.dir->root.path, item.path)) +
              ", which was begun " + std::to_string(now.times_begun) +
              " times and interrupted each time; holdfast verify reads it as fast as it can");
    return false;
  }
  ++now.times_begun;
  set(now);
  save();
  return true;
}

// Verdicts that stand are journaled and told by the engine. Any other problem is in no record, or
// in one that does not say that somebody has to look: the log is where it can be seen.
void Scrub::tell_problems(const VerifyResult& result) {
  unsigned told = 0;
  for (const VerifyFinding& finding : result.findings) {
    if (!finding.problem || stands(verdict_of(finding.verdict).value_or(Verdict::kNone))) continue;
    if (++told > kToldMax) {
      log_.warn(
          "scrub: more such files were looked at together with these; holdfast verify lists "
          "what is still so");
      return;
    }
    std::string text = "scrub: " + display_path(join_path(finding.root.path, finding.path));
    if (finding.loss != "unread") text += " is " + finding.loss + " (" + finding.verdict + ")";
    if (!finding.note.empty()) text += (finding.loss == "unread" ? " " : ": ") + finding.note;
    if (finding.seq.value != 0) text += ", @" + std::to_string(finding.seq.value);
    log_.warn(text);
  }
}

// What happened while no service ran is told by the first look at everything. Before that is done,
// each file that came or went meanwhile would look like a loss.
Status Scrub::wait_for_first_look() {
  if (looked_) return {};
  auto flushed = gate_.flush(kNoTimeout);
  const bool lost = !flushed.ok() && flushed.error().code == ErrorCode::kChanged;  // one root
  if (!flushed.ok() && !lost) return flushed.error();
  looked_ = !lost;
  return {};
}

Status Scrub::pass() {
  TRY(wait_for_first_look());
  ScrubState now = at_;
  if (now.next.value == 0) {
    now = {NodeId{1}, clock_.wall_ns(), now.finished_ns, 0, 0, 0, {}, 0};
    set(now);
    save();
    log_.info("scrub: begins");
  } else {
    log_.info("scrub: goes on after " + std::to_string(now.files) + " files");
  }
  int64_t saved_ns = clock_.boottime_ns();
  for (std::optional<NodeId> next = now.next; next;) {
    const uint64_t files = verifier_->counts().files, bytes = verifier_->counts().bytes;
    VerifyResult result;
    TRY_ASSIGN(NodeBatch batch, verifier_->pick_nodes(*next, kBatchFiles, kScrubBytes));
    next = batch.next;
    if (begin_large(batch, now)) TRY(verifier_->verify_batch(std::move(batch), result));
    now.files += verifier_->counts().files - files;
    now.bytes += verifier_->counts().bytes - bytes;
    now.problems += result.problems;
    tell_problems(result);
    if (next) now.next = *next;
    set(now);
    if (next && clock_.boottime_ns() - saved_ns > kSaveEveryNs) {
      save();
      saved_ns = clock_.boottime_ns();
    }
  }
  const std::string words = "scrub: " + std::to_string(now.files) + " files, " +
                            words_for_bytes(now.bytes) + " read in " +
                            words_for_duration(clock_.wall_ns() - now.started_ns) + ", " +
                            std::to_string(now.problems) + " problems";
  now.next = {};
  now.finished_ns = clock_.wall_ns();
  set(now);
  save();
  log_.info(words);
  TRY_ASSIGN(const Sequence seq, gate_.journal_note(RecordKind::kVerify, {}, words));
  (void)seq;
  return {};
}

}  // namespace holdfast
