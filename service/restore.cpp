#include "service/restore.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/path.h"
#include "journal/verdict.h"
#include "service/restore_write.h"
#include "service/restorer.h"

namespace holdfast {

namespace {
constexpr size_t kWindowItemsMax = 8192;
constexpr size_t kWindowDirsMax = 400;  // open descriptors
}  // namespace

void Restorer::fail(const std::string& path, const Error& error) {
  result_.failed.push_back({path, error.message});
}

Result<RestoreResult> Restorer::run() {
  TRY_ASSIGN(txn_, state_.env->begin_read());
  TRY(open_target());
  for (const std::string& path : job_.paths) TRY(select(path));
  TRY(write_window());
  TRY(barrier());
  TRY(make_links());
  for (const std::string& path : job_.paths) {
    auto found = state_.journal->locate(*txn_, job_.root, path, at_);
    if (found.ok() && found->type == FileType::kDir) TRY(finish_dirs(found->node, path));
  }
  for (auto ancestor = ancestors_.rbegin(); ancestor != ancestors_.rend(); ++ancestor) {
    finish_dir(ancestor->second, ancestor->first);
  }
  TRY(publish_target());
  if (::geteuid() != 0) {
    result_.warnings.emplace_back(": owners are as far as a user who is not root may set them");
  }
  return std::move(result_);
}

// A target that does not exist is built beside its place and appears whole.
Status Restorer::open_target() {
  struct stat st {};
  if (::stat(job_.target.c_str(), &st) != 0) {
    if (options_.dry_run) return {};
    const auto [parent, name] = split_last(job_.target);
    TRY(make_directories(parent.empty() ? "/" : std::string(parent), 0755));
    building_ =
        join_path(parent.empty() ? "/" : parent, temporary_name(0) + "-" + std::string(name));
    if (::mkdir(building_.c_str(), 0700) != 0) {
      return errno_error(errno, "creating the directory " + building_);
    }
    TRY_ASSIGN(target_, open_directory(building_));
    return {};
  }
  TRY_ASSIGN(target_, open_directory(job_.target));
  return {};
}

Status Restorer::publish_target() {
  if (options_.dry_run || !target_) return {};
  if (::syncfs(target_.get()) != 0) return errno_error(errno, "syncing " + job_.target);
  if (!direct()) return {};
  if (::rename(building_.c_str(), job_.target.c_str()) != 0) {
    return errno_error(errno, "renaming " + building_ + " to " + job_.target);
  }
  building_.clear();
  return {};
}

Status Restorer::select(const std::string& path) {
  auto located = state_.journal->locate(*txn_, job_.root, path, at_);
  if (!located.ok() && located.error().code == ErrorCode::kNotFound && job_.in_place &&
      options_.remove_extra && state_.journal->locate(*txn_, job_.root, path, kLatest).ok()) {
    // It was not there at that moment: bringing that back means removing it.
    const auto [parent, name] = split_last(path);
    TRY_ASSIGN(const Fd dir, open_beneath(target_.get(), parent, O_PATH | O_DIRECTORY));
    return remove_name(dir.get(), path, std::string(name));
  }
  TRY(located);
  const Located found = *located;
  TRY(make_ancestors(path));
  if (found.type == FileType::kDir) return walk(found.node, path);
  const auto [parent, name] = split_last(path);
  std::shared_ptr<Fd> dir_fd;
  if (target_) {
    TRY_ASSIGN(Fd fd, open_beneath(target_.get(), parent, O_PATH | O_DIRECTORY));
    dir_fd = std::make_shared<Fd>(std::move(fd));
  }
  Entry entry;
  entry.name = name;
  entry.node = found.node;
  entry.type = found.type;
  return visit(dir_fd, std::string(parent), entry);
}

Status Restorer::make_ancestors(const std::string& path) {
  if (options_.dry_run) return {};
  for (size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (open_beneath(target_.get(), part, O_PATH | O_DIRECTORY).ok()) continue;
    TRY_ASSIGN(const Located found, state_.journal->locate(*txn_, job_.root, part, at_));
    TRY_ASSIGN(auto version, state_.journal->version(*txn_, found.node, at_));
    TRY_ASSIGN(auto fd, enter(*version, part));
    ancestors_.emplace_back(part, std::move(*version));
  }
  return {};
}

// Depth first, with an explicit stack: a tree may be deeper than any stack or descriptor limit.
Status Restorer::walk(NodeId top, const std::string& top_path) {
  std::vector<std::pair<NodeId, std::string>> stack{{top, top_path}};
  while (!stack.empty()) {
    if (cancelled_()) return make_error(ErrorCode::kInterrupted, "the restore was interrupted");
    const NodeId dir = stack.back().first;
    const std::string path = std::move(stack.back().second);
    stack.pop_back();
    TRY_ASSIGN(const auto version, state_.journal->version(*txn_, dir, at_));
    if (!version) continue;
    ++result_.files;
    auto fd = enter(*version, path);
    if (!fd.ok()) {
      fail(path, fd.error());
      continue;
    }
    if (++window_dirs_ >= kWindowDirsMax) TRY(write_window());
    std::set<std::string> wanted;
    std::vector<std::pair<NodeId, std::string>> below;
    Status visited;
    TRY(state_.journal->for_each_entry(*txn_, dir, at_, [&](const Entry& entry) {
      // A damaged record must not lead out of the target.
      if (!is_safe_name(entry.name)) {
        fail(join_path(path, display_path(entry.name)),
             make_error(ErrorCode::kDamaged, "the recorded name is not a possible file name"));
        return Visit::kContinue;
      }
      if (options_.remove_extra) wanted.insert(entry.name);
      if (entry.type == FileType::kDir) {
        below.emplace_back(entry.node, join_path(path, entry.name));
        return Visit::kContinue;
      }
      visited = visit(*fd, path, entry);
      return visited.ok() ? Visit::kContinue : Visit::kStop;
    }));
    TRY(visited);
    if (options_.remove_extra && *fd) {
      auto removed = remove_extra((*fd)->get(), path, wanted);
      if (!removed.ok()) fail(path, removed.error());
    }
    stack.insert(stack.end(), std::make_move_iterator(below.rbegin()),
                 std::make_move_iterator(below.rend()));
  }
  return {};
}

// Opens the directory in the target, making it where it is missing. nullptr in a dry run without
// it.
Result<std::shared_ptr<Fd>> Restorer::enter(const Record& version, const std::string& path) {
  if (!target_) return std::shared_ptr<Fd>();
  auto fd = open_beneath(target_.get(), path, O_PATH | O_DIRECTORY);
  if (fd.ok()) return std::make_shared<Fd>(std::move(*fd));
  const auto [parent, name_view] = split_last(path);
  const std::string name(name_view);
  auto parent_fd = open_beneath(target_.get(), parent, O_PATH | O_DIRECTORY);
  if (!parent_fd.ok()) {
    if (!options_.dry_run) return parent_fd.error();
    ++result_.changed;
    return std::shared_ptr<Fd>();
  }
  if (auto live = statx_name(parent_fd->get(), name); live.ok()) {
    if (!clear_way(parent_fd->get(), path, name, *live, version)) {
      return make_error(ErrorCode::kExists,
                        "something else is there, and --overwrite never was given");
    }
  }
  ++result_.changed;
  if (options_.dry_run) return std::shared_ptr<Fd>();
  if (::mkdirat(parent_fd->get(), name.c_str(), 0700) != 0) {
    return errno_error(errno, "creating the directory");
  }
  TRY_ASSIGN(Fd made, open_beneath(parent_fd->get(), name, O_PATH | O_DIRECTORY));
  return std::make_shared<Fd>(std::move(made));
}

// Removes something of another type that stands where the version belongs.
bool Restorer::clear_way(int dir_fd, const std::string& path, const std::string& name,
                         const StatxResult& live, const Record& version) {
  if (file_type_of_mode(live.mode) == version.type) return true;
  if (options_.overwrite == Overwrite::kNever) return false;
  if (options_.dry_run) return true;
  if (auto status = remove_name(dir_fd, path, name); !status.ok()) fail(path, status.error());
  if (!statx_name(dir_fd, name).ok()) return true;
  fail(path,
       make_error(ErrorCode::kExists, "what is in its place could not be removed as a whole"));
  return false;
}

Status Restorer::visit(const std::shared_ptr<Fd>& dir_fd, const std::string& dir_path,
                       const Entry& entry) {
  TRY_ASSIGN(auto version, state_.journal->version(*txn_, entry.node, at_));
  if (!version) {
    fail(join_path(dir_path, entry.name),
         make_error(ErrorCode::kDamaged, "the journal has the name but no version"));
    return {};
  }
  ++result_.files;
  progress_.files.fetch_add(1, std::memory_order_relaxed);
  const std::string path = join_path(dir_path, entry.name);
  if (version->stat.nlink > 1) {  // of any type: symlinks and FIFOs have several names too
    const auto [first, is_first] = first_names_.try_emplace(entry.node, path);
    if (!is_first) {
      links_.emplace_back(path, std::move(*version));
      return {};
    }
  }
  if (version->type == FileType::kFile) {
    return visit_file(dir_fd, dir_path, entry.name, std::move(*version));
  }
  return visit_special(dir_fd ? dir_fd->get() : -1, dir_path, entry.name, *version);
}

Status Restorer::visit_file(const std::shared_ptr<Fd>& dir_fd, const std::string& dir_path,
                            const std::string& name, Record version) {
  const std::string path = join_path(dir_path, name);
  if (dir_fd && !direct()) {
    auto live = statx_name(dir_fd->get(), name);
    if (live.ok()) {
      if (options_.overwrite == Overwrite::kNever) return {};
      if (!clear_way(dir_fd->get(), path, name, *live, version)) return {};
      const bool regular = file_type_of_mode(live->mode) == FileType::kFile;
      if (regular && options_.overwrite == Overwrite::kIfChanged) {
        TRY_ASSIGN(const bool same, same_content(dir_fd->get(), path, name, *live, version));
        if (same) {
          auto fd = open_beneath(dir_fd->get(), name, O_RDONLY | O_NONBLOCK);
          if (fd.ok() && same_metadata(*live, version) && same_xattrs(fd->get(), version))
            return {};
          ++result_.changed;
          if (options_.dry_run) return {};
          auto status = fd.ok() ? set_metadata(fd->get(), version) : Status(fd.error());
          if (!status.ok()) fail(path, status.error());
          return {};
        }
      }
    }
  }
  if (options_.dry_run) {
    ++result_.changed;
    result_.bytes += version.stat.size;
    return {};
  }
  Item item;
  item.dir_fd = dir_fd;
  item.dir_path = dir_path;
  item.name = name;
  item.temporary = direct() ? name : temporary_name(++temporaries_);
  if (version.content.kind == ContentKind::kChunk || version.content.kind == ContentKind::kRecipe) {
    TRY_ASSIGN(const auto location, state_.store->locate(*txn_, version.content.id));
    if (location) item.location = *location;
  }
  item.version = std::move(version);
  window_.push_back(std::move(item));
  if (window_.size() >= kWindowItemsMax) return write_window();
  return {};
}

// The journal knows what a file held when its stamps were as they are now; else its bytes tell.
// Not so where a verdict says that the disk holds something else under these stamps, or cannot be
// read, or reads now so and now so: there the journal has the good content, and the page cache may
// have it too. Such a file is written anew whatever it looks like.
Result<bool> Restorer::same_content(int dir_fd, const std::string& path, const std::string& name,
                                    const StatxResult& live, const Record& version) {
  TRY_ASSIGN(const auto shown, shows_content(dir_fd, name, version));
  if (shown ? !*shown : live.size != version.stat.size) return false;
  auto located = state_.journal->locate(*txn_, job_.root, path, kLatest);
  if (located.ok()) {
    TRY_ASSIGN(const auto standing, state_.journal->standing_of(*txn_, located->node));
    if (standing && (is_corruption(standing->verdict) || ends_by_itself(standing->verdict))) {
      return false;
    }
    if (shown) return true;
    TRY_ASSIGN(const auto head, state_.journal->version(*txn_, located->node, kLatest));
    if (head && head->stat.inode == live.inode && head->stat.ctime_ns == live.ctime_ns &&
        head->stat.mtime_ns == live.mtime_ns && head->content.stored() &&
        (head->flags & (kFlagUnstable | kFlagLive)) == 0) {
      return head->content == version.content;
    }
  }
  if (shown) return true;
  ChunkReader reader(*state_.store, *txn_);
  return has_content(dir_fd, name, version, reader);
}

Status Restorer::visit_special(int dir_fd, const std::string& dir_path, const std::string& name,
                               const Record& version) {
  const std::string path = join_path(dir_path, name);
  if (dir_fd >= 0) {
    auto live = statx_name(dir_fd, name);
    if (live.ok()) {
      if (options_.overwrite == Overwrite::kNever) return {};
      if (!clear_way(dir_fd, path, name, *live, version)) return {};
      const bool same = same_special(dir_fd, name, *live, version);
      if (same && options_.overwrite == Overwrite::kIfChanged) return {};
    }
  }
  ++result_.changed;
  if (options_.dry_run) return {};
  const std::string made = direct() ? name : temporary_name(++temporaries_);
  if (auto status = make_special(dir_fd, made, version); !status.ok()) {
    ::unlinkat(dir_fd, made.c_str(), 0);
    fail(path, status.error());
    return {};
  }
  if (!direct() && ::renameat(dir_fd, made.c_str(), dir_fd, name.c_str()) != 0) {
    fail(path, errno_error(errno, "renaming to the final name"));
    ::unlinkat(dir_fd, made.c_str(), 0);
  }
  return {};
}

Result<RestoreResult> restore(State& state, const RestoreJob& job, Sequence at,
                              const RestoreOptions& options, RestoreProgress& progress,
                              const std::function<bool()>& cancelled) {
  Restorer restorer(state, job, at, options, progress, cancelled);
  auto result = restorer.run();
  if (!result.ok()) return result.error().in("restoring to " + display_path(job.target));
  return result;
}

}  // namespace holdfast
