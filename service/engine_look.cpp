// The engine's looking half: what is dirty or to be walked is opened, watched, listed and compared
// with the journal.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/path.h"
#include "service/engine.h"
#include "service/engine_parts.h"

namespace holdfast {

namespace {
constexpr size_t kCaptureNamesMax = 256;
constexpr uint64_t kCaptureBytesTarget = kFrameTargetBytes;
constexpr size_t kCaptureBacklogMax = 32;
constexpr size_t kScansMax = 16;
constexpr int64_t kMovedRetryNs = 2'000'000;
constexpr const char* kCacheTagName = "CACHEDIR.TAG";

struct OpenDir {
  Fd fd;
  StatxResult stat;
};

Result<OpenDir> open_with_stat(int root_fd, const std::string& path) {
  TRY_ASSIGN(Fd fd, open_beneath(root_fd, path, O_PATH | O_DIRECTORY));
  TRY_ASSIGN(const StatxResult st, statx_fd(fd.get()));
  return OpenDir{std::move(fd), st};
}

std::string words_for(const std::string& path, const Error& error) {
  return "cannot look at " + display_path(path) + ": " + error.message;
}

// Whether the path may lead to something else by now. Any other error says nothing of what is
// there.
bool may_have_moved(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.sys_errno == ELOOP ||
         error.sys_errno == EXDEV || error.sys_errno == EAGAIN || error.sys_errno == EINTR;
}
}  // namespace

Status Engine::start_work(bool& progress) {
  const int64_t now = clock_.boottime_ns();
  for (size_t i = 0; i < roots_.size(); ++i) {
    RootState& root = *roots_[i];
    if (root.lost && root.recheck_ns <= now) recheck(root);
    for (int taken = 0; taken < 64 && captures_.size() < kCaptureBacklogMax; ++taken) {
      if (root.lost || scans_running_ >= kScansMax) break;
      auto dirty = root.dirty->take(now, !waiters_.empty(),
                                    [&](NodeId dir) { return busy_dirs_.contains(dir); });
      if (!dirty) break;
      TRY(rearm_watcher(i));
      progress = true;
      // Found by looking through a whole tree again or at what is not watched, not announced by an
      // event.
      const bool offline = dirty->recursive || (dirty->all && root.unwatched.contains(dirty->dir));
      TRY(look_at(i, std::move(*dirty), offline));
      TRY(commit_if_due());
    }
  }
  while (!scans_.empty() && pipeline_.has_room() && captures_.size() < kCaptureBacklogMax) {
    progress = true;
    pipeline_.submit(std::move(scans_.front()));
    scans_.pop_front();
  }
  // Walks go in the order of a depth-first traversal, one batch of open directories at a time.
  std::vector<Walk> blocked;
  while (!walk_stack_.empty() && scans_running_ < kScansMax && pipeline_.has_room() &&
         captures_.size() < kCaptureBacklogMax) {
    const Walk walk = walk_stack_.back();
    walk_stack_.pop_back();
    if (busy_dirs_.contains(walk.dir)) {
      blocked.push_back(walk);
      continue;
    }
    progress = true;
    DirtyDir dirty;
    dirty.dir = walk.dir;
    dirty.all = dirty.recursive = dirty.self = true;
    dirty.epoch = walk.epoch;
    auto status = look_at(walk.root, std::move(dirty), walk.offline);
    if (auto left = outstanding_.find(walk.epoch);
        left != outstanding_.end() && --left->second == 0) {
      outstanding_.erase(left);
    }
    TRY(status);
  }
  walk_stack_.insert(walk_stack_.end(), blocked.begin(), blocked.end());
  if (walk_stack_.empty() && scans_running_ == 0) close_capture_group();
  while (!captures_.empty() && pipeline_.has_room()) {
    progress = true;
    pipeline_.submit(std::move(captures_.front()));
    captures_.pop_front();
  }
  return {};
}

// Opens the directory by its present path and makes sure that it is the node the journal means.
// Where it is not, the doubt moves up to its parent, which will find out, and what was to be looked
// at waits: the directory may only have moved. (If it is gone, it is forgotten then.) nullptr:
// nothing to look at now.
Result<std::shared_ptr<Fd>> Engine::open_dir(size_t index, const DirtyDir& dirty,
                                             std::string& path) {
  RootState& root = *roots_[index];
  const NodeId dir = dirty.dir;
  TRY_ASSIGN(WriteTxn * open, txn());
  auto found = state_.journal->dir_path(*open, dir, kHead);
  if (!found.ok()) {
    if (found.error().code != ErrorCode::kNotFound) return found.error();
    root.dirty->forget(dir);
    root.unwatched.erase(dir);
    root.unlisted.erase(dir);
    return std::shared_ptr<Fd>();
  }
  path = std::move(*found);
  TRY_ASSIGN(auto version, state_.journal->version(*open, dir, kHead));
  if (!version) return std::shared_ptr<Fd>();
  if (version->type != FileType::kDir) {  // nothing to open, ever
    root.dirty->forget(dir);
    root.unwatched.erase(dir);
    root.unlisted.erase(dir);
    return std::shared_ptr<Fd>();
  }
  if (dir == root.root.node) {
    auto fd = open_directory(root.spec.path);
    if (!fd.ok()) {
      TRY(root_lost(index, fd.error().message));
      return std::shared_ptr<Fd>();
    }
    TRY_ASSIGN(const StatxResult st, statx_fd(fd->get()));
    TRY_ASSIGN(const bool ours, root_mounted(index, std::move(*fd), st));
    if (!ours) return std::shared_ptr<Fd>();
    if (auto fs = fs_traits_of(root.fd.get()); fs.ok()) root.fs = std::move(*fs);
  }
  auto opened = open_with_stat(root.fd.get(), path);
  if (!opened.ok() && !may_have_moved(opened.error())) {
    TRY(cannot_look(index, dir, dirty.recursive, words_for(path, opened.error())));
    return std::shared_ptr<Fd>();
  }
  const bool other_mount = opened.ok() && opened->stat.mount_id != root.mount_id;
  const bool same =
      opened.ok() && (dir == root.root.node ||
                      same_object(root.fs, *version, FileType::kDir, to_file_stat(opened->stat)));
  if (!same) {
    const bool hidden = other_mount || hidden_by_mount(root, path);
    if (dir != root.root.node && !hidden) {
      const int64_t now = clock_.boottime_ns();
      const int64_t later = now + kMovedRetryNs;
      root.dirty->add_name(version->parent, version->name, dirty.epoch, now);
      if (dirty.all) root.dirty->add_dir(dir, dirty.recursive, dirty.epoch, later);
      if (dirty.self) root.dirty->add_self(dir, dirty.epoch, later);
      for (const std::string& name : dirty.names)
        root.dirty->add_name(dir, name, dirty.epoch, later);
    }
    return std::shared_ptr<Fd>();
  }
  if (other_mount) return std::shared_ptr<Fd>();  // another file system: not ours
  return std::make_shared<Fd>(std::move(opened->fd));
}

// Whether the open directory is the one that the journal knows as the root.
Result<bool> Engine::is_known_root(size_t index, int dir_fd) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto version, state_.journal->version(*open, roots_[index]->root.node, kHead));
  TRY_ASSIGN(const StatxResult st, statx_fd(dir_fd));
  return !version ||
         same_lasting_identity(roots_[index]->fs, *version, FileType::kDir, to_file_stat(st));
}

Status Engine::root_lost(size_t index, const std::string& why) {
  RootState& root = *roots_[index];
  root.lost = true;
  root.recheck_ns = clock_.boottime_ns() + kRecheckNs;
  if (root.lost_why == why) return {};
  root.lost_why = why;
  const std::string note = "the root is lost: " + why + "; nothing is taken as deleted";
  const std::string text = display_path(root.spec.path) + ": " + note;
  log_.write({LogLevel::kError, LogKind::kRootLost, text, root.spec.name, "", 0});
  return journal_gap(index, note);
}

Status Engine::root_found(size_t index) {
  RootState& root = *roots_[index];
  if (root.lost_why.empty()) return {};
  root.lost_why.clear();
  const std::string text = display_path(root.spec.path) + " is back, and compared with the journal";
  log_.write({LogLevel::kInfo, LogKind::kRootBack, text, root.spec.name, "", 0});
  return journal_gap(index, "the root is back; what changed while it was lost is found now");
}

Status Engine::journal_gap(size_t index, const std::string& note) {
  Record gap;
  gap.kind = RecordKind::kGap;
  gap.root = roots_[index]->root.node;
  gap.note = note;
  ++roots_[index]->totals.gaps;
  return append(gap);
}

Status Engine::look_at(size_t index, DirtyDir dirty, bool offline) {
  std::string path;
  TRY_ASSIGN(auto fd, open_dir(index, dirty, path));
  if (!fd) return {};
  if (dirty.dir == roots_[index]->root.node && !dirty.recursive) {
    // Another directory in the root's place is compared as a whole before it is taken for the root.
    TRY_ASSIGN(const bool same, is_known_root(index, fd->get()));
    if (!same) dirty.all = dirty.recursive = offline = true;
  }
  // Its coming and going changes what is to be kept of everything in the directory.
  const bool tag_named =
      std::find(dirty.names.begin(), dirty.names.end(), kCacheTagName) != dirty.names.end();
  if (tag_named) dirty.all = dirty.recursive = true;
  if (dirty.all || dirty.recursive) {
    TRY(watch_dir(index, dirty.dir, fd->get(), path));
    ScanTask task;
    task.root = index;
    task.dir = dirty.dir;
    task.dir_fd = std::move(fd);
    task.path = std::move(path);
    task.epoch = dirty.epoch;
    task.generation = generation_;
    task.recursive = dirty.recursive;
    task.offline = offline;
    ++outstanding_[dirty.epoch];
    ++scans_running_;
    busy_dirs_.insert(dirty.dir);
    pipeline_.submit(std::move(task));
    return {};
  }
  Look look;
  look.root = index;
  look.dir = dirty.dir;
  look.epoch = dirty.epoch;
  look.path = std::move(path);
  look.names = std::move(dirty.names);
  std::sort(look.names.begin(), look.names.end());
  look.attributes_only = std::move(dirty.attributes_only);
  look.untold = std::move(dirty.untold);
  std::sort(look.attributes_only.begin(), look.attributes_only.end());
  std::sort(look.untold.begin(), look.untold.end());
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto tag, state_.journal->entry(*open, dirty.dir, kCacheTagName, kHead));
  const bool tagged = tag || busy_names_.contains({dirty.dir, kCacheTagName});
  look.cache_dir = tagged && holds_cachedir_tag(fd->get());
  for (const std::string& name : look.names) {
    if (auto st = statx_name(fd->get(), name); st.ok()) {
      look.entries.push_back({name, *st});
    } else if (st.error().code != ErrorCode::kNotFound) {
      look.unknown.add(name, st.error());
    } else if (name.starts_with("#")) {
      // The kernel's name for a file that was made without one (O_TMPFILE) and may have one by now.
      roots_[index]->dirty->add_dir(dirty.dir, false, dirty.epoch, clock_.boottime_ns());
    }
  }
  auto self = statx_fd(fd->get());
  if (!self.ok() && self.error().code == ErrorCode::kNotFound) return {};  // its parent hears of it
  if (!self.ok()) return cannot_look(index, dirty.dir, false, words_for(look.path, self.error()));
  look.self = *self;
  if (dirty.self) {
    look.xattrs.emplace();
    if (auto xattrs = read_xattrs_of_name(fd->get(), "."); xattrs.ok()) {
      for (auto& [name, value] : *xattrs) look.xattrs->push_back({name, value});
    }
  }
  look.dir_fd = std::move(fd);
  TRY(compare(look));
  close_capture_group();
  return {};
}

bool Engine::excluded(const Look& look, const std::string& name, bool is_dir) const {
  const RootState& root = *roots_[look.root];
  if (look.cache_dir && name != kCacheTagName) return true;
  const std::string path = join_path(look.path, name);
  if (!root.own_state.empty() && path == root.own_state) return true;
  // Holdfast's own unfinished work (restore) is never a version of anything.
  if (name.starts_with(".holdfast-tmp-")) return true;
  return !root.spec.excludes.empty() && root.ignore.excluded(path, is_dir);
}

// A name whose capture is under way is looked at again when that is journaled, and holds back the
// flush that waits for this look.
void Engine::look_when_free(const Look& look, const std::string& name) {
  const auto [known, added] =
      waiting_names_.try_emplace({look.dir, name}, WaitingName{look.root, look.epoch});
  if (!added && known->second.epoch <= look.epoch) return;
  if (!added) end_outstanding(known->second.epoch);
  known->second.epoch = look.epoch;
  ++outstanding_[look.epoch];
}

// Walks what is there and what the journal says side by side, in the order of names.
Status Engine::compare(Look& look) {
  TRY_ASSIGN(WriteTxn * open, txn());
  std::vector<Entry> known;
  if (look.all) {
    // What is being captured may be neither in the list any more nor in the journal yet.
    for (auto busy = busy_names_.upper_bound({look.dir, look.after});
         busy != busy_names_.end() && busy->first == look.dir &&
         (look.upto.empty() || busy->second <= look.upto);
         ++busy) {
      look_when_free(look, busy->second);
    }
    TRY(known_names(look, known));
    if (look.dir == roots_[look.root]->root.node && look.empty && !known.empty()) {
      TRY_ASSIGN(const bool same, is_known_root(look.root, look.dir_fd->get()));
      if (!same) {
        return root_lost(look.root,
                         "another, empty directory is there (is something not mounted?)");
      }
    }
    if (look.dir == roots_[look.root]->root.node) TRY(root_found(look.root));
  } else {
    for (const std::string& name : look.names) {
      TRY_ASSIGN(auto entry, state_.journal->entry(*open, look.dir, name, kHead));
      if (entry) {
        known.push_back(std::move(*entry));
      } else if (busy_names_.contains({look.dir, name})) {
        // Gone, and about to be journaled as it was: to be looked at once more after that.
        look_when_free(look, name);
      }
    }
  }
  TRY(note_unknown(look, known));
  auto now = look.entries.begin();
  auto old = known.begin();
  while (now != look.entries.end() || old != known.end()) {
    const bool take_now =
        now != look.entries.end() && (old == known.end() || now->name <= old->name);
    const bool take_old =
        old != known.end() && (now == look.entries.end() || old->name <= now->name);
    const std::string name = take_now ? now->name : old->name;
    TRY(compare_name(look, name, take_now ? &now->stat : nullptr,
                     take_old ? std::optional<Entry>(*old) : std::nullopt));
    if (take_now) ++now;
    if (take_old) ++old;
  }
  return look.upto.empty() ? compare_self(look) : Status();
}

Status Engine::compare_name(Look& look, const std::string& name, const StatxResult* now,
                            const std::optional<Entry>& old) {
  TRY_ASSIGN(const bool sidecar, is_sidecar(look, name, now));
  if (now != nullptr && (sidecar || excluded(look, name, S_ISDIR(now->mode)))) now = nullptr;
  if (busy_names_.contains({look.dir, name})) {
    // Being captured: looked at again when that is done, also where it is gone by now.
    look_when_free(look, name);
    return {};
  }
  if (now == nullptr && !old) return {};
  if (now == nullptr) {
    if (!missing_.contains(look.dir, name)) {
      const bool untold = std::binary_search(look.untold.begin(), look.untold.end(), name);
      missing_.add({look.root, look.dir, name, old->node, old->type, look.epoch,
                    look.offline || untold, clock_.boottime_ns()});
    }
    if (look.offline || look.recursive || is_walking(look.root)) {
      missing_.walk_past(look.dir, name);
    }
    return {};
  }
  const FileType type = file_type_of_mode(now->mode);
  const FileStat stat = to_file_stat(*now);
  if (now->mount_id != roots_[look.root]->mount_id) {
    // Something is mounted there. What is under it stays what it was; of a directory that is new
    // here, only that it is there is kept. It may be another one of the root's, mounted twice.
    if (old || type != FileType::kDir) return {};
    FileStat bare = stat;
    bare.inode = 0;
    TRY(create_dir(look, name, bare, {}));
    return {};
  }
  TRY(note_stamp(look, stat, old));
  if (old) {
    TRY_ASSIGN(WriteTxn * open, txn());
    TRY_ASSIGN(const auto version, state_.journal->version(*open, old->node, kHead));
    if (version && same_object(roots_[look.root]->fs, *version, type, stat)) {
      if (type == FileType::kDir) {
        // One that was away when its parent was looked at last has not been looked at.
        const RootState& root = *roots_[look.root];
        const bool unwatched = root.watcher && !root.watcher->watches(old->node) &&
                               !root.unwatched.contains(old->node);
        if (look.recursive || unwatched) descend(look, old->node);
        return {};
      }
      const Told told = told_of(look, name, stat);
      const bool moved = !same_stat(roots_[look.root]->fs, *version, stat);
      if (capture_if_due(look, name, stat.size, told)) return {};
      if ((moved || read_again(look, *version, told)) && !put_off(look, name, told)) {
        capture(look, name, stat.size, told);
      }
      return {};
    }
  }
  return appeared(look, name, *now);
}

// A name that leads to something the journal does not have there. What it led to before is asked
// anew: an earlier name of the same look may have turned out to be where that moved.
Status Engine::appeared(Look& look, const std::string& name, const StatxResult& now) {
  const FileType type = file_type_of_mode(now.mode);
  const FileStat stat = to_file_stat(now);
  TRY_ASSIGN(Place found, place(look.root, look.dir, name, type, stat));
  if (found.how == Place::How::kRename || found.how == Place::How::kLink) {
    const bool unread =
        type == FileType::kFile && (look.offline || found.version->stat.size != stat.size ||
                                    found.version->stat.mtime_ns != stat.mtime_ns);
    // The move changed the ctime, so that no later look would notice other attributes.
    if (auto xattrs = read_xattrs_of_name(look.dir_fd->get(), name); !unread && xattrs.ok()) {
      found.version->xattrs.clear();
      for (auto& [key, value] : *xattrs) found.version->xattrs.push_back({key, value});
    }
    if (unread) {
      capture(look, name, stat.size);  // journaled as a move when it is read
      return {};
    }
    if (type == FileType::kDir || look.all) {
      // A list is some moments old: who moved on since then, and was seen there, is not moved back,
      // and who got another name since then has not moved from that.
      const auto live = statx_name(look.dir_fd->get(), name);
      if (!live.ok() || live->inode != stat.inode ||
          (type != FileType::kDir && live->nlink != stat.nlink)) {
        roots_[look.root]->dirty->add_name(look.dir, name, look.epoch, clock_.boottime_ns());
        return {};
      }
    }
    TRY(journal_move(look.root, look.dir, name, found, stat, look.offline));
    if (type == FileType::kDir && look.recursive) descend(look, found.node);
    return {};
  }
  if (type != FileType::kDir) {
    if (!put_off(look, name, Told::kSeen)) capture(look, name, stat.size);
    return {};
  }
  TRY_ASSIGN(const NodeId dir, create_dir(look, name, stat, found.old));
  descend(look, dir);
  return {};
}

// Journals a directory that the journal does not have, in place of what the name led to.
Result<NodeId> Engine::create_dir(const Look& look, const std::string& name, const FileStat& stat,
                                  const std::optional<Entry>& old) {
  if (old) TRY(displace(look.root, *old));
  TRY_ASSIGN(WriteTxn * open, txn());
  Record record;
  record.kind = RecordKind::kCreate;
  record.type = FileType::kDir;
  record.root = roots_[look.root]->root.node;
  TRY_ASSIGN(record.node, state_.journal->new_node(*open));
  record.parent = look.dir;
  record.name = name;
  record.stat = stat;
  if (old) record.flags |= kFlagReplaced;
  if (look.offline) record.flags |= kFlagOffline;
  if (old) {
    record.verdict = look.offline ? Verdict::kModifiedOffline : Verdict::kReplaced;
    TRY_ASSIGN(const auto replaced, state_.journal->version(*open, old->node, kHead));
    if (replaced) record.prev = replaced->seq;
  }
  TRY(append(record));
  return record.node;
}

void Engine::descend(Look& look, NodeId dir) {
  walk_stack_.push_back({look.root, dir, look.epoch, look.offline});
  ++outstanding_[look.epoch];
}

// The directory's own metadata: its times move with every entry.
Status Engine::compare_self(Look& look) {
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(auto version, state_.journal->version(*open, look.dir, kHead));
  if (!version) return {};
  FileStat stat = to_file_stat(look.self);
  if (!look.xattrs) {
    // A change of attributes that came without its own hint is found by ctime at the next full
    // look.
    look.xattrs = version->xattrs;
  }
  if (version->stat == stat && version->xattrs == *look.xattrs) return {};
  Record record;
  record.kind = RecordKind::kAttrib;
  record.verdict = Verdict::kAttrOnly;
  record.type = FileType::kDir;
  record.root = roots_[look.root]->root.node;
  record.node = look.dir;
  record.parent = version->parent;
  record.name = version->name;
  record.stat = stat;
  record.xattrs = std::move(*look.xattrs);
  record.prev = version->seq;
  if (look.offline) record.flags |= kFlagOffline;
  return append(record);
}

// A name that was captured a moment ago is read again when its hold ends; a flush does not wait,
// and what is found late is journaled as that, so it is read at once.
bool Engine::put_off(const Look& look, const std::string& name, Told told) {
  if (look.offline) return false;
  DirtySet& dirty = *roots_[look.root]->dirty;
  const auto held = dirty.held_until(look.dir, name);
  if (!held || *held <= clock_.boottime_ns() || !waiters_.empty()) return false;
  if (told == Told::kSeen) {
    dirty.add_name(look.dir, name, look.epoch, *held);
  } else {
    dirty.add_doubt(look.dir, name, look.epoch, *held);
  }
  return true;
}

void Engine::capture(Look& look, const std::string& name, uint64_t bytes, Told told) {
  if (group_.items.empty()) {
    group_.fs = roots_[look.root]->fs;
    group_.root = look.root;
    group_.epoch = look.epoch;
    group_.generation = generation_;
    group_.offline = look.offline;
  } else if (group_.root != look.root || group_.epoch != look.epoch ||
             group_.offline != look.offline) {
    close_capture_group();
    return capture(look, name, bytes, told);
  }
  busy_names_.insert({look.dir, name});
  group_.items.push_back({look.dir, look.dir_fd, name, told});
  group_bytes_ += bytes;
  ++outstanding_[look.epoch];
  if (group_.items.size() >= kCaptureNamesMax || group_bytes_ >= kCaptureBytesTarget) {
    close_capture_group();
  }
}

void Engine::close_capture_group() {
  if (!group_.items.empty()) captures_.push_back(std::move(group_));
  group_ = {};
  group_bytes_ = 0;
}

}  // namespace holdfast
