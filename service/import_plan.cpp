#include "service/import_plan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/path.h"
#include "service/differ.h"

namespace holdfast {

namespace {

constexpr uint32_t kUnnamedDirMode = S_IFDIR | 0755;

// Whether the journal's version says what the archive does, but for what no archive knows.
bool same_attributes(const Record& version, const ImportItem& item) {
  const FileStat& a = version.stat;
  const FileStat& b = item.stat;
  return a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.rdev == b.rdev &&
         a.mtime_ns == b.mtime_ns && version.xattrs == item.xattrs &&
         (version.type == FileType::kDir || a.nlink == b.nlink);
}
bool same_content(const Record& version, const ImportItem& item) {
  return version.hash == item.hash && version.stat.size == item.stat.size &&
         version.content.stored() == item.content.stored() &&
         version.link_target == item.link_target;
}
bool is_new(NodeId node) { return node.value >= kNewNodes; }

}  // namespace

bool is_import_note(std::string_view note) { return note == kImportBegun || note == kImported; }

ImportPlan::ImportPlan(const Journal& journal, const LmdbTxn& txn, const ImportTree& tree,
                       std::string root_name, int64_t now_ns)
    : journal_(journal),
      txn_(txn),
      tree_(tree),
      root_name_(std::move(root_name)),
      now_ns_(now_ns) {}

ImportItem ImportPlan::self_of(const ImportTree::Dir& dir) const {
  if (dir.named) return dir.self;
  ImportItem self;
  self.type = FileType::kDir;
  self.stat.mode = kUnnamedDirMode;
  self.stat.uid = ::geteuid();
  self.stat.gid = ::getegid();
  self.stat.mtime_ns = self.stat.ctime_ns = now_ns_;
  return self;
}

Record ImportPlan::make(RecordKind kind, NodeId above, const std::string& name, NodeId node,
                        const ImportItem& item) const {
  Record record;
  record.kind = kind;
  record.type = item.type;
  record.root = root_;
  record.parent = above;
  record.name = name;
  record.node = node;
  record.stat = item.stat;
  record.hash = item.hash;
  record.content = item.content;
  record.link_target = item.link_target;
  record.xattrs = item.xattrs;
  return record;
}

Result<std::optional<Record>> ImportPlan::begin() {
  TRY_ASSIGN(const auto roots, journal_.roots(txn_));
  const auto found = std::find_if(roots.begin(), roots.end(),
                                  [&](const Root& root) { return root.name == root_name_; });
  if (found != roots.end()) {
    root_ = found->node;
    return std::optional<Record>();
  }
  root_ = new_node();
  Record record =
      make(RecordKind::kCreate, NodeId{}, root_name_, root_, self_of(tree_.dir(ImportTree::kRoot)));
  record.flags = kFlagRootAdded;
  record.note = root_note("", {});
  return std::optional(record);
}

Result<std::optional<Record>> ImportPlan::root_record(const std::string& note, bool needed) {
  const ImportTree::Dir& dir = tree_.dir(ImportTree::kRoot);
  ImportItem self = self_of(dir);
  if (!is_new(root_)) {
    TRY_ASSIGN(const auto version, journal_.version(txn_, root_, kLatest));
    if (version && !dir.named) {
      self.stat = version->stat;
      self.xattrs = version->xattrs;
    }
    if (!needed && version && version->note == note && same_attributes(*version, self)) {
      return std::optional<Record>();
    }
  }
  Record record = make(RecordKind::kAttrib, NodeId{}, root_name_, root_, self);
  record.note = note;
  return std::optional(record);
}

Status ImportPlan::run(const Take& take) {
  if (!is_new(root_)) TRY(remove_gone(take));
  struct Level {
    const ImportTree::Dir* dir;
    NodeId node;
    std::map<std::string, ImportTree::Name>::const_iterator next;
  };
  const ImportTree::Dir& top = tree_.dir(ImportTree::kRoot);
  std::vector<Level> stack{{&top, root_, top.names.begin()}};
  while (!stack.empty()) {
    Level& level = stack.back();
    if (level.next == level.dir->names.end()) {
      stack.pop_back();
      continue;
    }
    const auto& [name, what] = *level.next++;
    if (!what.is_dir) {
      TRY(file(take, level.node, name, what.id));
      continue;
    }
    const ImportTree::Dir& dir = tree_.dir(what.id);
    TRY_ASSIGN(const NodeId node, directory(take, level.node, name, dir));
    stack.push_back({&dir, node, dir.names.begin()});
  }
  return {};
}

Status ImportPlan::remove_gone(const Take& take) {
  struct Level {
    const ImportTree::Dir* dir;
    NodeId node;
    EntryPages pages;
  };
  std::vector<Level> stack;
  stack.push_back(
      {&tree_.dir(ImportTree::kRoot), root_, EntryPages(journal_, txn_, root_, kLatest)});
  while (!stack.empty()) {
    Level& level = stack.back();
    TRY_ASSIGN(const Entry* peeked, level.pages.peek());
    if (peeked == nullptr) {
      stack.pop_back();
      continue;
    }
    const Entry entry = *peeked;
    level.pages.next();
    const auto stays = level.dir->names.find(entry.name);
    const bool was_dir = entry.type == FileType::kDir;
    if (stays == level.dir->names.end() || (was_dir && !stays->second.is_dir)) {
      TRY(remove_tree(take, level.node, entry));
    } else if (was_dir) {
      const ImportTree::Dir* below = &tree_.dir(stays->second.id);
      stack.push_back({below, entry.node, EntryPages(journal_, txn_, entry.node, kLatest)});
    }
  }
  return {};
}

Status ImportPlan::remove_tree(const Take& take, NodeId dir, const Entry& entry) {
  struct Level {
    NodeId dir;
    Entry entry;
    bool opened = false;
  };
  std::vector<Level> stack{{dir, entry}};
  while (!stack.empty()) {
    Level& top = stack.back();
    if (top.entry.type == FileType::kDir && !top.opened) {
      top.opened = true;
      const NodeId below = top.entry.node;
      const size_t first = stack.size();
      TRY(journal_.for_each_entry(txn_, below, kLatest, [&](const Entry& child) {
        stack.push_back({below, child});
        return Visit::kContinue;
      }));
      std::reverse(stack.begin() + static_cast<ptrdiff_t>(first), stack.end());
      continue;
    }
    const Level gone = std::move(stack.back());
    stack.pop_back();
    TRY_ASSIGN(const auto version, journal_.version(txn_, gone.entry.node, kLatest));
    if (!version) continue;
    Record record = *version;
    record.kind = RecordKind::kDelete;
    record.verdict = Verdict::kNone;
    record.parent = gone.dir;
    record.name = gone.entry.name;
    record.flags &= kFlagSparse;
    record.from_parent = {};
    record.from_name.clear();
    record.note.clear();
    ++counts_.deleted;
    TRY(take(std::move(record)));
  }
  return {};
}

// A directory that is to be something else has been deleted by then.
Result<std::optional<Entry>> ImportPlan::old_entry(NodeId above, const std::string& name,
                                                   bool will_be_dir) const {
  if (is_new(above)) return std::optional<Entry>();
  TRY_ASSIGN(auto entry, journal_.entry(txn_, above, name, kLatest));
  if (entry && entry->type == FileType::kDir && !will_be_dir) return std::optional<Entry>();
  return entry;
}

Result<NodeId> ImportPlan::directory(const Take& take, NodeId above, const std::string& name,
                                     const ImportTree::Dir& dir) {
  ++counts_.dirs;
  TRY_ASSIGN(const auto old, old_entry(above, name, true));
  if (old && old->type == FileType::kDir) {
    TRY_ASSIGN(const auto version, journal_.version(txn_, old->node, kLatest));
    if (!dir.named || (version && same_attributes(*version, dir.self))) return old->node;
    ++counts_.changed;
    TRY(take(make(RecordKind::kAttrib, above, name, old->node, dir.self)));
    return old->node;
  }
  Record record = make(RecordKind::kCreate, above, name, new_node(), self_of(dir));
  const NodeId node = record.node;
  if (old) {
    record.flags |= kFlagReplaced;
    TRY_ASSIGN(const auto replaced, journal_.version(txn_, old->node, kLatest));
    if (replaced) record.prev = replaced->seq;
  }
  ++counts_.created;
  TRY(take(std::move(record)));
  return node;
}

Status ImportPlan::file(const Take& take, NodeId above, const std::string& name,
                        ImportTree::Id id) {
  const ImportItem& item = tree_.item(id);
  ++counts_.files;
  TRY_ASSIGN(const auto old, old_entry(above, name, false));
  std::optional<Record> before;
  if (old) {
    TRY_ASSIGN(before, journal_.version(txn_, old->node, kLatest));
  }
  const auto known = nodes_.find(id);
  if (known == nodes_.end()) counts_.bytes += item.type == FileType::kFile ? item.stat.size : 0;
  if (known != nodes_.end() && old && old->node == known->second) return {};
  const bool has_names = item.stat.nlink > 1 || (before && before->stat.nlink > 1);
  if (known == nodes_.end() && before && before->type == item.type &&
      !claimed_.contains(old->node)) {
    if (has_names) {
      nodes_[id] = old->node;
      claimed_.insert(old->node);
    }
    const bool same = same_content(*before, item);
    if (same && same_attributes(*before, item)) return {};
    ++counts_.changed;
    Record record =
        make(same ? RecordKind::kAttrib : RecordKind::kModify, above, name, old->node, item);
    if (same) record.content = before->content;
    return take(std::move(record));
  }
  const bool link = known != nodes_.end();
  Record record = make(link ? RecordKind::kLink : RecordKind::kCreate, above, name,
                       link ? known->second : new_node(), item);
  if (!link && has_names) nodes_[id] = record.node;
  if (old) record.flags |= kFlagReplaced;
  if (before && !link) record.prev = before->seq;
  ++(old ? counts_.changed : counts_.created);
  return take(std::move(record));
}

}  // namespace holdfast
