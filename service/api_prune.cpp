// Pruning as a request, and once a day.
#include <algorithm>
#include <cstdlib>

#include "base/fs.h"
#include "base/hash.h"
#include "base/path.h"
#include "journal/time_spec.h"
#include "service/api.h"
#include "service/progress.h"
#include "service/prune.h"
#include "service/verify_read.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr int64_t kEveryNs = 24LL * 3600 * 1'000'000'000;
constexpr auto kLookForPruneEvery = std::chrono::seconds(20);
constexpr size_t kMarkBytesMax = 64;

std::string pruned_mark_of(const std::string& state_dir) { return state_dir + "/pruned"; }

Status read_count(const ApiRequest& request, const char* key, uint32_t& count) {
  const std::string text = request.get(key);
  if (text.empty()) return {};
  uint64_t number = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9' || number > 1'000'000) {
      return make_error(ErrorCode::kUsage, "--" + std::string(key) + " is a number, not \"" +
                                               display_path(text) + "\"");
    }
    number = number * 10 + static_cast<uint64_t>(digit - '0');
  }
  count = static_cast<uint32_t>(std::min<uint64_t>(number, 1'000'000));
  return {};
}

Status read_policy(const ApiRequest& request, RetentionPolicy& policy) {
  if (const std::string all = request.get("all"); !all.empty()) {
    TRY_ASSIGN(policy.all_ns, parse_duration_ns(all));
  }
  TRY(read_count(request, "hourly", policy.hourly));
  TRY(read_count(request, "daily", policy.daily));
  TRY(read_count(request, "weekly", policy.weekly));
  TRY(read_count(request, "monthly", policy.monthly));
  return read_count(request, "last", policy.last);
}

std::string encode_mark(int64_t wall_ns) {
  const std::string number = std::to_string(wall_ns);
  const ContentHash hash = content_hash(number);
  return number + " xxh3:" + to_hex(hash.bytes.data(), hash.bytes.size()) + "\n";
}

// nullopt: the file is not what was written.
std::optional<int64_t> decode_mark(const std::string& text) {
  const int64_t wall_ns = std::strtoll(text.c_str(), nullptr, 10);
  const bool former = text == std::to_string(wall_ns) + "\n";  // it had no checksum
  if (former || text == encode_mark(wall_ns)) return wall_ns;
  return std::nullopt;
}

}  // namespace

int64_t read_prune_mark(const std::string& state_dir) {
  const auto text = read_whole_file(pruned_mark_of(state_dir), kMarkBytesMax);
  return text.ok() ? decode_mark(*text).value_or(0) : 0;
}

Status write_prune_mark(const std::string& state_dir, int64_t wall_ns) {
  return write_file_durably(pruned_mark_of(state_dir), encode_mark(wall_ns), 0600);
}

std::optional<std::string> prune_mark_flaw(const std::string& state_dir) {
  const auto text = read_whole_file(pruned_mark_of(state_dir), kMarkBytesMax);
  if (!text.ok() && text.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (text.ok() && decode_mark(*text)) return std::nullopt;
  return "the file " + pruned_mark_of(state_dir) +
         " is damaged; delete it: the next prune is then a day away";
}

Status Api::prune(const ApiRequest& request, ApiSink& sink) {
  PruneOptions options;
  Pruner* of_service = nullptr;
  {
    const std::lock_guard lock(told_mutex_);
    options.policy = policy_;
    of_service = pruner_;
  }
  options.dry_run = request.flag("dry_run");
  TRY(read_policy(request, options.policy));
  if (const std::string grace = request.get("grace"); !grace.empty()) {
    TRY_ASSIGN(options.grace_ns, parse_duration_ns(grace));
  }
  std::optional<Pruner> own;
  if (of_service == nullptr) own.emplace(state_, gate_, clock_);
  Pruner& pruner = of_service != nullptr ? *of_service : *own;
  Result<PruneResult> result = PruneResult{};
  with_progress(
      sink,
      [&] {
        if (sink.cancelled()) pruner.cancel();
        const Pruner::Counts& counts = pruner.counts();
        return Json{{"versions", counts.marked.load()},
                    {"packs", counts.packs_done.load()},
                    {"of", counts.packs.load()}};
      },
      [&] {
        if (gate_.watches()) become_idle();  // a thread of its own
        result = pruner.run(options);
      });
  if (!result.ok()) return result.error();
  sink.write(json_line(prune_json(*result, options.dry_run)));
  return {};
}

PruneSchedule::PruneSchedule(Pruner& pruner, const std::optional<RetentionPolicy>& policy,
                             State& state, Gate& gate, const Clock& clock, Log& log)
    : pruner_(pruner), policy_(policy), state_(state), gate_(gate), clock_(clock), log_(log) {
  thread_ = std::thread([this] { work(); });
}

PruneSchedule::~PruneSchedule() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void PruneSchedule::work() {
  become_idle();
  const PruneOptions defaults;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, kLookForPruneEvery, [&] { return stopping_; })) return;
    }
    if (auto freed = pruner_.remove_condemned(defaults.grace_ns); !freed.ok()) {
      log_.warn("deleting packs that nobody needs: " + freed.error().message);
    } else if (*freed > 0) {
      log_.info("pruned packs are gone, " + words_for_bytes(*freed) + " are free");
    }
    if (!policy_) continue;
    prune();
    prune_for_space();
  }
}

// The time of the last run is that of a file, which a restart finds.
void PruneSchedule::prune() {
  const int64_t now_ns = clock_.wall_ns();
  const int64_t last_ns = read_prune_mark(state_.dir);
  if (last_ns <= now_ns && now_ns - last_ns < kEveryNs) return;
  if (auto kept = write_prune_mark(state_.dir, now_ns); !kept.ok()) {
    log_.warn("keeping when was pruned: " + kept.error().message);
    return;
  }
  if (last_ns == 0) return;  // a state that is new has nothing to prune
  run();
}

// A prune that helps nothing is not repeated until something has changed.
void PruneSchedule::prune_for_space() {
  const auto space = std::make_shared<SpaceStatus>();
  const auto asked = gate_.with_engine([space](Engine& engine, const Gate::Done& done) {
    *space = engine.space();
    done({});
  });
  if (!asked.ok()) return;  // the service is stopping
  if (!trigger_.is_due(space->state, space->use.used_bytes, clock_.boottime_ns())) return;
  log_.info(std::string("pruning, because the store has ") +
            (space->is_keeping() ? "little" : "no") + " room left: it takes " +
            words_for_bytes(space->use.used_bytes) + ", and " +
            words_for_bytes(space->use.free_bytes) + " are free on its disk");
  const auto freed = run();
  trigger_.pruned(freed.value_or(0), space->use.used_bytes, clock_.boottime_ns());
}

// By the policy. What goes of the packs, what came in their place taken off; nullopt: it failed.
std::optional<uint64_t> PruneSchedule::run() {
  PruneOptions options;
  options.policy = *policy_;
  const auto result = pruner_.run(options);
  if (!result.ok()) {
    if (result.error().code != ErrorCode::kInterrupted) {
      const std::string text = "pruning: " + result.error().message;
      log_.write({LogLevel::kError, LogKind::kJobFailed, text, "", "", 0});
    }
    return std::nullopt;
  }
  log_.info("pruned: " + words_for_bytes(result->dead_bytes) + " were not needed, " +
            std::to_string(result->packs_rewritten) + " packs became " +
            std::to_string(result->packs_written) + ", " +
            words_for_bytes(result->bytes_freed + result->bytes_waiting) + " go, " +
            words_for_bytes(result->bytes_written) + " came");
  const uint64_t gone = result->bytes_freed + result->bytes_waiting;
  return gone - std::min(gone, result->bytes_written);
}

}  // namespace holdfast
