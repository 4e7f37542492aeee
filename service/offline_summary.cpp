#include "service/offline_summary.h"

#include "journal/verdict.h"

#include <algorithm>

#include "service/words.h"

namespace holdfast {

namespace {
void list(std::string& text, uint64_t count, const std::string& what) {
  if (count == 0) return;
  if (!text.empty()) text += ", ";
  text += std::to_string(count) + " " + what;
}
}  // namespace

void OfflineCounts::add(const Record& record) {
  if ((record.flags & kFlagOffline) == 0) return;
  if (is_told(record.verdict) || record.verdict == Verdict::kSuspect) {
    ++verdicts[verdict_name(record.verdict)];
    return;
  }
  const bool replaced = (record.flags & kFlagReplaced) != 0;
  switch (record.kind) {
    case RecordKind::kCreate:
    case RecordKind::kLink: ++(replaced ? changed : created); break;
    case RecordKind::kModify: ++changed; break;
    case RecordKind::kRename: ++moved; break;
    case RecordKind::kDelete: ++deleted; break;
    case RecordKind::kAttrib:
      if (record.type != FileType::kDir) ++attrib;
      break;
    default: break;
  }
}

void OfflineCounts::add(const OfflineCounts& other) {
  changed += other.changed;
  created += other.created;
  deleted += other.deleted;
  moved += other.moved;
  attrib += other.attrib;
  for (const auto& [name, count] : other.verdicts) verdicts[name] += count;
}

std::string words_for_offline(const OfflineReport& report) {
  std::string text = "while the service was off, ";
  if (!report.off_ns) {
    text += "for an unknown time (the clock went back)";
  } else {
    text += (report.at_most ? "at most " : "") + words_for_duration(*report.off_ns);
  }
  const OfflineCounts& counts = report.counts;
  std::string found;
  list(found, counts.changed, "changed");
  list(found, counts.created, "new");
  list(found, counts.deleted, "gone");
  list(found, counts.moved, "moved");
  list(found, counts.attrib, "with other attributes");
  for (const auto& [name, count] : counts.verdicts) list(found, count, name);
  return text + ": " + (found.empty() ? "nothing changed" : found);
}

void OfflineSummary::appended(const Record& record) {
  if (report_ && !report_->finished) uncommitted_.add(record);
}

std::optional<std::string> OfflineSummary::finish() {
  if (!report_ || report_->finished || finishing_) return std::nullopt;
  finishing_ = true;
  OfflineReport all = *report_;
  all.counts.add(uncommitted_);
  return words_for_offline(all);
}

bool OfflineSummary::committed() {
  if (!report_ || report_->finished) return false;
  report_->counts.add(uncommitted_);
  uncommitted_ = {};
  report_->finished = finishing_;
  return finishing_;
}

void OfflineSummary::undone() {
  uncommitted_ = {};
  finishing_ = false;
}

}  // namespace holdfast
