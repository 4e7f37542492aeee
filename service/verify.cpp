#include "service/verify.h"

#include <algorithm>
#include <thread>

#include "base/clock.h"
#include "base/path.h"
#include "service/capture.h"
#include "service/engine.h"

namespace holdfast {

namespace {

constexpr int kUnsettledRetries = 2;
// How often the engine is asked about what it says nothing of; and where its directory is not found
// by the name that the journal has for it, which may be one rename behind.
constexpr int kAskRounds = 2, kAskDirRounds = 6;

std::string loss_of(const Record& version, const FileReport& report, Verdict verdict) {
  if (report.unread || verdict == Verdict::kReadError) return "unread";
  if (report.missing) return "missing";
  if (version.type != FileType::kFile) return report.verdict == Verdict::kOk ? "" : "changed";
  if (report.now.type != version.type) return "changed";
  const uint64_t was = version.stat.size, is = report.now.stat.size;
  if (is == 0 && was > 0) return "empty";
  if (is < was) return "shortened";
  return "changed";
}

bool is_problem(const std::string& loss, const Record& version, Verdict verdict) {
  if (stands(verdict)) return true;
  // Of what could never be read nothing was promised, and the journal says so.
  if (loss == "unread")
    return (version.flags & kFlagUnreadable) == 0 || version.hash != ContentHash{};
  return loss == "missing" || loss == "empty" || loss == "shortened";
}

// A change of content that an event told of, or that the engine took for one, while we verified.
// (What no event told of is a finding, and so is what stays open.)
bool is_ordinary(const Record& record) {
  switch (record.verdict) {
    case Verdict::kNone:  // another file under the name, with nothing to compare it with
    case Verdict::kModified:
    case Verdict::kModifiedNoStamp:
    case Verdict::kMtimePreserved:
    case Verdict::kReplaced:
    case Verdict::kRestoredOlder:
    case Verdict::kReplacedOlder:
    case Verdict::kRollbackSuspicious:
    case Verdict::kClockStepArtefact:
    case Verdict::kCtimeAnomaly: return (record.flags & kFlagOffline) == 0;
    default: return false;
  }
}

}  // namespace

void Verifier::cancel() {
  cancelled_ = true;
  rate_.stop();
}

void Verifier::add(const VerifyItem& item, const FileReport& report, Verdict verdict, Sequence seq,
                   VerifyResult& into) {
  std::lock_guard lock(mutex_);
  ++into.verdicts[verdict_name(verdict)];
  if (verdict == Verdict::kOk && !report.missing && !report.unread) return;
  VerifyFinding finding;
  const bool content = verdict != Verdict::kAttrOnly && verdict != Verdict::kTimeOnly &&
                       verdict != Verdict::kReplacedSame && verdict != Verdict::kUnstable;
  if (report.missing || report.unread || content)
    finding.loss = loss_of(item.version, report, verdict);
  if (finding.loss == "changed" && is_corruption(verdict)) finding.loss = "corrupt";
  if (!report.missing && !content && verdict != Verdict::kUnstable) return;  // nothing is lost
  if (!finding.loss.empty()) ++into.losses[finding.loss];
  finding.problem = is_problem(finding.loss, item.version, verdict);
  if (finding.problem) ++into.problems;
  finding.root = item.dir->root;
  finding.path = item.path;
  finding.verdict = verdict_name(verdict);
  finding.note = report.unread ? "could not be looked at: " + report.note : report.note;
  finding.node = item.version.node;
  finding.seq = seq;
  if (into.findings.size() < kVerifyFindingsMax) {
    into.findings.push_back(std::move(finding));
  } else {
    ++into.left_out;
  }
}

// On a worker: what one reading showed.
void Verifier::take(const VerifyItem& item, FileReport report, VerifyResult& into) {
  counts_.bytes += report.bytes;
  ++counts_.files;
  if (report.moved) {
    std::lock_guard lock(mutex_);
    moved_.push_back({item, std::move(report)});
    return;
  }
  const bool ends =
      !report.unread && report.verdict == Verdict::kOk && ending_.contains(item.version.node);
  if (!options_.judge_only &&
      (ends || report.verdict == Verdict::kSuspect || stands(report.verdict))) {
    std::lock_guard lock(mutex_);
    found_.push_back({item, std::move(report)});
    return;
  }
  add(item, report, report.verdict, {}, into);
}

FileReport Verifier::look(DiskReader& reader, const VerifyItem& item) {
  FileReport report;
  report.now = item.version;
  if (!item.dir->fd) {
    report.note = item.dir->why;
    report.moved = report.missing = item.dir->missing;
    if (!report.missing) report.set_unread(item.dir->why);
    return report;
  }
  for (int attempt = 0;; ++attempt) {
    report = reader.verify(item.dir->fd.get(), item.name, item.version, item.dir->fs);
    if (report.verdict != Verdict::kUnstable || attempt >= kUnsettledRetries) return report;
  }
}

void Verifier::work(std::vector<VerifyItem>& items, std::atomic<size_t>& next, VerifyResult& into) {
  if (options_.idle) become_idle();
  DiskReader reader(rate_, cancelled_);
  for (size_t i = next++; i < items.size() && !cancelled_; i = next++) {
    FileReport report = look(reader, items[i]);
    if (cancelled_) return;
    take(items[i], std::move(report), into);
    items[i].dir.reset();
  }
}

// Normally there are none. Asked of the table and not of the file's newest record: a chmod since
// makes another record, and leaves the verdict open.
Status Verifier::load_ending() {
  ending_.clear();
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  TRY_ASSIGN(const auto standing, state_.journal->standing(*txn));
  for (const Standing& row : standing) {
    if (ends_by_itself(row.verdict)) ending_.insert(row.node);
  }
  return {};
}

Status Verifier::run(std::vector<VerifyItem> items, VerifyResult& into) {
  TRY(load_ending());
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min(options_.workers, items.size()); ++i) {
    threads.emplace_back([&] { work(items, next, into); });
  }
  for (std::thread& thread : threads) thread.join();
  TRY(journal_found(into));
  TRY(look_at_moved(into));
  TRY(journal_found(into));  // what the second look at them showed
  if (cancelled_) return make_error(ErrorCode::kInterrupted, "interrupted");
  return {};
}

// Hands the workers' findings to the engine, one after the other: there are few.
Status Verifier::journal_found(VerifyResult& into) {
  std::vector<Moved> found = std::exchange(found_, {});
  for (Moved& moved : found) {
    const Verdict verdict = moved.report.verdict;
    auto now = std::make_shared<Record>(moved.report.now);
    now->verdict = verdict;
    now->note = moved.report.note;
    auto reported = std::make_shared<bool>(false);
    const Record version = moved.item.version;
    Status told;
    if (verdict == Verdict::kSuspect) {
      const auto read = gate_.read_anew(version, Engine::Reread::kSuspect);
      told = read.ok() ? Status() : Status(read.error());
      *reported = told.ok();
      if (!told.ok() && told.error().code != ErrorCode::kInterrupted) told = {};
    } else {
      told = gate_.with_engine([version, now, reported](Engine& engine, const Gate::Done& done) {
        auto result = engine.report(version, *now);
        if (result.ok()) *reported = *result;
        done(result.ok() ? Status() : Status(result.error()));
      });
    }
    TRY(told);
    if (!*reported) moved.report.verdict = Verdict::kUnstable;  // it changed a moment ago
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY_ASSIGN(const auto newest, state_.journal->version(*txn, version.node, Sequence{~0ull}));
    add(moved.item, moved.report, moved.report.verdict, newest ? newest->seq : Sequence{}, into);
  }
  return {};
}

// Where nobody watches, nothing may be journaled as found: it is only compared. Nor of a moment
// that is not the present.
void Verifier::compare_moved(Moved moved, VerifyResult& into) {
  const Record& version = moved.item.version;
  FileReport& report = moved.report;
  Record& now = report.now;
  const bool file = version.type == FileType::kFile && now.type == FileType::kFile;
  if (file && !report.missing) {
    now.hash = {};  // was the version's
    DiskReader reader(rate_, cancelled_);
    auto hash = reader.hash_shown(moved.item.dir->fd.get(), moved.item.name, moved.item.dir->fs);
    counts_.bytes += now.stat.size;
    if (hash.ok()) {
      now.hash = *hash;
      if (*hash == version.hash) now.stat.size = version.stat.size;
    } else if (hash.error().code == ErrorCode::kNotFound) {
      report.missing = true;
      report.note = hash.error().message;
    } else if (is_of_medium(hash.error().sys_errno)) {
      report.note = hash.error().message;
      return add(moved.item, report, Verdict::kReadError, {}, into);
    } else {
      report.set_unread(hash.error().message);
    }
  }
  if (report.missing || report.unread) return add(moved.item, report, Verdict::kNone, {}, into);
  if (now.hash != version.hash) now.content = {};
  Evidence evidence = evidence_of(version, now);
  evidence.told = Told::kUncovered;
  evidence.same_identity = now.stat.inode == version.stat.inode;
  // Of another moment only what a restore brings back is compared.
  const bool there = options_.judge_only && evidence.same_content && evidence.same_size &&
                     evidence.mtime == Stamp::kSame && now.type == version.type;
  add(moved.item, report, there ? Verdict::kOk : classify(evidence), {}, into);
}

// What has other stamps than the journal says is looked at by the engine. What it says nothing of
// may have become what it was, or be changing right now: that is looked at, and asked for, again.
Status Verifier::look_at_moved(VerifyResult& into) {
  std::vector<Moved> moved = std::exchange(moved_, {});
  if (!gate_.watches() || options_.judge_only) {
    for (Moved& entry : moved) {
      if (cancelled_) return {};
      compare_moved(std::move(entry), into);
    }
    return {};
  }
  for (int round = 1; !moved.empty() && !cancelled_; ++round) {
    TRY(ask_engine(moved, round, into));
  }
  return {};
}

// Leaves those that are to be asked for again.
Status Verifier::ask_engine(std::vector<Moved>& moved, int round, VerifyResult& into) {
  for (const Moved& entry : moved) {
    const Record& version = entry.item.version;
    TRY(gate_.with_engine([root = version.root, dir = version.parent, name = version.name](
                              Engine& engine, const Gate::Done& done) {
      engine.doubt(root, dir, name);
      done({});
    }));
  }
  auto flushed = gate_.flush(kNoTimeout);
  if (!flushed.ok() && flushed.error().code != ErrorCode::kChanged) return flushed.error();
  std::vector<Moved> silent;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    for (Moved& entry : moved) {
      TRY_ASSIGN(const bool judged, judge_asked(*txn, entry, !flushed.ok(), into));
      if (!judged) silent.push_back(std::move(entry));
    }
    TRY(reopen_moved_dirs(*txn, silent));
  }
  moved.clear();
  DiskReader reader(rate_, cancelled_);
  for (Moved& entry : silent) {
    if (cancelled_) return {};
    entry.report = look(reader, entry.item);
    if (!entry.report.moved) {
      --counts_.files;  // once is enough
      take(entry.item, std::move(entry.report), into);
    } else if (round < (entry.item.dir->fd ? kAskRounds : kAskDirRounds)) {
      moved.push_back(std::move(entry));
    } else {
      const bool missing = entry.report.missing;
      entry.report.set_unread(
          std::string(missing ? "it is not there" : "its stamps are not the journal's") +
          ", and the service has found no reason to journal that");
      entry.report.missing = false;
      add(entry.item, entry.report, Verdict::kNone, {}, into);
    }
  }
  return {};
}

// A directory that was renamed after its names were taken is not where they said, and all that is
// in it is sound.
Status Verifier::reopen_moved_dirs(const LmdbTxn& txn, std::vector<Moved>& silent) {
  std::map<NodeId, std::shared_ptr<VerifyDir>> reopened;
  for (Moved& entry : silent) {
    if (entry.item.dir->fd) continue;
    std::shared_ptr<VerifyDir>& dir = reopened[entry.item.version.parent];
    if (!dir) {
      const auto path = state_.journal->dir_path(txn, entry.item.version.parent, Sequence{~0ull});
      if (!path.ok() && path.error().code != ErrorCode::kNotFound) return path.error();
      dir = path.ok() ? open_verify_dir(entry.item.dir->root, *path) : entry.item.dir;
    }
    entry.item.dir = dir;
  }
  return {};
}

// Whether the engine's answer tells what became of it; if so, it is added. `lost`: a root is.
Result<bool> Verifier::judge_asked(const LmdbTxn& txn, const Moved& moved, bool lost,
                                   VerifyResult& into) {
  const Sequence now{~0ull};
  const VerifyItem& item = moved.item;
  TRY_ASSIGN(auto newest, state_.journal->version(txn, item.version.node, now));
  if (!newest) return true;
  FileReport report = moved.report;
  if (newest->seq == item.version.seq) {
    TRY_ASSIGN(const auto standing, state_.journal->standing_of(txn, newest->node));
    TRY_ASSIGN(const auto entry,
               state_.journal->entry(txn, item.version.parent, item.version.name, now));
    // Another file took the name, which is that file's record, and has moved on since.
    if (!entry) return true;
    if (entry->node != newest->node) {  // another file has the name
      TRY_ASSIGN(newest, state_.journal->version(txn, entry->node, now));
      if (!newest) return true;
    } else if (report.missing && lost) {
      add(item, report, Verdict::kNone, newest->seq, into);
      return true;
    } else if (standing) {  // a standing verdict is not journaled twice
      add(item, report, standing->verdict, newest->seq, into);
      return true;
    } else {
      return false;
    }
  }
  const bool deleted = newest->kind == RecordKind::kDelete;
  // A delete that an event told of, just now, is somebody's will and no loss.
  if (deleted && (newest->flags & kFlagOffline) == 0) return true;
  report.missing = deleted || (report.missing && lost);
  report.now.stat = newest->stat;
  if (report.note.empty()) report.note = newest->note;
  if (newest->verdict == Verdict::kNone && (newest->flags & kFlagUnreadable) != 0) {
    report.set_unread(newest->note);
  }
  const bool ordinary = !report.unread && is_ordinary(*newest);
  const Verdict verdict = ordinary ? Verdict::kOk : newest->verdict;
  add(item, report, verdict, newest->seq, into);
  return true;
}

Result<VerifyResult> Verifier::verify_paths(const std::vector<UserPath>& paths, Sequence at) {
  VerifyResult result;
  VerifyWalk walk(state_, at);
  for (const UserPath& path : paths) TRY(walk.add(path));
  for (;;) {
    TRY_ASSIGN(std::vector<VerifyItem> items, walk.next());
    if (items.empty()) return result;
    TRY(run(std::move(items), result));
  }
}

Result<NodeBatch> Verifier::pick_nodes(NodeId from, size_t files, uint64_t bytes) {
  NodeBatch batch;
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
  std::pair<NodeId, std::shared_ptr<VerifyDir>> last_dir;
  size_t seen = 0;
  TRY(state_.journal->for_each_node(*txn, from, Sequence{~0ull}, [&](const Record& version) {
    const bool full = !batch.items.empty() && batch.bytes + version.stat.size > bytes;
    if (++seen > 16 * files || batch.items.size() >= files || full) {
      batch.next = version.node;
      return Visit::kStop;
    }
    if (version.type != FileType::kFile || version.kind == RecordKind::kDelete) {
      return Visit::kContinue;
    }
    const auto entry = state_.journal->entry(*txn, version.parent, version.name, Sequence{~0ull});
    if (!entry.ok() || !*entry || (*entry)->node != version.node) return Visit::kContinue;
    const auto root = std::find_if(roots.begin(), roots.end(), [&](const Root& candidate) {
      return candidate.node == version.root;
    });
    const auto dir = state_.journal->dir_path(*txn, version.parent, Sequence{~0ull});
    if (root == roots.end() || root->is_virtual() || !dir.ok()) return Visit::kContinue;
    if (!last_dir.second || last_dir.first != version.parent) {
      last_dir = {version.parent, open_verify_dir(*root, *dir)};
    }
    if (last_dir.second->root_missing) return Visit::kContinue;  // told elsewhere
    batch.bytes += version.stat.size;
    batch.items.push_back({last_dir.second, join_path(*dir, version.name), version.name, version});
    return Visit::kContinue;
  }));
  return batch;
}

Status Verifier::verify_batch(NodeBatch batch, VerifyResult& into) {
  return run(std::move(batch.items), into);
}

}  // namespace holdfast
