#include "service/differ.h"

#include <algorithm>
#include <unordered_set>

#include "base/path.h"

namespace holdfast {

namespace {

constexpr size_t kPageNames = 256;
// Of one directory; where more were touched, it is read as a whole.
constexpr size_t kTouchedNamesMax = 4096;

bool content_differs(const Record& was, const Record& is) {
  const bool not_kept = ((was.flags | is.flags) & kFlagNotKept) != 0;
  return was.type != is.type || was.hash != is.hash || was.link_target != is.link_target ||
         (was.content != is.content && !not_kept);
}

// The times of a directory move with each name that comes or goes in it.
bool metadata_differs(const Record& was, const Record& is) {
  return was.stat.mode != is.stat.mode || was.stat.uid != is.stat.uid ||
         was.stat.gid != is.stat.gid || was.xattrs != is.xattrs ||
         (is.type != FileType::kDir && was.stat.mtime_ns != is.stat.mtime_ns);
}

// nullptr: nothing to tell.
const char* change_of(const Record& was, const Record& is) {
  if (was.seq == is.seq) return nullptr;
  if (content_differs(was, is)) return "modified";
  return metadata_differs(was, is) ? "attrib" : nullptr;
}

}  // namespace

Result<const Entry*> EntryPages::peek() {
  if (here_ == page_.size() && !last_page_) {
    const std::string after = page_.empty() ? std::string() : page_.back().name;
    page_.clear();
    here_ = 0;
    TRY(journal_->for_each_entry_after(*txn_, dir_, after, at_, [&](const Entry& entry) {
      page_.push_back(entry);
      return page_.size() < kPageNames ? Visit::kContinue : Visit::kStop;
    }));
    last_page_ = page_.size() < kPageNames;
  }
  return here_ < page_.size() ? &page_[here_] : nullptr;
}

Result<bool> TouchedNames::collect(Sequence a, Sequence b, uint64_t records_max) {
  const Sequence low = std::min(a, b), high = std::max(a, b);
  if (high.value - low.value > records_max) return false;
  Status failed;
  std::unordered_set<NodeId, NodeIdHash> linked;
  const auto add = [&](const Record& record) {
    if (!record.is_node_record()) return Visit::kContinue;
    touches_.push_back({record.parent, record.seq.value << 1});
    if (record.kind == RecordKind::kRename) {
      touches_.push_back({record.from_parent, record.seq.value << 1 | 1});
    }
    const bool alone = record.type == FileType::kDir ||
                       (record.stat.nlink < 2 && record.kind != RecordKind::kLink);
    if (!alone && linked.insert(record.node).second) failed = add_other_names(record.node, high);
    return failed.ok() ? Visit::kContinue : Visit::kStop;
  };
  TRY(journal_.for_each_record_between(txn_, Sequence{low.value + 1}, high, false, nullptr, add));
  TRY(failed);
  const std::vector<Touch> touched = touches_;
  TRY(add_above(touched, low));
  TRY(add_above(touched, high));
  std::sort(touches_.begin(), touches_.end());
  touches_.erase(std::unique(touches_.begin(), touches_.end()), touches_.end());
  return true;
}

// Of a file with several names, a record tells of one.
Status TouchedNames::add_other_names(NodeId node, Sequence b) {
  return journal_.for_each_version(txn_, node, false, [&](const Record& record) {
    if (record.seq > b) return Visit::kStop;
    touches_.push_back({record.parent, record.seq.value << 1});
    return Visit::kContinue;
  });
}

Status TouchedNames::add_above(const std::vector<Touch>& touched, Sequence at) {
  std::unordered_set<NodeId, NodeIdHash> done;
  for (const Touch& touch : touched) {
    NodeId dir = touch.dir;
    while (dir.value != 0 && done.insert(dir).second) {
      TRY_ASSIGN(const auto version, journal_.version(txn_, dir, at));
      if (!version) break;
      touches_.push_back({version->parent, version->seq.value << 1});
      dir = version->parent;
    }
  }
  return {};
}

std::pair<std::vector<TouchedNames::Touch>::const_iterator,
          std::vector<TouchedNames::Touch>::const_iterator>
TouchedNames::of(NodeId dir) const {
  return {std::lower_bound(touches_.begin(), touches_.end(), Touch{dir, 0}),
          std::lower_bound(touches_.begin(), touches_.end(), Touch{NodeId{dir.value + 1}, 0})};
}

bool TouchedNames::any(NodeId dir) const {
  const auto [first, last] = of(dir);
  return first != last;
}

Result<std::optional<std::vector<std::string>>> TouchedNames::names(NodeId dir) const {
  const auto [first, last] = of(dir);
  if (static_cast<size_t>(last - first) > kTouchedNamesMax) {
    return std::optional<std::vector<std::string>>();
  }
  std::vector<std::string> names;
  for (auto touch = first; touch != last; ++touch) {
    TRY_ASSIGN(Record record, journal_.record(txn_, Sequence{touch->name >> 1}));
    names.push_back((touch->name & 1) != 0 ? std::move(record.from_name) : std::move(record.name));
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return std::optional(std::move(names));
}

Status Differ::prepare(uint64_t records_max) {
  TRY_ASSIGN(use_touched_, touched_.collect(a_, b_, records_max));
  return {};
}

Status Differ::compare(const UserPath& path) {
  root_ = path.root;
  asked_ = path.relative;
  const auto entry_at = [&](Sequence at) -> std::optional<Entry> {
    auto found = journal_.locate(txn_, root_.node, path.relative, at);
    if (!found.ok()) return std::nullopt;
    return Entry{found->name, found->node, found->type, {}};
  };
  stack_.clear();
  Pair pair{"", entry_at(a_), entry_at(b_)};
  TRY(visit(Side::kBoth, path.relative, path.relative, pair));
  while (!stack_.empty() && !sink_.cancelled()) {
    TRY_ASSIGN(const bool more, next(stack_.back(), pair));
    if (!more) {
      stack_.pop_back();
      continue;
    }
    const Level& level = stack_.back();
    const std::string before = join_path(level.before, pair.name);
    const std::string after = join_path(level.after, pair.name);
    TRY(visit(level.side, before, after, pair));
  }
  return {};
}

// Opens a directory, unless nothing in it can differ.
Status Differ::open(Side side, std::string before, std::string after, std::optional<NodeId> was,
                    std::optional<NodeId> is) {
  Level level{side, std::move(before), std::move(after), was, is, {}, {}, {}, 0};
  if (use_touched_ && was && is && *was == *is) {
    if (!touched_.any(*was)) return {};
    TRY_ASSIGN(level.names, touched_.names(*was));
  }
  if (!level.names && was) level.was_pages.emplace(journal_, txn_, *was, a_);
  if (!level.names && is) level.is_pages.emplace(journal_, txn_, *is, b_);
  stack_.push_back(std::move(level));
  return {};
}

Result<bool> Differ::next(Level& level, Pair& pair) {
  pair = {};
  if (level.names) {
    if (level.name == level.names->size()) return false;
    pair.name = (*level.names)[level.name++];
    TRY_ASSIGN(pair.was, journal_.entry(txn_, *level.was, pair.name, a_));
    TRY_ASSIGN(pair.is, journal_.entry(txn_, *level.is, pair.name, b_));
    return true;
  }
  const Entry *was = nullptr, *is = nullptr;
  if (level.was_pages) {
    TRY_ASSIGN(was, level.was_pages->peek());
  }
  if (level.is_pages) {
    TRY_ASSIGN(is, level.is_pages->peek());
  }
  if (was == nullptr && is == nullptr) return false;
  const bool take_was = was != nullptr && (is == nullptr || was->name <= is->name);
  const bool take_is = is != nullptr && (was == nullptr || is->name <= was->name);
  pair.name = take_was ? was->name : is->name;
  if (take_was) pair.was = *was;
  if (take_is) pair.is = *is;
  if (take_was) level.was_pages->next();
  if (take_is) level.is_pages->next();
  return true;
}

Status Differ::visit(Side side, const std::string& before, const std::string& after,
                     const Pair& pair) {
  if (pair.was && pair.is) {
    if (side == Side::kBoth) return both(after, *pair.was, *pair.is);
    if (pair.was->node == pair.is->node) return moved_along(before, after, *pair.is);
  }
  if (pair.was) TRY(only_before(before, *pair.was));
  if (pair.is) TRY(only_after(after, *pair.is));
  return {};
}

Status Differ::both(const std::string& path, const Entry& was, const Entry& is) {
  // Most of what is compared is the same, and one look at the later moment tells so.
  const NodeId later_node = a_ <= b_ ? is.node : was.node;
  TRY_ASSIGN(const auto later, journal_.version(txn_, later_node, std::max(a_, b_)));
  const bool unchanged = was.node == is.node && later && later->seq <= std::min(a_, b_);
  if (!unchanged) {
    TRY_ASSIGN(const auto before, journal_.version(txn_, was.node, a_));
    TRY_ASSIGN(const auto after, journal_.version(txn_, is.node, b_));
    const char* change = before && after ? change_of(*before, *after) : nullptr;
    if (change != nullptr) TRY(show(change, path, nullptr, before, after));
  }
  const bool was_dir = was.type == FileType::kDir, is_dir = is.type == FileType::kDir;
  if (was_dir && is_dir) return open(Side::kBoth, path, path, was.node, is.node);
  if (was_dir) return open(Side::kBefore, path, path, was.node, std::nullopt);
  if (is_dir) return open(Side::kAfter, path, path, std::nullopt, is.node);
  return {};
}

Status Differ::only_before(const std::string& path, const Entry& was) {
  TRY_ASSIGN(const auto to, renamed_to(was, path));
  if (to) {
    // Told of where it is now, unless that is not looked at.
    if (within(*to)) return {};
    return only_after(*to, was);
  }
  TRY_ASSIGN(const auto before, journal_.version(txn_, was.node, a_));
  TRY(show("removed", path, nullptr, before, std::nullopt));
  if (was.type != FileType::kDir) return {};
  return open(Side::kBefore, path, path, was.node, std::nullopt);
}

Status Differ::only_after(const std::string& path, const Entry& is) {
  TRY_ASSIGN(const auto after, journal_.version(txn_, is.node, b_));
  TRY_ASSIGN(const auto from, renamed_from(is, path));
  if (!from) {
    TRY(show("added", path, nullptr, std::nullopt, after));
    if (is.type != FileType::kDir) return {};
    return open(Side::kAfter, path, path, std::nullopt, is.node);
  }
  TRY_ASSIGN(const auto before, journal_.version(txn_, is.node, a_));
  TRY(show("renamed", path, &*from, before, after));
  if (is.type != FileType::kDir) return {};
  return open(Side::kRenamed, *from, path, is.node, is.node);
}

// It is where it was in a directory that was renamed.
Status Differ::moved_along(const std::string& before, const std::string& after,
                           const Entry& entry) {
  TRY_ASSIGN(const auto was, journal_.version(txn_, entry.node, a_));
  TRY_ASSIGN(const auto is, journal_.version(txn_, entry.node, b_));
  if (was && is && change_of(*was, *is) != nullptr) TRY(show("renamed", after, &before, was, is));
  if (entry.type != FileType::kDir) return {};
  return open(Side::kRenamed, before, after, entry.node, entry.node);
}

// Where a node is, if it has one name; a directory always has.
Result<std::optional<Differ::Place>> Differ::only_place(NodeId node, Sequence at) {
  using Found = std::optional<Place>;
  TRY_ASSIGN(auto version, journal_.version(txn_, node, at));
  if (!version || version->root != root_.node) return Found();
  if (version->type != FileType::kDir && version->stat.nlink > 1) return Found();
  TRY_ASSIGN(auto name, name_of(*version, at));
  if (!name || name->first.value == 0) return Found();
  auto dir = query_.dir_path(name->first, at);
  if (!dir.ok() && dir.error().code == ErrorCode::kNotFound) return Found();
  if (!dir.ok()) return dir.error();
  std::string path = join_path(*dir, name->second);
  return Found(Place{std::move(*version), std::move(path)});
}

// The name that leads to a node with one name. Its newest record may be about another one that it
// had: then an earlier one is about this.
Result<std::optional<std::pair<NodeId, std::string>>> Differ::name_of(const Record& version,
                                                                      Sequence at) {
  using Name = std::pair<NodeId, std::string>;
  constexpr int kRecordsMax = 1000;
  std::optional<Name> name;
  Status failed;
  int records = 0;
  const auto leads = [&](const Record& record) {
    if (record.seq > at) return Visit::kContinue;
    auto entry = journal_.entry(txn_, record.parent, record.name, at);
    if (!entry.ok()) {
      failed = entry.error();
      return Visit::kStop;
    }
    if (*entry && (*entry)->node == version.node) name = Name{record.parent, record.name};
    return name || ++records == kRecordsMax ? Visit::kStop : Visit::kContinue;
  };
  if (leads(version) == Visit::kContinue && version.type != FileType::kDir) {
    TRY(journal_.for_each_version(txn_, version.node, true, leads));
  }
  TRY(failed);
  return name;
}

Result<bool> Differ::is_there(const std::string& path, Sequence at) {
  const auto found = journal_.locate(txn_, root_.node, path, at);
  if (!found.ok() && found.error().code != ErrorCode::kNotFound) return found.error();
  return found.ok();
}

// The path is not there at `a`.
Result<std::optional<std::string>> Differ::renamed_from(const Entry& is, const std::string& path) {
  TRY_ASSIGN(auto before, only_place(is.node, a_));
  if (!before) return std::optional<std::string>();
  TRY_ASSIGN(const auto after, only_place(is.node, b_));
  if (!after || after->path != path) return std::optional<std::string>();
  TRY_ASSIGN(const bool taken, is_there(before->path, b_));
  return taken ? std::optional<std::string>() : std::optional(std::move(before->path));
}

// The path is not there at `b`.
Result<std::optional<std::string>> Differ::renamed_to(const Entry& was, const std::string& path) {
  TRY_ASSIGN(auto after, only_place(was.node, b_));
  if (!after) return std::optional<std::string>();
  TRY_ASSIGN(const auto before, only_place(was.node, a_));
  if (!before || before->path != path) return std::optional<std::string>();
  TRY_ASSIGN(const bool taken, is_there(after->path, a_));
  return taken ? std::optional<std::string>() : std::optional(std::move(after->path));
}

bool Differ::within(const std::string& path) const {
  return asked_.empty() || path == asked_ || path.starts_with(asked_ + "/");
}

Status Differ::show(const char* change, const std::string& path, const std::string* from,
                    const std::optional<Record>& was, const std::optional<Record>& is) {
  if (!was && !is) return {};
  Json json;
  json["change"] = change;
  json["root"] = root_.name;
  put_path(json, "path", path);
  if (from != nullptr) {
    put_path(json, "from", *from);
    if (const char* also = was && is ? change_of(*was, *is) : nullptr) json["also"] = also;
  }
  json["type"] = file_type_name(is ? is->type : was->type);
  if (was) json["a"] = query_.record(*was);
  if (is) json["b"] = query_.record(*is);
  return sink_.write(json_line(json)) ? Status()
                                      : make_error(ErrorCode::kInterrupted, "interrupted");
}

}  // namespace holdfast
