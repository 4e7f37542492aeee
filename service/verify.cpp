#include "service/verify.h"

#include <fcntl.h>

#include <algorithm>
#include <thread>

#include "base/path.h"
#include "service/capture.h"
#include "service/engine.h"

namespace holdfast {

namespace {

constexpr size_t kItemsMax = 4096;  // read before what they showed is journaled
constexpr int64_t kNoTimeout = INT64_MAX / 4;
constexpr int kUnsettledRetries = 2;

std::string loss_of(const Record& version, const FileReport& report) {
  if (report.missing) return "missing";
  if (version.type != FileType::kFile) return report.verdict == Verdict::kOk ? "" : "changed";
  if (report.now.type != version.type) return "changed";
  const uint64_t was = version.stat.size, is = report.now.stat.size;
  if (is == 0 && was > 0) return "empty";
  if (is < was) return "shortened";
  return "changed";
}

bool is_problem(const std::string& loss, Verdict verdict) {
  if (stands(verdict)) return true;
  return loss == "missing" || loss == "empty" || loss == "shortened";
}

}  // namespace

void Verifier::cancel() {
  cancelled_ = true;
  rate_.stop();
}

Result<FsTraits> Verifier::open_root(const Root& root, Fd& fd) {
  TRY_ASSIGN(fd, open_directory(root.path));
  return fs_traits_of(fd.get());
}

void Verifier::add(const VerifyItem& item, const FileReport& report, Verdict verdict, Sequence seq,
                   VerifyResult& into) {
  std::lock_guard lock(mutex_);
  ++into.verdicts[verdict_name(verdict)];
  if (verdict == Verdict::kOk && !report.missing) return;
  VerifyFinding finding;
  const bool content = verdict != Verdict::kAttrOnly && verdict != Verdict::kTimeOnly &&
                       verdict != Verdict::kReplacedSame && verdict != Verdict::kUnstable;
  if (report.missing || content) finding.loss = loss_of(item.version, report);
  if (finding.loss == "changed" && is_corruption(verdict)) finding.loss = "corrupt";
  if (!report.missing && !content && verdict != Verdict::kUnstable) return;  // nothing is lost
  if (!finding.loss.empty()) ++into.losses[finding.loss];
  finding.problem = is_problem(finding.loss, verdict);
  if (finding.problem) ++into.problems;
  finding.root = item.root;
  finding.path = item.path;
  finding.verdict = verdict_name(verdict);
  finding.note = report.note;
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
  const bool ends = report.verdict == Verdict::kOk && item.version.kind == RecordKind::kVerify &&
                    ends_by_itself(item.version.verdict);
  if (!options_.judge_only &&
      (ends || report.verdict == Verdict::kSuspect || stands(report.verdict))) {
    std::lock_guard lock(mutex_);
    found_.push_back({item, std::move(report)});
    return;
  }
  add(item, report, report.verdict, {}, into);
}

void Verifier::work(std::vector<VerifyItem>& items, std::atomic<size_t>& next, VerifyResult& into) {
  if (options_.idle) become_idle();
  DiskReader reader(rate_, cancelled_);
  for (size_t i = next++; i < items.size() && !cancelled_; i = next++) {
    VerifyItem& item = items[i];
    FileReport report;
    if (!item.dir_fd) {
      report.moved = report.missing = true;
      report.note = "its directory is not there";
    } else {
      for (int attempt = 0;; ++attempt) {
        report = reader.verify(item.dir_fd->get(), item.name, item.version, item.fs);
        if (report.verdict != Verdict::kUnstable || attempt >= kUnsettledRetries) break;
      }
    }
    if (cancelled_) return;
    take(item, std::move(report), into);
    item.dir_fd.reset();
  }
}

Status Verifier::run(const Source& more, VerifyResult& into) {
  for (bool left = true; left && !cancelled_;) {
    std::vector<VerifyItem> items;
    TRY_ASSIGN(left, more(items));
    std::atomic<size_t> next{0};
    std::vector<std::thread> threads;
    for (size_t i = 0; i < options_.workers; ++i) {
      threads.emplace_back([&] { work(items, next, into); });
    }
    for (std::thread& thread : threads) thread.join();
    TRY(journal_found(into));
    TRY(look_at_moved(into));
  }
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

// What has other stamps than the journal says is looked at by the engine. Where nobody watches,
// nothing may be journaled as found: it is only compared.
Status Verifier::look_at_moved(VerifyResult& into) {
  std::vector<Moved> moved = std::exchange(moved_, {});
  if (moved.empty()) return {};
  if (!gate_.watches() || options_.judge_only) {
    for (const Moved& entry : moved) {
      Evidence evidence;
      evidence.told = Told::kUncovered;
      evidence.same_content = evidence.same_size = entry.report.now.hash == entry.item.version.hash;
      const bool read = !entry.report.missing && entry.item.version.type == FileType::kFile &&
                        entry.report.now.type == FileType::kFile;
      Record now = entry.report.now;
      if (read && entry.item.dir_fd) {
        DiskReader reader(rate_, cancelled_);
        auto hash = reader.hash(entry.item.dir_fd->get(), entry.item.name, false);
        if (hash.ok()) now.hash = *hash;
        counts_.bytes += now.stat.size;
      }
      if (now.hash != entry.item.version.hash) now.content = {};
      evidence = evidence_of(entry.item.version, now);
      evidence.told = Told::kUncovered;
      evidence.same_identity = now.stat.inode == entry.item.version.stat.inode;
      Verdict verdict = entry.report.missing ? Verdict::kNone : classify(evidence);
      // Of another moment only what a restore brings back is compared.
      const bool there = options_.judge_only && evidence.same_content && evidence.same_size &&
                         evidence.mtime == Stamp::kSame && !entry.report.missing;
      if (there) verdict = Verdict::kOk;
      add(entry.item, entry.report, verdict, {}, into);
    }
    return {};
  }
  for (const Moved& entry : moved) {
    const Record version = entry.item.version;
    TRY(gate_.with_engine([version](Engine& engine, const Gate::Done& done) {
      engine.doubt(version.root, version.parent, version.name);
      done({});
    }));
  }
  auto flushed = gate_.flush(kNoTimeout);
  if (!flushed.ok() && flushed.error().code != ErrorCode::kChanged) return flushed.error();
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  for (const Moved& entry : moved) {
    TRY_ASSIGN(const auto newest,
               state_.journal->version(*txn, entry.item.version.node, Sequence{~0ull}));
    if (!newest) continue;
    FileReport report = entry.report;
    const bool deleted = newest->kind == RecordKind::kDelete;
    // A delete that an event told of, just now, is somebody's will and no loss.
    if (deleted && (newest->flags & kFlagOffline) == 0) continue;
    report.missing = deleted || (entry.report.missing && !flushed.ok());
    Verdict verdict = newest->verdict;
    if (newest->seq == entry.item.version.seq) {
      // A standing verdict is not journaled twice.
      TRY_ASSIGN(const auto standing, state_.journal->standing_of(*txn, newest->node));
      verdict = standing ? standing->verdict : Verdict::kOk;
    }
    report.now.stat = newest->stat;
    // An ordinary change that an event told of, just now.
    if (verdict == Verdict::kModified || verdict == Verdict::kReplaced) verdict = Verdict::kOk;
    if (report.note.empty()) report.note = newest->note;
    add(entry.item, report, verdict, newest->seq, into);
  }
  return {};
}

Status Verifier::list_dir(const Root& root, NodeId dir, const std::string& path, Sequence at,
                          std::vector<VerifyItem>& items,
                          std::vector<std::pair<NodeId, std::string>>& below) {
  std::vector<Entry> entries;
  std::vector<Record> versions;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY(state_.journal->for_each_entry(*txn, dir, at, [&](const Entry& entry) {
      entries.push_back(entry);
      return Visit::kContinue;
    }));
    for (const Entry& entry : entries) {
      TRY_ASSIGN(auto version, state_.journal->version(*txn, entry.node, at));
      versions.push_back(version ? std::move(*version) : Record{});
    }
  }
  Fd root_fd;
  std::shared_ptr<Fd> dir_fd;
  FsTraits fs;
  if (auto traits = open_root(root, root_fd); traits.ok()) {
    fs = std::move(*traits);
    auto fd = open_beneath(root_fd.get(), path, O_PATH | O_DIRECTORY);
    if (fd.ok()) dir_fd = std::make_shared<Fd>(std::move(*fd));
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!versions[i].is_node_record()) continue;
    VerifyItem item;
    item.root = root;
    item.fs = fs;
    item.dir_fd = dir_fd;
    item.path = join_path(path, entries[i].name);
    item.name = entries[i].name;
    item.version = std::move(versions[i]);
    item.version.parent = dir;
    item.version.name = entries[i].name;
    if (entries[i].type == FileType::kDir) below.emplace_back(entries[i].node, item.path);
    items.push_back(std::move(item));
  }
  return {};
}

Result<VerifyResult> Verifier::verify_paths(const std::vector<UserPath>& paths, Sequence at) {
  VerifyResult result;
  struct Level {
    Root root;
    NodeId dir;
    std::string path;
  };
  std::vector<Level> stack;
  std::vector<VerifyItem> single;
  for (const UserPath& path : paths) {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    auto found = state_.journal->locate(*txn, path.root.node, path.relative, at);
    if (!found.ok()) return found.error().in("looking at @" + std::to_string(at.value));
    if (found->type == FileType::kDir) {
      stack.push_back({path.root, found->node, path.relative});
      continue;
    }
    TRY_ASSIGN(auto version, state_.journal->version(*txn, found->node, at));
    if (!version) continue;
    Fd root_fd;
    VerifyItem item;
    item.root = path.root;
    item.path = path.relative;
    item.name = found->name;
    item.version = std::move(*version);
    item.version.parent = found->parent;
    item.version.name = found->name;
    if (auto fs = open_root(path.root, root_fd); fs.ok()) {
      item.fs = std::move(*fs);
      const std::string dir(split_last(path.relative).first);
      auto fd = open_beneath(root_fd.get(), dir, O_PATH | O_DIRECTORY);
      if (fd.ok()) item.dir_fd = std::make_shared<Fd>(std::move(*fd));
    }
    single.push_back(std::move(item));
  }
  const Source more = [&](std::vector<VerifyItem>& items) -> Result<bool> {
    items = std::exchange(single, {});
    while (!stack.empty() && items.size() < kItemsMax) {
      const Level level = std::move(stack.back());
      stack.pop_back();
      std::vector<std::pair<NodeId, std::string>> below;
      TRY(list_dir(level.root, level.dir, level.path, at, items, below));
      for (auto dir = below.rbegin(); dir != below.rend(); ++dir) {
        stack.push_back({level.root, dir->first, dir->second});
      }
    }
    return !stack.empty();
  };
  TRY(run(more, result));
  return result;
}

Result<std::optional<NodeId>> Verifier::verify_nodes(NodeId from, size_t batch,
                                                     VerifyResult& into) {
  std::vector<VerifyItem> items;
  std::optional<NodeId> next;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
    std::map<NodeId, std::pair<Fd, FsTraits>> open;
    std::pair<NodeId, std::shared_ptr<Fd>> last_dir;
    size_t seen = 0;
    TRY(state_.journal->for_each_node(*txn, from, Sequence{~0ull}, [&](const Record& version) {
      if (++seen > 16 * batch || items.size() >= batch) {
        next = version.node;
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
      if (root == roots.end() || !dir.ok()) return Visit::kContinue;
      auto& [root_fd, fs] = open[root->node];
      if (!root_fd) {
        auto traits = open_root(*root, root_fd);
        if (!traits.ok()) return Visit::kContinue;  // a lost root is told elsewhere
        fs = std::move(*traits);
      }
      if (!last_dir.second || last_dir.first != version.parent) {
        auto fd = open_beneath(root_fd.get(), *dir, O_PATH | O_DIRECTORY);
        last_dir = {version.parent, fd.ok() ? std::make_shared<Fd>(std::move(*fd)) : nullptr};
      }
      items.push_back(
          {*root, fs, last_dir.second, join_path(*dir, version.name), version.name, version});
      return Visit::kContinue;
    }));
  }
  bool given = false;
  TRY(run(
      [&](std::vector<VerifyItem>& out) -> Result<bool> {
        if (!given) out = std::move(items);
        given = true;
        return false;
      },
      into));
  return next;
}

}  // namespace holdfast
