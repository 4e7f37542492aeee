// The second half of a restore: what is too much goes, what is wanted is written, links and
// directories come last.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/path.h"
#include "service/refetch.h"
#include "service/restore_write.h"
#include "service/restorer.h"

namespace holdfast {

namespace {
// A repair may have told that the content is lost.
Error why_not_restored(const State& state, const Record& version, const Error& error) {
  const auto txn = state.env->begin_read();
  if (!txn.ok()) return error;
  const auto since = content_lost_since(state, **txn, version.content);
  if (!since.ok() || !*since) return error;
  return make_error(error.code, "its content is lost since a repair (@" +
                                    std::to_string((*since)->value) +
                                    " says so): " + error.message);
}
}  // namespace

namespace {
constexpr size_t kRenamesMax = 50'000;  // behind one sync barrier
constexpr uint64_t kBarrierBytes = 512ull << 20;
}  // namespace

Status Restorer::remove_extra(int dir_fd, const std::string& dir_path,
                              const std::set<std::string>& wanted) {
  if (options_.overwrite == Overwrite::kNever) return {};
  TRY_ASSIGN(const auto names, list_names(dir_fd));
  for (const std::string& name : names) {
    if (wanted.contains(name) || name.starts_with(".holdfast-tmp-")) continue;
    const std::string path = join_path(dir_path, name);
    auto live = statx_name(dir_fd, name);
    if (!live.ok()) continue;
    if (job_.ignore.excluded(path, S_ISDIR(live->mode))) continue;
    const bool holds_state = !job_.own_state.empty() &&
                             (job_.own_state == path || job_.own_state.starts_with(path + "/"));
    if (holds_state) continue;
    if (auto status = remove_name(dir_fd, path, name); !status.ok()) fail(path, status.error());
  }
  return {};
}

// In place, only what the journal holds is removed, so that the pinned present can bring it back;
// what is not watched (excluded, mounted there, in a cache directory) stays.
Status Restorer::remove_name(int dir_fd, const std::string& path, const std::string& name) {
  if (job_.in_place) {
    TRY_ASSIGN(const bool removed, remove_known(dir_fd, path, name));
    if (!removed) result_.warnings.push_back(path + " stays: it holds what is not watched");
    return {};
  }
  uint64_t removed = options_.dry_run ? 1 : 0;
  Status status;
  if (!options_.dry_run) status = remove_tree(dir_fd, name, removed);
  result_.deleted += removed;
  return status;
}

// False where something had to stay. Depth is bounded by the tree that the journal has walked
// already.
Result<bool> Restorer::remove_known(int dir_fd, const std::string& path, const std::string& name) {
  auto known = state_.journal->locate(*txn_, job_.root, path, kLatest);
  auto live = statx_name(dir_fd, name);
  if (!live.ok()) return true;
  if (!known.ok() || known->type != file_type_of_mode(live->mode)) return false;
  bool empty = true;
  if (known->type == FileType::kDir) {
    TRY_ASSIGN(const StatxResult above, statx_fd(dir_fd));
    if (live->mount_id != above.mount_id) return false;
    TRY_ASSIGN(const Fd dir, open_beneath(dir_fd, name, O_RDONLY | O_DIRECTORY));
    TRY_ASSIGN(const auto names, list_names(dir.get()));
    for (const std::string& child : names) {
      TRY_ASSIGN(const bool removed, remove_known(dir.get(), join_path(path, child), child));
      empty = empty && removed;
    }
  }
  if (!empty) return false;
  ++result_.deleted;
  if (options_.dry_run) return true;
  const int flags = known->type == FileType::kDir ? AT_REMOVEDIR : 0;
  if (::unlinkat(dir_fd, name.c_str(), flags) != 0) return errno_error(errno, "removing");
  return true;
}

Status Restorer::write_window() {
  window_dirs_ = 0;
  if (window_.empty()) return {};
  // Neighbours in the store are read together: one frame is decompressed once.
  std::sort(window_.begin(), window_.end(),
            [](const Item& a, const Item& b) { return a.location < b.location; });
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (size_t i = 1; i < options_.workers; ++i) threads.emplace_back([&] { write_items(next); });
  write_items(next);
  for (std::thread& thread : threads) thread.join();
  for (Item& item : window_) {
    if (!item.status.ok()) {
      fail(join_path(item.dir_path, item.name),
           why_not_restored(state_, item.version, item.status.error()));
      continue;
    }
    ++result_.changed;
    result_.bytes += item.version.stat.size;
    unsynced_bytes_ += item.version.stat.size;
    if (!direct()) renames_.push_back({item.dir_path, item.temporary, item.name});
  }
  window_.clear();
  if (renames_.size() >= kRenamesMax || unsynced_bytes_ >= kBarrierBytes) return barrier();
  return {};
}

void Restorer::write_items(std::atomic<size_t>& next) {
  constexpr size_t kTogether = 32;  // one frame's worth of small files stays with one worker
  auto txn = state_.env->begin_read();
  if (!txn.ok()) {
    for (size_t i = next.fetch_add(1); i < window_.size(); i = next.fetch_add(1)) {
      window_[i].status = txn.error();
    }
    return;
  }
  ChunkReader reader(*state_.store, **txn);
  for (size_t i = next.fetch_add(kTogether); i < window_.size(); i = next.fetch_add(kTogether)) {
    for (size_t k = i; k < std::min(i + kTogether, window_.size()); ++k) {
      Item& item = window_[k];
      if (cancelled_()) {
        item.status = make_error(ErrorCode::kInterrupted, "interrupted");
        continue;
      }
      item.status = write_file(item.dir_fd->get(), item.temporary, item.version, reader);
      progress_.bytes.fetch_add(item.version.stat.size, std::memory_order_relaxed);
    }
  }
}

Status Restorer::barrier() {
  unsynced_bytes_ = 0;
  if (direct() || renames_.empty()) return {};
  if (::syncfs(target_.get()) != 0) return errno_error(errno, "syncing " + job_.target);
  std::string opened_path;
  Fd dir;
  for (const Rename& rename : renames_) {
    if (!dir || opened_path != rename.dir_path) {
      auto fd = open_beneath(target_.get(), rename.dir_path, O_PATH | O_DIRECTORY);
      if (!fd.ok()) {
        fail(join_path(rename.dir_path, rename.name), fd.error());
        dir.reset();
        continue;
      }
      dir = std::move(*fd);
      opened_path = rename.dir_path;
    }
    if (auto way = make_way_for_database(dir.get(), rename); !way.ok()) {
      fail(join_path(rename.dir_path, rename.name), way.error());
      ::unlinkat(dir.get(), rename.temporary.c_str(), 0);
      continue;
    }
    if (::renameat(dir.get(), rename.temporary.c_str(), dir.get(), rename.name.c_str()) != 0) {
      fail(join_path(rename.dir_path, rename.name),
           errno_error(errno, "renaming to the final name"));
      ::unlinkat(dir.get(), rename.temporary.c_str(), 0);
    }
  }
  renames_.clear();
  return {};
}

Status Restorer::make_links() {
  for (const auto& [path, version] : links_) {
    const std::string& first = first_names_[version.node];
    const auto [dir_path, name_view] = split_last(path);
    const auto [first_dir_path, first_name_view] = split_last(first);
    const std::string name(name_view), first_name(first_name_view);
    if (options_.dry_run || !target_) continue;
    auto dir = open_beneath(target_.get(), dir_path, O_PATH | O_DIRECTORY);
    auto first_dir = open_beneath(target_.get(), first_dir_path, O_PATH | O_DIRECTORY);
    if (!dir.ok() || !first_dir.ok()) {
      fail(path, dir.ok() ? first_dir.error() : dir.error());
      continue;
    }
    auto live = statx_name(dir->get(), name);
    auto wanted = statx_name(first_dir->get(), first_name);
    if (live.ok() && wanted.ok() && live->inode == wanted->inode) continue;
    if (live.ok() && options_.overwrite == Overwrite::kNever) continue;
    if (live.ok()) clear_way(dir->get(), path, name, *live, version);
    const std::string made = temporary_name(++temporaries_);
    if (::linkat(first_dir->get(), first_name.c_str(), dir->get(), made.c_str(), 0) != 0 ||
        ::renameat(dir->get(), made.c_str(), dir->get(), name.c_str()) != 0) {
      fail(path, errno_error(errno, "linking to " + first));
      ::unlinkat(dir->get(), made.c_str(), 0);
      continue;
    }
    ++result_.changed;
  }
  return {};
}

// Directories last, children first: everything that is put into one moves its times.
Status Restorer::finish_dirs(NodeId top, const std::string& top_path) {
  if (options_.dry_run) return {};
  struct Level {
    NodeId dir;
    std::string path;
    bool opened;
  };
  std::vector<Level> stack{{top, top_path, false}};
  while (!stack.empty()) {
    if (!stack.back().opened) {
      stack.back().opened = true;
      const std::string path = stack.back().path;
      std::vector<Level> below;
      TRY(state_.journal->for_each_entry(*txn_, stack.back().dir, at_, [&](const Entry& entry) {
        if (entry.type == FileType::kDir && is_safe_name(entry.name)) {
          below.push_back({entry.node, join_path(path, entry.name), false});
        }
        return Visit::kContinue;
      }));
      stack.insert(stack.end(), below.begin(), below.end());
      continue;
    }
    const Level level = std::move(stack.back());
    stack.pop_back();
    TRY_ASSIGN(const auto version, state_.journal->version(*txn_, level.dir, at_));
    if (version) finish_dir(*version, level.path);
  }
  return {};
}

void Restorer::finish_dir(const Record& version, const std::string& path) {
  auto fd = open_beneath(target_.get(), path, O_RDONLY | O_DIRECTORY);
  if (!fd.ok()) return fail(path, fd.error());
  if (auto status = set_metadata(fd->get(), version); !status.ok()) fail(path, status.error());
}

}  // namespace holdfast
