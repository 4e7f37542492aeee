// The engine's clocks: steps of our own, skews of those that stamp files, and what happened while
// no service ran. docs/clocks.md.
#include "service/engine_clock.h"

#include <algorithm>
#include <cstdlib>

#include "base/path.h"
#include "service/words.h"

namespace holdfast {

namespace {
constexpr int64_t kStepQuietNs = 10'000'000'000;
constexpr int64_t kProbeEveryNs = 600'000'000'000;
constexpr const char* kProbeName = "/clock-probe";

std::string words_for_step(int64_t amount_ns) {
  return std::string("the wall clock was set ") + (amount_ns < 0 ? "back" : "forward") + " by " +
         words_for_duration(std::abs(amount_ns));
}

std::string words_for_skew(const SkewTeller::News& news, const std::string& whose) {
  if (news.over) return "the clock of " + whose + " agrees with this machine's again";
  return "the clock of " + whose + " is " + words_for_duration(std::abs(news.amount_ns)) +
         (news.amount_ns < 0 ? " behind" : " ahead of") + " this machine's";
}
}  // namespace

Engine::Clocks::OfRoot& Engine::Clocks::of(const Engine& engine, size_t index) {
  while (roots.size() <= index) {
    const RootState& root = *engine.roots_[roots.size()];
    OfRoot entry;
    const auto traits = fs_traits_of(root.fd.get());
    entry.granularity_ns = traits.ok() ? traits->granularity_ns : FsTraits{}.granularity_ns;
    const auto state = open_directory(engine.state_.dir);
    if (state.ok()) {
      const auto ours = statx_fd(state->get());
      const auto theirs = statx_fd(root.fd.get());
      entry.shares_state = ours.ok() && theirs.ok() && ours->dev == theirs->dev;
    }
    roots.push_back(std::move(entry));
  }
  return roots[index];
}

int64_t Engine::Clocks::now_of(const OfRoot& root, int64_t wall_ns) const {
  return wall_ns + (root.shares_state ? probed_skew_ns : 0);
}

// What a start says of the time since the record before.
Status Engine::begin_clocks(const Record& last, bool stopped) {
  TRY_ASSIGN(WriteTxn * open, txn());
  const auto boot = state_.journal->boot_id(*open, last.boot);
  const bool same_boot = boot.ok() && *boot == clock_.boot_id();
  const ClockReading before{last.wall_ns, last.boottime_ns, 0};
  const ClockReading now = read_clocks(clock_);
  (void)clocks_->watch.read(now);
  const auto off_ns = elapsed_since(before, same_boot, now);
  Record gap;
  gap.kind = RecordKind::kGap;
  const std::string off =
      off_ns ? words_for_duration(*off_ns) : "an unknown time (the clock went back)";
  gap.note = stopped ? "the service was off for " + off
                     : "the service ended without a stop, and was off for at most " + off;
  TRY(append(gap));
  OfflineReport report;
  report.from_ns = last.wall_ns;
  report.until_ns = now.wall_ns;
  report.off_ns = off_ns;
  report.at_most = !stopped;
  offline_.begin(std::move(report));
  const auto step = step_since(before, same_boot, now);
  if (!step) return {};
  const std::string at_least = step->at_least ? " at least" : "";
  const std::string note = words_for_step(step->amount_ns) + at_least + " while no service ran";
  const std::string text = note + " (" + words_for_amount(step->amount_ns) + at_least + ")";
  log_.write({LogLevel::kWarn, LogKind::kClock, text, "", "", 0});
  return journal_amount(RecordKind::kClockStep, NodeId{}, step->amount_ns, note);
}

Status Engine::journal_amount(RecordKind kind, NodeId root, int64_t amount_ns,
                              const std::string& words) {
  Record record;
  record.kind = kind;
  record.root = root;
  record.note = words_for_amount(amount_ns) + ": " + words;
  return append(record);
}

// Between two pieces of work. The step's record begins a batch of its own: what came before it and
// what came after are two spans of wall time to the journal.
Status Engine::check_clocks() {
  Clocks& clocks = *clocks_;
  const ClockReading now = read_clocks(clock_);
  if (const auto amount_ns = clocks.watch.read(now)) {
    ++clocks.steps;
    clocks.last_step_ns = *amount_ns;
    clocks.unjournaled_ns += *amount_ns;
    clocks.step_is_due = true;
    clocks.skew_from_ns = now.boottime_ns + kStepQuietNs;
    clocks.probe_ns = 0;
    for (Clocks::OfRoot& root : clocks.roots) root.writer.reset();
    const std::string text = words_for_step(*amount_ns) + " (" + words_for_amount(*amount_ns) + ")";
    log_.write({LogLevel::kWarn, LogKind::kClock, text, "", "", 0});
  }
  if (clocks.step_is_due) {
    TRY(commit());
    TRY(journal_amount(RecordKind::kClockStep, NodeId{}, clocks.unjournaled_ns,
                       words_for_step(clocks.unjournaled_ns)));
    TRY(commit());
    clocks.step_is_due = false;
    clocks.unjournaled_ns = 0;
  }
  if (now.boottime_ns < clocks.probe_ns || roots_.empty()) return {};
  clocks.probe_ns = now.boottime_ns + kProbeEveryNs;
  return probe_clocks();
}

// On the engine's thread: the probe lies where each commit writes, so it waits for nothing that the
// engine would not wait for anyhow. Never in a watched tree.
Status Engine::probe_clocks() {
  Clocks& clocks = *clocks_;
  std::vector<size_t> shared;
  for (size_t i = 0; i < roots_.size(); ++i) {
    if (clocks.of(*this, i).shares_state) shared.push_back(i);
  }
  if (shared.empty()) return {};
  const auto failed = [&](const Error& error) {
    if (!clocks.probe_failed) log_.warn(error.message + "; its clock is not compared with ours");
    clocks.probe_failed = true;
    return Status();
  };
  auto probe = StampProbe::create(state_.dir + kProbeName);
  if (!probe.ok()) return failed(probe.error());
  std::vector<ProbeReading> readings;
  for (size_t i = 0; i < kProbes; ++i) {
    ProbeReading reading;
    reading.before_ns = clock_.wall_ns();
    auto stamp = probe->stamp_ns();
    reading.after_ns = clock_.wall_ns();
    if (!stamp.ok()) return failed(stamp.error());
    reading.stamp_ns = *stamp;
    readings.push_back(reading);
  }
  clocks.probe_failed = false;
  const auto skew = skew_of_probes(readings);
  if (!skew) return {};
  clocks.probed_skew_ns = *skew;
  const auto news = clocks.file_system.update(*skew);
  if (!news) return {};
  std::string whose = "the file system of " + display_path(roots_[shared[0]]->spec.path);
  if (shared.size() > 1) whose += " and " + std::to_string(shared.size() - 1) + " more";
  const std::string note = words_for_skew(*news, whose);
  log_.write({LogLevel::kWarn, LogKind::kClock, note, "", "", 0});
  const NodeId root = shared.size() == 1 ? roots_[shared[0]]->root.node : NodeId{};
  return journal_amount(RecordKind::kClockSkew, root, news->amount_ns, note);
}

// A file that an event told of, as it is now. Only stamps that a kernel set say something of
// clocks: those of a program differ, in mtime and ctime.
Status Engine::note_stamp(const Look& look, const FileStat& stat, const std::optional<Entry>& old) {
  Clocks& clocks = *clocks_;
  if (look.offline) return note_unmoved(look, stat, old);
  if (look.all || stat.mtime_ns != stat.ctime_ns) return {};
  const ClockReading now = read_clocks(clock_);
  if (now.boottime_ns < clocks.skew_from_ns) return {};
  Clocks::OfRoot& of = clocks.of(*this, look.root);
  const int64_t now_ns = clocks.now_of(of, now.wall_ns);
  if (stat.mtime_ns < now_ns - kAnnouncedLagNs) {
    // Old stamps are nothing new, but for a known file whose content was changed just now: what is
    // moved here keeps its own, and closing what was not written tells of no change.
    if (!old) return {};
    TRY_ASSIGN(WriteTxn * open, txn());
    TRY_ASSIGN(const auto version, state_.journal->version(*open, old->node, kHead));
    if (!version || version->stat.inode != stat.inode || version->stat.mtime_ns == stat.mtime_ns) {
      return {};
    }
  }
  const auto skew = of.writer.add(stat.inode, stat.mtime_ns, now_ns, of.granularity_ns);
  if (!skew) return {};
  const auto news = of.teller.update(*skew);
  if (!news) return {};
  const RootState& root = *roots_[look.root];
  const std::string note =
      words_for_skew(*news, "who stamps the files of " + display_path(root.spec.path));
  log_.write({LogLevel::kWarn, LogKind::kClock, note, "", "", 0});
  return journal_amount(RecordKind::kClockSkew, root.root.node, news->amount_ns, note);
}

// While the first look goes on: one file that is as it was, and the volume was not moved.
Status Engine::note_unmoved(const Look& look, const FileStat& stat,
                            const std::optional<Entry>& old) {
  if (!old || old->type == FileType::kDir || !offline_.looking()) return {};
  VolumeShift& shift = clocks_->of(*this, look.root).shift;
  if (shift.refuted()) return {};
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto version, state_.journal->version(*open, old->node, kHead));
  if (version && version->stat == stat) shift.add(stat, stat);
  return {};
}

void Engine::note_shift(size_t index, const FileStat& before, const FileStat& now) {
  if (offline_.looking()) clocks_->of(*this, index).shift.add(before, now);
}

// An mtime that the file system's own clock has yet to reach.
uint32_t Engine::future_flag(size_t index, const FileStat& stat) {
  const Clocks::OfRoot& of = clocks_->of(*this, index);
  const int64_t now_ns = clocks_->now_of(of, clock_.wall_ns()) + of.teller.told_ns().value_or(0);
  return stat.mtime_ns > now_ns + of.granularity_ns ? kFlagFutureMtime : 0u;
}

// All roots have been looked through since the start: what that found gets its one line.
Status Engine::finish_offline() {
  const auto note = offline_.finish();
  if (!note) return {};
  Record record;
  record.kind = RecordKind::kService;
  record.note = *note;
  TRY(append(record));
  for (size_t i = 0; i < clocks_->roots.size(); ++i) {
    const VolumeShift& shift = clocks_->roots[i].shift;
    const auto amount_ns = shift.amount_ns();
    if (!amount_ns) continue;
    const std::string words = "the times of all " + std::to_string(shift.files()) + " files of " +
                              display_path(roots_[i]->spec.path) + " moved " +
                              (*amount_ns < 0 ? "back" : "forward") + " by " +
                              words_for_duration(std::abs(*amount_ns)) +
                              " (another time zone?); their contents were read and are the same";
    log_.write({LogLevel::kWarn, LogKind::kClock, words, roots_[i]->spec.name, "", 0});
    TRY(journal_amount(RecordKind::kVolumeTimeShift, roots_[i]->root.node, *amount_ns, words));
  }
  return {};
}

void Engine::batch_committed() {
  if (offline_.committed()) log_.info(words_for_offline(*offline_.report()));
}

// What a record told of is told again.
void Engine::batch_undone() {
  offline_.undone();
  clocks_->file_system.forget();
  clocks_->probe_ns = 0;
  for (Clocks::OfRoot& root : clocks_->roots) root.teller.forget();
}

void Engine::clock_status(EngineStatus& status) const {
  const Clocks& clocks = *clocks_;
  status.offline = offline_.report();
  status.clock.steps = clocks.steps;
  status.clock.last_step_ns = clocks.last_step_ns;
  const auto standing = [&](const SkewTeller& teller, const std::string& of,
                            const std::string& root, const std::string& whose) {
    const auto told_ns = teller.told_ns();
    if (!told_ns) return;
    status.clock.skews.push_back({of, root, *told_ns});
    if (std::abs(*told_ns) < kSkewCriticalNs) return;
    status.problems.push_back({"clock",
                               words_for_skew({*told_ns, false}, whose) +
                                   ": correct the one that is wrong (NTP); the order of the "
                                   "journal does not depend on it, times of files do",
                               root, of});
  };
  standing(clocks.file_system, "file_system", "", "the file system of the state");
  for (size_t i = 0; i < clocks.roots.size(); ++i) {
    standing(clocks.roots[i].teller, "writer", roots_[i]->spec.name,
             "who stamps the files of " + display_path(roots_[i]->spec.path));
  }
}

}  // namespace holdfast
