// The engine's coverage: which backend tells of a root, what is polled because it cannot be
// watched, and what is mounted over it.
#include <algorithm>

#include "base/fs_type.h"
#include "base/path.h"
#include "service/engine.h"
#include "service/engine_parts.h"
#include "watcher/fanotify_watcher.h"
#include "watcher/inotify_watcher.h"
#include "watcher/poll_watcher.h"

namespace holdfast {

namespace {
constexpr size_t kUnwatchedMax = 4096;
constexpr size_t kHiddenShown = 5;
}  // namespace

Result<Backend> backend_of_name(const std::string& name) {
  for (const auto& [known, backend] :
       {std::pair{"auto", Backend::kAuto}, std::pair{"fanotify", Backend::kFanotify},
        std::pair{"inotify", Backend::kInotify}, std::pair{"poll", Backend::kPoll}}) {
    if (name == known) return backend;
  }
  return make_error(ErrorCode::kUsage, "there is no backend \"" + name +
                                           "\"; there are: auto, fanotify, inotify, poll");
}

// The directory of this root with that inode number and birth time, whose path is asked where the
// number does not tell.
Result<std::optional<NodeId>> Engine::find_dir(const LmdbTxn& view, size_t index, uint64_t inode,
                                               int64_t btime_ns,
                                               const std::function<std::string()>& path) const {
  const RootState& root = *roots_[index];
  FileStat stat;
  stat.inode = inode;
  stat.btime_ns = btime_ns;
  const auto is_it = [&](NodeId dir) -> Result<bool> {
    TRY_ASSIGN(const auto version, state_.journal->version(view, dir, kHead));
    return version && version->kind != RecordKind::kDelete &&
           same_lasting_identity(root.fs, *version, FileType::kDir, stat);
  };
  TRY_ASSIGN(const auto known, state_.journal->inode(view, root.root.node, inode));
  if (known) {
    TRY_ASSIGN(const bool same, is_it(known->node));
    if (same) return std::optional<NodeId>(known->node);
  }
  // The journal has the number for no directory, or for another one: it was used again, the
  // directory has been copied up, or another name of the number was seen last.
  const std::string now = path();
  const auto below = path_below(now, root.spec.path);
  if (!below) return std::optional<NodeId>();
  TRY_ASSIGN(const auto dir, dir_at(view, root.root.node, *below));
  if (!dir) return dir;
  TRY_ASSIGN(const bool same, is_it(*dir));
  return same ? dir : std::nullopt;
}

Result<std::unique_ptr<Watcher>> Engine::make_fanotify(size_t index) {
  // The open write transaction where there is one: a directory may be known by a record that is not
  // committed yet. A batch is not opened for this.
  auto resolve = [this, index](uint64_t inode, int64_t btime_ns,
                               const auto& path) -> Result<std::optional<NodeId>> {
    std::unique_ptr<ReadTxn> committed;
    if (!batch_) {
      TRY_ASSIGN(committed, state_.env->begin_read());
    }
    const LmdbTxn& view = batch_ ? static_cast<const LmdbTxn&>(*batch_->txn) : *committed;
    return find_dir(view, index, inode, btime_ns, path);
  };
  TRY_ASSIGN(auto watcher, FanotifyWatcher::create(roots_[index]->fd.get(), resolve));
  return std::unique_ptr<Watcher>(std::move(watcher));
}

// What the options ask for; with auto the best that works here. What auto had to do without is kept
// in words.
Result<std::unique_ptr<Watcher>> Engine::make_watcher(size_t index) {
  RootState& root = *roots_[index];
  Backend backend = options_.backend;
  root.backend_why.clear();
  if (backend == Backend::kAuto) {
    const auto traits = fs_traits_of(root.fd.get());
    if (traits.ok() && traits->network) {
      root.backend_why = traits->name + " does not tell what others change";
      backend = Backend::kPoll;
    } else if (traits.ok() && !traits->stable_inodes) {
      root.backend_why = traits->name + " gives a directory another number when it is met again";
      backend = Backend::kPoll;
    }
  }
  if (backend == Backend::kAuto || backend == Backend::kFanotify) {
    auto watcher = make_fanotify(index);
    // Who asks for it at the start is told that it cannot be; later the next best has to do.
    if (watcher.ok() || (backend == Backend::kFanotify && !root.watcher)) return watcher;
    root.backend_why = watcher.error().message;
  }
  if (backend != Backend::kPoll) {
    auto watcher = InotifyWatcher::create();
    if (watcher.ok()) return std::unique_ptr<Watcher>(std::move(*watcher));
    // It is tried again; until then the root is polled.
    root.degraded.assign(1, watcher.error().message);
    root.no_inotify = true;
    root.inotify_retry_ns = clock_.boottime_ns() + options_.poll_interval_ns;
    root.backend_why = watcher.error().message;
  }
  TRY_ASSIGN(auto watcher, PollWatcher::create(options_.poll_interval_ns));
  return std::unique_ptr<Watcher>(std::move(watcher));
}

Status Engine::open_watcher(size_t index) {
  RootState& root = *roots_[index];
  if (!options_.watch) return {};
  root.unwatched.clear();
  root.unwatched_many = root.no_inotify = false;
  root.degraded.clear();
  TRY_ASSIGN(auto watcher, make_watcher(index));
  if (!fds_) {
    TRY_ASSIGN(FdSet fds, FdSet::create());
    fds_.emplace(std::move(fds));
  }
  TRY(fds_->add(watcher->fd()));
  root.watcher = std::move(watcher);
  root.path_check_ns = clock_.boottime_ns() + kRecheckNs;
  root.polled = root.watcher->backend() == std::string_view("poll");
  log_.info(root.spec.name + ": " + root.watcher->backend() +
            (root.backend_why.empty() ? "" : " (" + root.backend_why + ")"));
  if (!root.no_inotify) return {};
  return tell_degraded(index, "");
}

Status Engine::tell_degraded(size_t index, const std::string& path) {
  RootState& root = *roots_[index];
  const std::string& why = root.degraded.front();
  root.recheck_ns = clock_.boottime_ns() + options_.poll_interval_ns;
  if (root.degraded_why == why) return {};
  root.degraded_why = why;
  const std::string text = root.spec.name + ": " + display_path(path) + ": " + why;
  log_.write({LogLevel::kError, LogKind::kDegraded, text, root.spec.name, path, 0});
  return journal_gap(
      index, "not everything can be watched, the rest is polled " + poll_words() + ": " + why);
}

Status Engine::watch_dir(size_t index, NodeId dir, int dir_fd, const std::string& path) {
  RootState& root = *roots_[index];
  if (!root.watcher) return {};
  auto status = root.watcher->add_dir(dir, dir_fd);
  // Only limits are worth trying again; what may not be read is told by listing it.
  if (status.ok() || status.error().code == ErrorCode::kNotFound ||
      status.error().code == ErrorCode::kPermission) {
    root.unwatched.erase(dir);
    return {};
  }
  if (root.unwatched.size() < kUnwatchedMax) {
    root.unwatched.insert(dir);
  } else if (!root.unwatched.contains(dir)) {
    root.unwatched_many = true;
  }
  root.degraded.assign(1, status.error().message);
  return tell_degraded(index, path);
}

// A directory that cannot be listed or looked at, or not every name in it, is told once. Nothing in
// it counts as gone.
Status Engine::cannot_look(size_t index, NodeId dir, bool recursive, const std::string& note) {
  RootState& root = *roots_[index];
  if (root.unlisted.empty()) root.unlisted_retry_ns = clock_.boottime_ns() + kRecheckNs;
  const auto [known, added] = root.unlisted.try_emplace(dir, false);
  known->second = known->second || recursive;
  if (!added) return {};
  const std::string text = root.spec.name + ": " + note;
  log_.write({LogLevel::kWarn, LogKind::kGap, text, root.spec.name, "", 0});
  return journal_gap(index, note);
}

// No event says that it can be looked at again.
void Engine::retry_unlisted(RootState& root) {
  const int64_t now = clock_.boottime_ns();
  root.unlisted_retry_ns = now + kRecheckNs;
  for (const auto& [dir, recursive] : root.unlisted) {
    root.dirty->add_dir(dir, recursive, epoch_, now);
  }
}

// Looks at what nobody tells of. With `asked`, all that happened until now has to be found;
// without, a sweep waits until the one before is done and has rested as long as it took.
void Engine::sweep(size_t index, bool asked) {
  RootState& root = *roots_[index];
  const int64_t now = clock_.boottime_ns();
  root.recheck_ns = now + options_.poll_interval_ns;
  if (root.lost || (!asked && (root.sweeping || now < root.sweep_rest_ns))) return;
  if (root.polled || root.unwatched_many) {
    root.unwatched.clear();
    root.unwatched_many = false;
    root.dirty->add_dir(root.root.node, true, epoch_, now);
    root.dirty->add_self(root.root.node, epoch_, now);
  }
  for (const NodeId dir : root.unwatched) root.dirty->add_dir(dir, false, epoch_, now);
  if (!root.sweeping) root.sweep_began_ns = now;
  root.sweeping = true;
  root.sweep_epoch = asked ? epoch_ : epoch_++;
}

// Sweeps whose time has come, and the end of those that are done.
Status Engine::tend_coverage() {
  const int64_t now = clock_.boottime_ns();
  for (size_t i = 0; i < roots_.size(); ++i) {
    RootState& root = *roots_[i];
    check_path(root);
    if (!root.lost && !root.unlisted.empty() && root.unlisted_retry_ns <= now) {
      retry_unlisted(root);
    }
    if (root.sweeping) {
      const auto lowest = lowest_epoch();
      if (lowest && *lowest <= root.sweep_epoch) continue;
      root.sweeping = false;
      root.swept_ns = root.sweep_began_ns;
      root.sweep_rest_ns = now + (now - root.sweep_began_ns);
      TRY(end_degraded(i));
    }
    if (root.no_inotify) {  // its watcher says when to sweep
      TRY(retry_inotify(i));
      continue;
    }
    if (root.lost || root.degraded.empty() || root.recheck_ns > now) continue;
    sweep(i, false);
  }
  return {};
}

Status Engine::retry_inotify(size_t index) {
  RootState& root = *roots_[index];
  const int64_t now = clock_.boottime_ns();
  if (root.lost || root.inotify_retry_ns > now) return {};
  root.inotify_retry_ns = now + options_.poll_interval_ns;
  // Tried and let go before the root's own is made: there may be just one.
  if (const bool any = InotifyWatcher::create().ok(); !any) return {};
  TRY(open_watcher(index));
  if (root.no_inotify) return {};
  root.degraded_why.clear();
  root.dirty->add_dir(root.root.node, true, epoch_, now);
  return journal_gap(index, "the root is watched again; what changed meanwhile is found now");
}

Status Engine::end_degraded(size_t index) {
  RootState& root = *roots_[index];
  const bool polls = root.no_inotify || root.unwatched_many || !root.unwatched.empty();
  if (polls || root.degraded.empty()) return {};
  root.degraded.clear();
  root.degraded_why.clear();
  const std::string text = root.spec.name + ": everything is watched again";
  log_.write({LogLevel::kInfo, LogKind::kDegraded, text, root.spec.name, "", 0});
  return journal_gap(index, "everything is watched again; what changed meanwhile was found");
}

// Whether the root's path leads to another directory than the one that is open.
bool Engine::root_elsewhere(const RootState& root) {
  const auto there = open_directory(root.spec.path);
  if (!there.ok()) return true;
  const auto now = statx_fd(there->get()), before = statx_fd(root.fd.get());
  return !now.ok() || !before.ok() || now->mount_id != root.mount_id ||
         now->inode != before->inode || now->dev != before->dev;
}

// Nobody tells of a root that is gone with a directory above it.
void Engine::check_path(RootState& root) {
  const int64_t now = clock_.boottime_ns();
  if (root.lost || root.path_check_ns > now) return;
  root.path_check_ns = now + kRecheckNs;
  if (root_elsewhere(root)) root.dirty->add_self(root.root.node, epoch_, now);
}

// Takes what the root's path leads to for the root. False: it is on another mount than the root
// was, and is not the same.
Result<bool> Engine::root_mounted(size_t index, Fd fd, const StatxResult& st) {
  RootState& root = *roots_[index];
  if (st.mount_id == root.mount_id) {
    const auto before = statx_fd(root.fd.get());
    const bool other = !before.ok() || before->inode != st.inode || before->dev != st.dev;
    root.fd = std::move(fd);
    if (!other || !root.watcher) return true;
    // Marks and watches belong to the directory that was there.
    TRY(open_watcher(index));
    root.dirty->add_dir(root.root.node, true, epoch_, clock_.boottime_ns());
    if (!root.lost_why.empty()) return true;  // told already
    TRY(journal_gap(index, "the root is another directory now; it is compared as a whole"));
    return true;
  }
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto version, state_.journal->version(*open, root.root.node, kHead));
  if (version && !same_lasting_identity(root.fs, *version, FileType::kDir, to_file_stat(st))) {
    TRY_ASSIGN(const bool holds, holds_names(*open, root.root.node));
    if (holds) {
      TRY(root_lost(index,
                    "another file system is there (is something mounted over it, or not mounted?); "
                    "if it is to be taken for the root, restart the service"));
      return false;
    }
  }
  root.mount_id = st.mount_id;
  root.fd = std::move(fd);
  mounts_changed_ = true;  // what is mounted below it was not compared while it was away
  if (!root.watcher) return true;
  TRY(open_watcher(index));
  root.dirty->add_dir(root.root.node, true, epoch_, clock_.boottime_ns());
  TRY(journal_gap(index, "the root was mounted anew; what changed meanwhile is found now"));
  return true;
}

Result<bool> Engine::holds_names(const LmdbTxn& view, NodeId dir) {
  bool any = false;
  TRY(state_.journal->for_each_entry(view, dir, kHead, [&](const Entry&) {
    any = true;
    return Visit::kStop;
  }));
  return any;
}

// The directory that the journal has at this path below the root.
Result<std::optional<NodeId>> Engine::dir_at(const LmdbTxn& view, NodeId root,
                                             std::string_view path) const {
  NodeId dir = root;
  while (!path.empty()) {
    const size_t end = path.find('/');
    TRY_ASSIGN(const auto entry, state_.journal->entry(view, dir, path.substr(0, end), kHead));
    if (!entry || entry->type != FileType::kDir) return std::optional<NodeId>();
    dir = entry->node;
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
  }
  return std::optional<NodeId>(dir);
}

// Compares the mount table with what it was: a root's own mount is looked at at once, and what
// hides something that is kept, or does so no more, is a gap.
Status Engine::check_mounts() {
  mounts_changed_ = false;
  if (!mount_table_) return {};
  TRY_ASSIGN(const auto mounts, mount_table_->read());
  for (size_t i = 0; i < roots_.size(); ++i) {
    RootState& root = *roots_[i];
    const bool other = root_elsewhere(root);
    if (root.lost) {
      recheck(root);
    } else if (other) {
      root.dirty->add_self(root.root.node, epoch_, clock_.boottime_ns());
    }
    if (other) continue;  // what is below belongs to something else, or will be looked through
    TRY(compare_mounts(i, mounts));
  }
  return {};
}

Status Engine::compare_mounts(size_t index, const std::vector<MountPoint>& mounts) {
  RootState& root = *roots_[index];
  std::map<std::string, bool> now;
  for (const MountPoint& mount : mounts) {
    const auto below = path_below(mount.path, root.spec.path);
    if (!below || below->empty()) continue;
    std::string path(*below);
    if (const auto known = root.mounts.find(path); known != root.mounts.end()) {
      now.insert(*known);
      continue;
    }
    TRY_ASSIGN(WriteTxn * open, txn());
    TRY_ASSIGN(const auto dir, dir_at(*open, root.root.node, path));
    bool hides = false;
    if (dir) {
      TRY_ASSIGN(hides, holds_names(*open, *dir));
    }
    if (hides && !now.contains(path)) {
      const std::string note = display_path(path) + " is hidden by a mount (" + mount.fs_type +
                               "); nothing in it is taken as deleted, and nobody sees what "
                               "changes under it";
      const std::string text = root.spec.name + ": " + note;
      log_.write({LogLevel::kWarn, LogKind::kGap, text, root.spec.name, "", 0});
      TRY(journal_gap(index, note));
    }
    now.emplace(std::move(path), hides);
  }
  for (const auto& [path, told] : root.mounts) {
    if (now.contains(path)) continue;
    TRY_ASSIGN(WriteTxn * open, txn());
    TRY_ASSIGN(const auto dir, dir_at(*open, root.root.node, path));
    const int64_t at = clock_.boottime_ns();
    const auto [parent_path, name] = split_last(path);
    TRY_ASSIGN(const auto parent, dir_at(*open, root.root.node, parent_path));
    if (parent) root.dirty->add_name(*parent, name, epoch_, at);
    if (dir) root.dirty->add_dir(*dir, true, epoch_, at);
    if (!told) continue;
    TRY(journal_gap(index, "the mount over " + display_path(path) +
                               " is gone; what changed under it is found now"));
  }
  root.mounts = std::move(now);
  return {};
}

bool Engine::hidden_by_mount(const RootState& root, const std::string& path) const {
  return std::any_of(root.mounts.begin(), root.mounts.end(),
                     [&](const auto& mount) { return path_below(path, mount.first).has_value(); });
}

std::string Engine::poll_words() const {
  return "every " + std::to_string(options_.poll_interval_ns / 1'000'000'000) + " s";
}

std::string Engine::coverage_of(const RootState& root, bool scanning) const {
  const std::string every = poll_words();
  if (root.lost) return "lost: the directory is gone or is not the same";
  if (!root.watcher) return "none: no service watches";
  if (root.polled) {
    return "polled " + every + (root.backend_why.empty() ? "" : ": " + root.backend_why);
  }
  if (!root.degraded.empty()) {
    const size_t unwatched = root.unwatched.size();
    const size_t all = root.watcher->dir_count() + unwatched;
    return root.unwatched_many
               ? "partial: more than " + std::to_string(kUnwatchedMax) +
                     " directories cannot be watched, so everything is polled " + every
               : "partial: " + std::to_string(unwatched) + " of " + std::to_string(all) +
                     " directories are polled " + every;
  }
  if (scanning) return "scanning";
  std::string hidden;
  size_t count = 0;
  for (const auto& [path, hides] : root.mounts) {
    if (hides && ++count <= kHiddenShown)
      hidden += (hidden.empty() ? "" : ", ") + display_path(path);
  }
  if (count == 0) return "full";
  return "full, but for what a mount hides: " + hidden + (count > kHiddenShown ? ", …" : "");
}

}  // namespace holdfast
