// Which versions the kept moments see (journal/retention.h).
#include <algorithm>
#include <set>

#include "journal/internal.h"

namespace holdfast {

namespace {
// How many versions of a file are looked at for its newest contents.
constexpr size_t kNewestVersionsMax = 4096;
constexpr uint64_t kForEver = UINT64_MAX;
}  // namespace

// A row of `entries`, of one name.
struct Journal::NameRow {
  Sequence since;
  EntryValue value;
};

Result<Kept> Journal::kept(const LmdbTxn& txn, const RetentionPolicy& policy,
                           int64_t now_ns) const {
  Kept kept;
  kept.last = std::max(policy.last, 1u);
  TRY_ASSIGN(kept.since, sequence_at(txn, now_ns - policy.all_ns));
  for (const int64_t time_ns : kept_times(policy, now_ns)) {
    TRY_ASSIGN(const Sequence seq, sequence_at(txn, time_ns));
    kept.moments.push_back(seq);
  }
  TRY_ASSIGN(const auto pinned, snapshots(txn));
  for (const Snapshot& snapshot : pinned) kept.moments.push_back(snapshot.seq);
  std::sort(kept.moments.begin(), kept.moments.end());
  kept.moments.erase(std::unique(kept.moments.begin(), kept.moments.end()), kept.moments.end());
  std::erase_if(kept.moments, [&](Sequence seq) { return seq.value == 0 || seq >= kept.since; });
  return kept;
}

Result<bool> Journal::visit_kept(const LmdbTxn& txn, const Kept& kept, std::string& position,
                                 size_t rows_max,
                                 const std::function<Status(const Record&)>& visit) const {
  TRY_ASSIGN(Cursor at, Cursor::open(txn, entries_));
  TRY_ASSIGN(bool found, position.empty() ? at.first() : at.seek_at_or_after(position));
  NodeId parent;
  std::string name;
  std::vector<NameRow> rows;
  for (size_t seen = 0; found; ++seen) {
    const auto key = parse_entry_key(at.key());
    const auto value = parse_entry_value(at.value());
    if (!key || !value) return damaged_row("entries", printable(at.key()));
    if (!rows.empty() && (key->parent != parent || key->name != name)) {
      TRY(visit_name(txn, kept, rows, visit));
      rows.clear();
      if (seen >= rows_max) {
        position = at.key();
        return true;
      }
    }
    if (rows.empty()) {
      parent = key->parent;
      name = key->name;
    }
    rows.push_back({key->seq, *value});
    TRY_ASSIGN(found, at.next());
  }
  if (!rows.empty()) TRY(visit_name(txn, kept, rows, visit));
  // The good version of a file with an open verdict, whatever became of its name.
  TRY_ASSIGN(const auto open, standing(txn));
  for (const Standing& verdict : open) {
    TRY_ASSIGN(const Record good, record(txn, verdict.since));
    TRY(visit(good));
  }
  return false;
}

// All that was ever there under one name, oldest first.
Status Journal::visit_name(const LmdbTxn& txn, const Kept& kept, const std::vector<NameRow>& rows,
                           const std::function<Status(const Record&)>& visit) const {
  std::vector<Sequence> versions;
  bool newest_kept = true;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& [since, value] = rows[i];
    if (value.node.value == 0 || value.type != FileType::kFile) continue;
    const uint64_t until = i + 1 < rows.size() ? rows[i + 1].since.value : kForEver;
    TRY_ASSIGN(Cursor at, Cursor::open(txn, versions_));
    TRY_ASSIGN(bool found, at.seek_at_or_before(version_key(value.node, since)));
    if (!found) continue;
    auto version = parse_version_key(at.key());
    while (version && version->node == value.node && version->seq.value < until) {
      TRY_ASSIGN(found, at.next());
      const auto next = found ? parse_version_key(at.key()) : std::nullopt;
      uint64_t end = until;
      if (next && next->node == value.node) end = std::min(end, next->seq.value);
      versions.push_back(version->seq);
      const Sequence from = std::max(version->seq, since);
      if (from.value < end && kept.sees(from, Sequence{end == kForEver ? 0 : end})) {
        TRY_ASSIGN(const Record seen, record(txn, version->seq));
        newest_kept = (seen.flags & kFlagNotKept) == 0;
        TRY(visit(seen));
      }
      version = next;
    }
  }
  // The last one that the store has outlives those that it had no room for.
  if ((kept.last < 2 && newest_kept) || rows.back().value.node.value == 0) return {};
  // The newest contents under a name that leads somewhere now.
  std::vector<ContentRef> contents;
  const size_t oldest = versions.size() - std::min(versions.size(), kNewestVersionsMax);
  for (size_t i = versions.size(); i > oldest && contents.size() < std::max(kept.last, 1u); --i) {
    TRY_ASSIGN(const Record version, record(txn, versions[i - 1]));
    constexpr uint32_t kNone = kFlagRejected | kFlagNotKept;
    if ((version.flags & kNone) != 0) continue;  // not in the place of a good one
    if (std::find(contents.begin(), contents.end(), version.content) != contents.end()) continue;
    contents.push_back(version.content);
    TRY(visit(version));
  }
  return {};
}

Result<bool> Journal::is_seen(const LmdbTxn& txn, const Record& version, const Kept& kept) const {
  uint64_t end = kForEver;
  std::set<std::pair<NodeId, std::string>> names;
  TRY(for_each_version(txn, version.node, false, [&](const Record& other) {
    if (makes_name(other)) names.emplace(other.parent, other.name);
    if (other.seq > version.seq) end = std::min(end, other.seq.value);
    return Visit::kContinue;
  }));
  for (const auto& [parent, name] : names) {
    TRY_ASSIGN(const auto spans, name_spans(txn, parent, name));
    for (const NameSpan& span : spans) {
      if (span.node != version.node) continue;
      const Sequence from = std::max(version.seq, span.since);
      const uint64_t until = std::min(end, span.until.value == 0 ? kForEver : span.until.value);
      if (from.value < until && kept.sees(from, Sequence{until == kForEver ? 0 : until}))
        return true;
    }
  }
  return false;
}

}  // namespace holdfast
