#include "service/query.h"

#include <algorithm>
#include <cstdio>

#include "base/path.h"
#include "journal/time_spec.h"
#include "service/skew.h"

namespace holdfast {

Result<Moment> Query::moment(std::string_view text, int64_t now_wall_ns) const {
  TRY_ASSIGN(const Head head, state_.journal->head(txn_));
  if (text.empty()) return Moment{head.seq, head.time_ns};
  TRY_ASSIGN(const TimeSpec spec, parse_time_spec(text, now_wall_ns));
  Sequence seq = head.seq;
  if (const auto* wanted = std::get_if<Sequence>(&spec)) {
    if (wanted->value > head.seq.value || wanted->value == 0) {
      return make_error(ErrorCode::kNotFound,
                        "there is no sequence @" + std::to_string(wanted->value) +
                            "; the journal ends at @" + std::to_string(head.seq.value));
    }
    seq = *wanted;
  } else if (const auto* name = std::get_if<SnapshotName>(&spec)) {
    TRY_ASSIGN(const auto snapshot, state_.journal->snapshot(txn_, name->name));
    if (!snapshot) {
      return make_error(
          ErrorCode::kNotFound,
          "\"" + display_path(text) +
              "\" is neither a time nor a snapshot; holdfast "
              "snapshots lists them, and times look like @1234, \"10 minutes ago\" or "
              "2026-11-20T14:03:07Z");
    }
    seq = snapshot->seq;
  } else if (const auto* point = std::get_if<TimePoint>(&spec)) {
    TRY_ASSIGN(auto candidates, state_.journal->wall_candidates(txn_, point->wall_ns));
    // A time that is still to come, since the clock was set back, can only be meant as the one that
    // was there before.
    if (point->wall_ns > now_wall_ns && candidates.size() > 1) candidates.pop_back();
    if (candidates.size() > 1) {
      std::string names;
      for (const Sequence candidate : candidates) names += " @" + std::to_string(candidate.value);
      return make_error(ErrorCode::kUsage, "the clock was set back, and \"" + display_path(text) +
                                               "\" was there more than once; say which:" + names);
    }
    TRY_ASSIGN(seq, state_.journal->sequence_at(txn_, point->wall_ns));
    if (candidates.size() == 1) seq = candidates[0];
    if (seq.value == 0) {
      std::string begins;
      if (auto first = state_.journal->record(txn_, Sequence{1}); first.ok()) {
        begins = "; the journal begins at " + format_time(first->time_ns);
      }
      return make_error(ErrorCode::kNotFound,
                        "nothing is known of " + format_time(point->wall_ns) + begins);
    }
  }
  if (seq.value == 0) return Moment{};
  TRY_ASSIGN(const Record record, state_.journal->record(txn_, seq));
  return Moment{seq, record.time_ns};
}

Result<UserPath> Query::path(std::string_view text, std::string_view cwd) const {
  TRY_ASSIGN(const auto roots, state_.journal->roots(txn_));
  if (const size_t colon = text.find(':'); colon != std::string_view::npos && text[0] != '/') {
    for (const Root& root : roots) {
      if (root.name != text.substr(0, colon)) continue;
      TRY_ASSIGN(std::string below,
                 normalize_absolute("/" + std::string(text.substr(colon + 1)), "/"));
      return UserPath{root, below.substr(1)};
    }
  }
  TRY_ASSIGN(const std::string absolute, normalize_absolute(text, cwd));
  const Root* best = nullptr;
  for (const Root& root : roots) {
    if (!root.is_virtual() && path_below(absolute, root.path) &&
        (best == nullptr || root.path.size() > best->path.size()))
      best = &root;
  }
  if (best == nullptr) {
    std::string known;
    for (const Root& root : roots) {
      if (!root.is_virtual()) known += " " + root.name + "=" + display_path(root.path);
    }
    return make_error(ErrorCode::kNotFound, display_path(absolute) + " lies in no watched root" +
                                                (known.empty() ? "" : "; watched are:" + known));
  }
  std::string relative = absolute.substr(std::min(absolute.size(), best->path.size()));
  while (relative.starts_with("/")) relative.erase(0, 1);
  return UserPath{*best, relative};
}

Result<std::vector<Life>> Query::lives(const UserPath& path) const {
  std::vector<Life> lives{{path.root.node, FileType::kDir, Sequence{1}, Sequence{0}}};
  std::string_view rest = path.relative;
  while (!rest.empty()) {
    const size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view name = rest.substr(0, slash);
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    std::vector<Life> next;
    for (const Life& life : lives) {
      TRY_ASSIGN(const auto spans, state_.journal->name_spans(txn_, life.node, name));
      for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
        if (span->node.value == 0) continue;
        Life part{span->node, span->type, std::max(span->since, life.since), span->until};
        if (life.until.value != 0 && (part.until.value == 0 || part.until > life.until)) {
          part.until = life.until;
        }
        if (part.until.value != 0 && part.until < part.since) continue;
        next.push_back(part);
      }
    }
    lives = std::move(next);
  }
  std::sort(lives.begin(), lives.end(),
            [](const Life& a, const Life& b) { return a.since < b.since; });
  return lives;
}

const std::vector<Root>& Query::roots() {
  if (!roots_) {
    auto roots = state_.journal->roots(txn_);
    roots_ = roots.ok() ? std::move(*roots) : std::vector<Root>{};
  }
  return *roots_;
}

// Where a directory is holds for many records in a row, and to find out takes some lookups for each
// directory above it.
Result<std::string> Query::dir_path(NodeId dir, Sequence at) {
  constexpr size_t kPlacesBytesMax = 4 * 1024 * 1024;
  const auto known = places_.find(dir);
  if (known != places_.end() && known->second.since <= at &&
      (known->second.until.value == 0 || at < known->second.until)) {
    return known->second.path;
  }
  TRY_ASSIGN(Journal::DirPlace place, state_.journal->dir_place(txn_, dir, at));
  places_bytes_ += sizeof place + place.path.size();
  if (places_bytes_ > kPlacesBytesMax) {
    places_.clear();
    places_bytes_ = sizeof place + place.path.size();
  }
  return places_.insert_or_assign(dir, std::move(place)).first->second.path;
}

const std::string& Query::boot_id(uint32_t boot) {
  if (!boot_ || boot_->first != boot) {
    auto id = state_.journal->boot_id(txn_, boot);
    boot_.emplace(boot, id.ok() ? *id : "");
  }
  return boot_->second;
}

std::pair<std::string, std::string> Query::place(const Record& record) {
  std::string root_name;
  for (const Root& root : roots()) {
    if (root.node == record.root) root_name = root.name;
  }
  if (!record.is_node_record() || record.node == record.root) return {root_name, ""};
  auto dir = dir_path(record.parent, record.seq);
  if (!dir.ok()) return {root_name, "?/" + record.name};
  return {root_name, join_path(*dir, record.name)};
}

std::string Query::user_path(const Record& record) {
  const auto [root_name, path] = place(record);
  for (const Root& root : roots()) {
    if (root.node != record.root) continue;
    if (root.is_virtual()) return root.name + ":" + path;
    return path.empty() ? root.path : join_path(root.path, path);
  }
  return path;
}

void put_dump_note(Json& json, const DumpNote& note) {
  json["outcome"] = dump_outcome_name(note.outcome);
  json["exit"] = note.signal != 0 ? 128 + note.signal : note.exit_status;
  json["seconds"] = static_cast<double>(note.took_ns / 1'000'000) / 1000;
}

void put_path(Json& json, const char* key, const std::string& path) {
  json[key] = to_utf8_lossy(path);
  if (!is_utf8(path)) json[std::string(key) + "_b64"] = base64(path);
}

std::string json_line(const Json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

namespace {
Json mode_text(uint32_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", mode & 07777);
  return text;
}
std::optional<int64_t> clock_amount(const Record& record) {
  const bool of_clock = record.kind == RecordKind::kClockStep ||
                        record.kind == RecordKind::kClockSkew ||
                        record.kind == RecordKind::kVolumeTimeShift;
  return of_clock ? amount_of_note(record.note) : std::nullopt;
}
Json hash_text(const ContentHash& hash) {
  if (hash == ContentHash{}) return nullptr;
  return "xxh3:" + to_hex(hash.bytes.data(), hash.bytes.size());
}
void put_note(Json& json, const Record& record) {
  if (record.note.empty()) return;
  std::string note = to_utf8_lossy(record.note);
  if ((record.flags & kFlagRootAdded) != 0) {
    const size_t path_size = note.find('\0');
    for (size_t at = path_size; at != std::string::npos;) {
      const size_t end = note.find('\0', at + 1);
      json["excludes"].push_back(note.substr(at + 1, end - at - 1));
      at = end;
    }
    note.resize(std::min(path_size, note.size()));
  }
  // Behind the words of what is lost are ids.
  if ((record.flags & kFlagLost) != 0) note.resize(std::min(note.find('\0'), note.size()));
  std::replace(note.begin(), note.end(), '\0', ' ');
  json["note"] = note;
}
}  // namespace

Json Query::record(const Record& record) {
  const auto [root, path] = place(record);
  return this->record(record, root, path);
}

Json Query::record(const Record& record, const std::string& root, const std::string& path) {
  Json json;
  json["seq"] = record.seq.value;
  json["time"] = format_time(record.time_ns);
  json["wall"] = format_time(record.wall_ns);
  json["boot_id"] = boot_id(record.boot);
  json["boottime_ns"] = record.boottime_ns;
  json["root"] = root;
  if (record.is_node_record()) put_path(json, "path", path);
  const bool link = record.kind == RecordKind::kLink;
  json["kind"] = link ? "create" : record_kind_name(record.kind);
  json["verdict"] = verdict_name(record.verdict);
  std::vector<std::string> flags = record_flag_names(record.flags);
  if (link) flags.emplace_back("hard_link");
  if (record.is_node_record()) {
    json["type"] = file_type_name(record.type);
    json["size"] = record.stat.size;
    json["mtime_ns"] = record.stat.mtime_ns;
    json["ctime_ns"] = record.stat.ctime_ns;
    json["mode"] = mode_text(record.stat.mode);
    json["uid"] = record.stat.uid;
    json["gid"] = record.stat.gid;
    json["inode"] = record.stat.inode;
    json["hash"] = hash_text(record.hash);
    const bool is_chunk =
        record.content.kind == ContentKind::kChunk || record.content.kind == ContentKind::kRecipe;
    bool stored = record.content.stored() || record.type != FileType::kFile;
    if (is_chunk) {  // it may have been pruned
      const auto place = state_.store->locate(txn_, record.content.id);
      stored = place.ok() && place->has_value();
    }
    json["stored"] = stored;
    if (record.type == FileType::kSymlink) put_path(json, "target", record.link_target);
  }
  json["flags"] = flags;
  if (record.prev.value != 0 && record.is_node_record()) {
    if (auto before = state_.journal->record(txn_, record.prev); before.ok()) {
      json["prev"] = {{"size", before->stat.size},
                      {"mtime_ns", before->stat.mtime_ns},
                      {"hash", hash_text(before->hash)}};
    }
  }
  if (record.kind == RecordKind::kRename) {
    auto dir = dir_path(record.from_parent, Sequence{record.seq.value - 1});
    put_path(json, "from", dir.ok() ? join_path(*dir, record.from_name) : record.from_name);
  }
  if (const auto amount_ns = clock_amount(record)) json["amount_ns"] = *amount_ns;
  if (record.kind == RecordKind::kDump) {
    if (const auto note = parse_dump_note(record.note)) put_dump_note(json, *note);
  }
  put_note(json, record);
  return json;
}

}  // namespace holdfast
