// The engine's judgement: what kind of change a capture shows, and what becomes of a finding that
// must not replace the last good version.
#include <algorithm>

#include "base/bytes.h"
#include "base/path.h"
#include "journal/verdict.h"
#include "service/engine.h"
#include "service/engine_parts.h"
#include "service/verify_read.h"

namespace holdfast {

namespace {

// How long a reading that only damage explains must stay what it is before it is damage, where a
// writer may be about.
constexpr int64_t kConfirmNs = 5'000'000'000;
constexpr int64_t kConfirmRetryNs = 1'000'000'000;
constexpr size_t kUnconfirmedMax = 4096;
constexpr int kHistoryMax = 1000;  // versions of a path that are searched for an earlier content

// What a finding's note begins with: what is on the disk.
std::string words_of_content(const Record& record) {
  return std::to_string(record.stat.size) +
         " bytes, xxh3:" + to_hex(record.hash.bytes.data(), record.hash.bytes.size());
}

std::string words_of_damage(const Record& record) {
  return "on disk are " + words_of_content(record) + ";";
}

}  // namespace

// Whether an event announced a change of the file's content.
Told Engine::told_of(const Look& look, const std::string& name, const FileStat& stat) const {
  const auto in = [&](const std::vector<std::string>& names) {
    return std::binary_search(names.begin(), names.end(), name);
  };
  const RootState& root = *roots_[look.root];
  if (root.polled || root.unwatched_many || root.unwatched.contains(look.dir)) {
    return Told::kUncovered;  // nobody tells of anything here
  }
  if (in(look.untold)) return Told::kUnseen;
  // Of a file with several names, the event may have named another one.
  return in(look.attributes_only) && stat.nlink < 2 ? Told::kUnseen : Told::kSeen;
}

// Whether a file whose stamps have not moved may have changed nevertheless.
bool Engine::read_again(const Look& look, const Record& version, Told told) const {
  if ((version.flags & (kFlagUnstable | kFlagRacy)) != 0) return true;
  if ((version.flags & kFlagNotKept) != 0) return space_->judged.state != SpaceState::kStopped;
  const bool told_by_name = !look.all && told == Told::kSeen;
  // A database whose log an event or a doubt may be about. What a look at everything finds is told
  // by the log (is_sidecar()).
  if ((version.flags & kFlagLive) != 0 && !look.all) return true;
  if ((version.flags & kFlagUnproven) != 0) {
    return !look.all || !databases_.unproven.contains({look.dir, version.name});
  }
  if ((version.flags & kFlagWriter) != 0) return told_by_name || look.offline;
  return (version.flags & kFlagUnprobed) != 0 && told_by_name;
}

Status Engine::judge(size_t index, const Record& before, bool same_identity,
                     const CaptureResult& result, Record& record) {
  Evidence evidence = evidence_of(before, record);
  evidence.same_identity = same_identity;
  evidence.told = (record.flags & kFlagOffline) != 0 ? Told::kUncovered : result.told;
  evidence.clean_baseline = evidence.clean_baseline && roots_[index]->fs.stamps_trusted;
  // The same writing set the mtime of what was read in the middle of it: an unpacker at work.
  const bool midway = (before.flags & (kFlagWriter | kFlagUnstable)) != 0;
  if (midway && evidence.told == Told::kSeen && evidence.mtime == Stamp::kEarlier) {
    evidence.mtime = Stamp::kSame;
  }
  evidence.clock_set_back = before.seq < incidents_.set_back;
  evidence.unclean_boot = before.seq < incidents_.unclean_boot;
  if (result.state == CaptureState::kUnstable) evidence.reading = Reading::kUnsettled;
  if (result.state == CaptureState::kUnreadable) {
    if (!is_of_medium(result.problem_errno)) {  // what may not be read is not judged
      record.verdict = Verdict::kNone;
      return {};
    }
    evidence.reading = Reading::kFailed;
  }
  std::optional<Sequence> known;
  if (evidence.mtime == Stamp::kEarlier && !evidence.same_content) {
    TRY_ASSIGN(known, earlier_version(record, before.node));
  }
  evidence.known_content = known.has_value();
  record.verdict = classify(evidence);
  // The stamps of a database say nothing of what is in its log.
  const bool live = ((before.flags | record.flags) & kFlagLive) != 0;
  if (live && evidence.reading == Reading::kSound && same_identity && !evidence.same_content) {
    record.verdict = evidence.told == Told::kUncovered ? Verdict::kModifiedOffline
                     : evidence.told == Told::kUnseen  ? Verdict::kModifiedUnseen
                                                       : Verdict::kModified;
  }
  if (record.verdict == Verdict::kRestoredOlder) {
    record.note = "the content of @" + std::to_string(known->value);
  }
  TRY_ASSIGN(const bool own, is_own_write(index, record));
  if (own) record.flags |= kFlagOwn;
  return {};
}

// The newest record before of this path, or of its node, with that content.
Result<std::optional<Sequence>> Engine::earlier_version(const Record& record, NodeId node) {
  TRY_ASSIGN(WriteTxn * open, txn());
  std::vector<NodeId> nodes{node};
  TRY_ASSIGN(const auto spans, state_.journal->name_spans(*open, record.parent, record.name));
  for (const auto& span : spans) {
    if (span.node.value != 0 && span.node != node) nodes.push_back(span.node);
  }
  std::optional<Sequence> found;
  int searched = 0;
  for (const NodeId candidate : nodes) {
    TRY(state_.journal->for_each_version(*open, candidate, true, [&](const Record& version) {
      if (version.hash == record.hash && version.content == record.content &&
          version.stat.size == record.stat.size) {
        found = version.seq;
      }
      return found || ++searched >= kHistoryMax ? Visit::kStop : Visit::kContinue;
    }));
    if (found || searched >= kHistoryMax) return found;
  }
  return found;
}

// Whether the restore in place or the seed that is under way put it there.
Result<bool> Engine::is_own_write(size_t index, const Record& record) {
  const RootState& root = *roots_[index];
  if (root.own_inodes.contains(record.stat.inode)) return true;
  if (root.own_at.value == 0) return false;
  TRY_ASSIGN(WriteTxn * open, txn());
  auto dir = state_.journal->dir_path(*open, record.parent, kHead);
  if (!dir.ok()) return false;
  auto there =
      state_.journal->locate(*open, root.root.node, join_path(*dir, record.name), root.own_at);
  if (!there.ok()) return false;
  TRY_ASSIGN(const auto version, state_.journal->version(*open, there->node, root.own_at));
  return version && version->hash == record.hash && version->content == record.content &&
         version->stat.mtime_ns == record.stat.mtime_ns;
}

// Whether the content is the damaged one of an open verdict.
Result<bool> Engine::is_known_damage(const Record& before, const Record& now) {
  if (now.content == before.content && now.hash == before.hash) return false;
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto standing, state_.journal->standing_of(*open, before.node));
  if (!standing || !is_corruption(standing->verdict)) return false;
  TRY_ASSIGN(const Record finding, state_.journal->record(*open, standing->since));
  return finding.note.starts_with(words_of_damage(now));
}

// Where the content is the damaged one of an open verdict, `now` gets the good one of before:
// damage must not become a version because the file's name or attributes changed.
Result<bool> Engine::keep_good_content(const Record& before, Record& now) {
  TRY_ASSIGN(const bool damaged, is_known_damage(before, now));
  if (!damaged) return false;
  now.content = before.content;
  now.hash = before.hash;
  now.stat.size = before.stat.size;
  return true;
}

// A shrinking file has its new size before its stamps move (ext4, xfs: setattr), so that for a
// moment it looks like damage; who truncates has it open for writing all the while. Where there is
// a writer, or none can be asked for, the file is read again until the reading has lasted.
bool Engine::is_to_be_confirmed(size_t index, const CaptureResult& result, Record& record) {
  const std::pair key(result.dir, result.name);
  const auto known = unconfirmed_.find(key);
  const bool writer = (result.doubts & (kFlagWriter | kFlagUnprobed)) != 0;
  const bool same = known != unconfirmed_.end() && known->second.hash == record.hash;
  const int64_t now = clock_.boottime_ns();
  const bool lasted = same && now - known->second.since_ns >= kConfirmNs;
  const bool damage = is_corruption(record.verdict);
  if (!damage || !writer || lasted) {
    if (known == unconfirmed_.end()) return false;
    if (damage && known->second.offline) record.flags |= kFlagOffline;
    unconfirmed_.erase(known);
    return false;
  }
  if (!same) {
    if (unconfirmed_.size() >= kUnconfirmedMax) unconfirmed_.clear();
    unconfirmed_[key] = {record.hash, now, (record.flags & kFlagOffline) != 0};
  }
  roots_[index]->dirty->add_doubt(result.dir, result.name, epoch_, now + kConfirmRetryNs);
  return true;
}

// Journals a verdict that the file's version must survive: the record carries the version of
// before, and says in words what is on the disk. Told once for each version.
Status Engine::journal_finding(size_t index, const Record& before, const Record& now) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto standing, state_.journal->standing_of(*open, before.node));
  const bool graver = standing && is_corruption(now.verdict) && !is_corruption(standing->verdict);
  if (standing && !graver) {
    TRY_ASSIGN(const Record told, state_.journal->record(*open, standing->since));
    if (told.content == before.content && told.hash == before.hash) return {};
  }
  Record record = before;
  record.kind = RecordKind::kVerify;
  record.verdict = now.verdict;
  record.prev = before.seq;
  record.root = roots_[index]->root.node;
  record.parent = now.parent;
  record.name = now.name;
  record.from_parent = {};
  record.from_name.clear();
  record.flags = (before.flags & (kFlagsOfContent | kFlagMtimeSet)) | (now.flags & kFlagOffline);
  record.note =
      now.verdict == Verdict::kReadError || now.verdict == Verdict::kUnstableMedia
          ? now.note
          : "on disk are " + words_of_content(now) + "; it should be " + words_of_content(before);
  return append(record);
}

// Into the log, at once: whoever reads it may want to act before looking at the journal.
void Engine::tell(const Record& record) {
  if (!record.is_node_record()) return;
  auto open = txn();
  if (!open.ok()) return;
  const auto dir = state_.journal->dir_path(**open, record.parent, kHead);
  const std::string path = join_path(dir.ok() ? *dir : "?", record.name);
  for (const auto& root : roots_) {
    if (root->root.node != record.root) continue;
    const std::string text = display_path(join_path(root->spec.path, path)) + ": " +
                             verdict_name(record.verdict) + " (@" +
                             std::to_string(record.seq.value) + ")" +
                             (record.note.empty() ? "" : ": " + record.note);
    LogEvent event{LogLevel::kWarn, LogKind::kSuspicion, text, root->spec.name, path,
                   record.seq.value};
    const std::string advice = text + "; holdfast verify --heal brings the last good version back";
    if (is_corruption(record.verdict)) {
      event.level = LogLevel::kError;
      event.kind = LogKind::kCorruption;
      event.message = advice;
    }
    log_.write(event);
  }
}

// What later verdicts have to know of this record.
Status Engine::note_incidents(const Record& record, WriteTxn& open) {
  if (is_told(record.verdict) && record.is_node_record()) {
    TRY_ASSIGN(const auto standing, state_.journal->standing_of(open, record.node));
    const bool opened = standing && standing->since == record.seq;
    if (opened || !stands(record.verdict)) tell(record);  // once for each that stays open
  }
  if (record.kind == RecordKind::kClockStep || record.kind == RecordKind::kService) {
    TRY_ASSIGN(incidents_, state_.journal->incidents(open));
  }
  return {};
}

}  // namespace holdfast
