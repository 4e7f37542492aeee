// The engine's watch over the room that the store has (docs/quota.md). While there is none, what is
// captured is journaled with its hash and without its content; when there is room again, what is
// missing of the present is looked for in the journal, and captured.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/path.h"
#include "journal/time_spec.h"
#include "service/engine.h"
#include "service/engine_parts.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr int64_t kMeasureEveryNs = 1'000'000'000;
constexpr int64_t kSearchAgainNs = 600'000'000'000;
constexpr int kSearchNodesMax = 2000;  // a turn

// It is there while contents of the present may be missing, and its mtime says since when.
std::string not_kept_mark_of(const std::string& state_dir) { return state_dir + "/not-kept"; }

int64_t read_mark(const std::string& state_dir) {
  struct stat st {};
  if (::stat(not_kept_mark_of(state_dir).c_str(), &st) != 0) return 0;
  return int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec;
}

}  // namespace

bool Engine::is_keeping() { return pipeline_.pending().is_open(); }

Status Engine::begin_space() {
  space_->limits = options_.space;
  space_->since_ns = read_mark(state_.dir);
  if (space_->since_ns != 0) {
    space_->judged.state = SpaceState::kStopped;  // so it ended, and so it begins
    space_->not_kept = 1;                         // at least, until they are counted
    restart_search();
  }
  return measure_space();
}

void Engine::set_space_limits(const SpaceLimits& limits) {
  if (space_->limits == limits) return;
  space_->limits = limits;
  space_->wanted_bytes = 0;
  space_->stale = true;
}

// What the batch holds is in the packs already.
Status Engine::measure_space() {
  Space& room = *space_;
  room.stale = false;
  room.measure_ns = clock_.boottime_ns() + kMeasureEveryNs;
  TRY_ASSIGN(const FreeSpace disk, free_space(state_.dir));
  std::unique_ptr<ReadTxn> read;
  if (!batch_) {
    TRY_ASSIGN(read, state_.env->begin_read());
  }
  const LmdbTxn& view = batch_ ? static_cast<const LmdbTxn&>(*batch_->txn) : *read;
  TRY_ASSIGN(const StoreStats stats, state_.store->stats(view));
  room.use.used_bytes = stats.bytes + state_.store->batch_bytes() + state_.env->used_bytes();
  room.use.free_bytes = disk.free_bytes;
  room.use.total_bytes = disk.total_bytes;
  room.written_bytes = 0;
  return take_judgement(judge_space(room.use, room.limits, room.judged, room.wanted_bytes));
}

Status Engine::take_judgement(const SpaceJudgement& judged) {
  const bool stops = judged.state == SpaceState::kStopped;
  if (stops && is_keeping()) return stop_keeping(judged.bound, space_->wanted_bytes);
  space_->judged = judged;
  return stops || is_keeping() ? Status() : keep_again();
}

std::string Engine::words_for_bound() const {
  const Space& room = *space_;
  if (room.judged.bound == SpaceBound::kQuota) {
    return "the store takes " + words_for_bytes(room.use.used_bytes) + " of its quota of " +
           words_for_bytes(room.limits.quota_bytes);
  }
  return words_for_bytes(room.use.free_bytes) + " are free on the disk of the state " + state_.dir +
         ", of which " + words_for_bytes(reserve_of(room.limits, room.use.total_bytes)) +
         " are the reserve for others";
}

Status Engine::stop_keeping(SpaceBound bound, uint64_t wanted) {
  Space& room = *space_;
  TRY(check_space(0));  // else the journal cannot go on either
  pipeline_.pending().set_open(false);
  room.judged = {SpaceState::kStopped, bound};
  room.wanted_bytes = wanted;
  room.note = bound == SpaceBound::kQuota
                  ? "the store was at its quota of " + words_for_bytes(room.limits.quota_bytes)
                  : "the disk of the state was at its reserve of " +
                        words_for_bytes(reserve_of(room.limits, room.use.total_bytes));
  if (room.since_ns == 0) {
    room.not_kept = 0;
    if (auto marked = write_file_durably(not_kept_mark_of(state_.dir), "", 0600); !marked.ok()) {
      log_.warn("keeping since when contents are missing: " + marked.error().message);
    }
    room.since_ns = read_mark(state_.dir);  // as a restart will find it
    if (room.since_ns == 0) room.since_ns = clock_.wall_ns();
  }
  const std::string text = "no new content is kept, and the journal goes on: " + words_for_bound() +
                           "; free some space, drop old versions with holdfast prune, or raise "
                           "the limit in [store]";
  log_.write({LogLevel::kError, LogKind::kNotKeeping, text, "", "", 0});
  Record record;
  record.kind = RecordKind::kService;
  record.note = "no new content is kept: " + room.note;
  return append(record);
}

Status Engine::keep_again() {
  pipeline_.pending().set_open(true);
  space_->wanted_bytes = 0;
  restart_search();
  log_.info("there is room for new contents again; what is missing is captured now");
  Record record;
  record.kind = RecordKind::kService;
  record.note = "new content is kept again";
  return append(record);
}

Status Engine::tend_space(bool& progress) {
  const Space& room = *space_;
  const bool moves = room.written_bytes > 0 || room.judged.state != SpaceState::kNormal;
  if (room.stale || (moves && clock_.boottime_ns() >= room.measure_ns)) TRY(measure_space());
  return search_not_kept(progress);
}

// Whoever frees space tells nobody.
int64_t Engine::space_wake_ns() const {
  const Space& room = *space_;
  if (room.stale) return 0;
  int64_t next = INT64_MAX;
  if (room.judged.state == SpaceState::kStopped) next = room.measure_ns;
  if (room.search.wanted && !room.search.waits_for) {
    next = std::min(next, room.search.again_ns);
  }
  return next;
}

// --- what is captured ---

Result<bool> Engine::has_room_for(uint64_t bytes) {
  Space& room = *space_;
  const auto bound = [&] { return bound_at(room.use, room.limits, room.written_bytes + bytes); };
  if (is_keeping() && bound() != SpaceBound::kNone) {
    TRY(measure_space());  // somebody may have freed some
    if (is_keeping() && bound() != SpaceBound::kNone) TRY(stop_keeping(bound(), bytes));
  }
  return is_keeping();
}

// False: nobody stores it.
Result<bool> Engine::keep_frame(const NewFrame& frame) {
  TRY_ASSIGN(const bool room, has_room_for(frame.bytes.size()));
  if (!room) return false;
  TRY(store_frame(frame));
  return true;
}

// Whether frames with a part of it may have been left out, because keeping stopped meanwhile.
bool Engine::may_lack_content(const WriteTxn& open, const CaptureResult& result) {
  if (result.closings == pipeline_.pending().closings()) return false;
  if (result.content.kind == ContentKind::kChunk) {
    return !state_.store->has(open, result.content.id);
  }
  return result.content.kind == ContentKind::kRecipe;
}

// Its chunks are not in the store, and do not come. False: there is nothing to journal.
bool Engine::leave_content(CaptureResult& result) {
  if (result.ask != 0) {
    finish_ask(result.ask, not_keeping("what is there now cannot be kept"));
    return false;
  }
  result.not_kept = result.content.stored();
  return true;
}

// The version of before has the content, by its id and not only by its hash.
void Engine::find_kept_content(const Record& before, const CaptureResult& result,
                               Record& record) const {
  if (!result.not_kept || before.content != result.content) return;
  record.content = before.content;
  record.flags &= ~static_cast<uint32_t>(kFlagNotKept);
  record.note.clear();
}

// --- who asks for more than a capture ---

Error Engine::not_keeping(const std::string& what) const {
  return make_error(ErrorCode::kNoSpace,
                    what + ": " + words_for_bound() +
                        "; free some space, drop old versions with holdfast prune, or raise the "
                        "limit in [store]");
}

Status Engine::check_keeping() {
  if (is_keeping()) return {};
  return not_keeping("no new content is taken");
}

// Whether all that is there now is in the store, as far as it could be read.
Status Engine::check_whole() const {
  const Space& room = *space_;
  const bool searching = room.search.wanted && !room.search.settled;
  if (room.since_ns == 0 || (room.not_kept == 0 && !searching)) return {};
  const std::string since = "since " + format_time(room.since_ns);
  if (room.judged.state == SpaceState::kStopped) {
    return not_keeping("the present is not whole in the store, no new content is kept " + since);
  }
  if (!searching) return {};
  return make_error(ErrorCode::kNoSpace,
                    "the present is not whole in the store: contents that were not kept " + since +
                        " are being captured now; try again in a moment");
}

// --- what is missing ---

void Engine::restart_search() {
  space_->search = {};
  space_->search.wanted = space_->since_ns != 0;
}

// In slices, through all nodes. What is found is looked at as what a doubt is about, and then it
// must not be found again.
Status Engine::search_not_kept(bool& progress) {
  Space::Search& search = space_->search;
  if (!search.wanted) return {};
  const int64_t now = clock_.boottime_ns();
  if (search.waits_for) {
    const auto lowest = lowest_epoch();
    if (!is_keeping() || (lowest && *lowest <= *search.waits_for)) return {};
    search.waits_for.reset();
    search.next = NodeId{1};
    search.found = 0;
  }
  if (now < search.again_ns) return {};
  progress = true;
  TRY_ASSIGN(WriteTxn * open, txn());
  int nodes = 0;
  TRY(state_.journal->for_each_node(*open, search.next, kHead, [&](const Record& version) {
    search.next = NodeId{version.node.value + 1};
    if ((version.flags & kFlagNotKept) != 0) {
      const auto entry = state_.journal->entry(*open, version.parent, version.name, kHead);
      const bool there = entry.ok() && *entry && (*entry)->node == version.node;
      if (there && index_of(version.root)) {
        ++search.found;
        if (is_keeping()) doubt(version.root, version.parent, version.name);
      }
    }
    return ++nodes < kSearchNodesMax ? Visit::kContinue : Visit::kStop;
  }));
  return nodes < kSearchNodesMax ? end_search() : Status();
}

Status Engine::end_search() {
  Space& room = *space_;
  Space::Search& search = room.search;
  if (!is_keeping()) {  // it was to count them, after a start
    room.not_kept = search.found;
    search.wanted = false;
    return {};
  }
  if (search.found == 0) {
    search = {};
    room.not_kept = 0;
    room.since_ns = 0;
    ::unlink(not_kept_mark_of(state_.dir).c_str());
    log_.write({LogLevel::kInfo, LogKind::kKeeping,
                "all that is there is kept again, with its content", "", "", 0});
    return {};
  }
  search.settled = search.rounds++ > 0;
  if (search.settled) search.again_ns = clock_.boottime_ns() + kSearchAgainNs;
  room.not_kept = search.found;
  search.waits_for = epoch_++;
  return {};
}

// --- what is told ---

SpaceStatus Engine::space_status() const {
  const Space& room = *space_;
  SpaceStatus status;
  status.state = room.judged.state;
  status.use = room.use;
  status.use.used_bytes += room.written_bytes;
  status.quota_bytes = room.limits.quota_bytes;
  status.reserve_bytes = reserve_of(room.limits, room.use.total_bytes);
  status.since_ns = room.since_ns;
  status.not_kept = room.not_kept;
  return status;
}

SpaceStatus Engine::space() {
  if (!stall_ && clock_.boottime_ns() >= space_->measure_ns) {
    if (auto measured = measure_space(); !measured.ok()) fail_batch(measured.error());
  }
  return space_status();
}

void Engine::space_problems(std::vector<EngineProblem>& problems) const {
  const Space& room = *space_;
  if (room.since_ns == 0) return;
  const std::string count =
      std::to_string(room.not_kept) + (room.not_kept == 1 ? " version" : " versions");
  if (room.judged.state != SpaceState::kStopped) {
    problems.push_back({"store_space",
                        "the contents of " + count + " were not kept since " +
                            format_time(room.since_ns) +
                            ", and what of them is there still is captured now; holdfast log "
                            "shows them with the flag not_kept",
                        "", "not_kept"});
    return;
  }
  problems.push_back({"store_space",
                      "no new content is kept since " + format_time(room.since_ns) + " (" + count +
                          " so far), only the journal goes on: " + words_for_bound() +
                          "; free some space, drop old versions with holdfast prune, or raise the "
                          "limit in [store]",
                      "", "not_kept"});
}

}  // namespace holdfast
