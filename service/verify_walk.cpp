#include "service/verify_walk.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/fs.h"
#include "base/path.h"

namespace holdfast {

namespace {

// Something else has its place: what was in it is not there any more. Any other error (no right,
// too many open files, a failing disk) says nothing about what is in it.
bool says_missing(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.sys_errno == ENOTDIR ||
         error.sys_errno == ELOOP;
}

}  // namespace

std::shared_ptr<VerifyDir> open_verify_dir(const Root& root, const std::string& path) {
  auto dir = std::make_shared<VerifyDir>();
  dir->root = root;
  const auto refuse = [&](const Error& error) {
    dir->missing = says_missing(error);
    dir->why = dir->missing ? "its directory is not there" : error.message;
    return dir;
  };
  auto root_fd = open_directory(root.path);
  if (!root_fd.ok()) {
    dir->root_missing = says_missing(root_fd.error());
    return refuse(root_fd.error());
  }
  auto fs = fs_traits_of(root_fd->get());
  if (!fs.ok()) return refuse(fs.error());
  dir->fs = std::move(*fs);
  auto fd = open_beneath(root_fd->get(), path, O_PATH | O_DIRECTORY);
  if (!fd.ok()) return refuse(fd.error());
  const auto above = statx_fd(root_fd->get());
  const auto here = statx_fd(fd->get());
  if (!above.ok() || !here.ok()) return refuse(above.ok() ? here.error() : above.error());
  if (above->mount_id != here->mount_id) {
    dir->why = "something is mounted over its directory";
    return dir;
  }
  dir->fd = std::move(*fd);
  return dir;
}

Status VerifyWalk::add(const UserPath& path) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  auto found = state_.journal->locate(*txn, path.root.node, path.relative, at_);
  if (!found.ok()) return found.error().in("looking at @" + std::to_string(at_.value));
  if (found->type == FileType::kDir) {
    Level level;
    level.root = path.root;
    level.node = found->node;
    level.path = path.relative;
    stack_.push_back(std::move(level));
    return {};
  }
  TRY_ASSIGN(auto version, state_.journal->version(*txn, found->node, at_));
  if (!version) return {};
  VerifyItem item;
  item.dir = open_verify_dir(path.root, std::string(split_last(path.relative).first));
  item.path = path.relative;
  item.name = found->name;
  item.version = std::move(*version);
  item.version.parent = found->parent;
  item.version.name = found->name;
  single_.push_back(std::move(item));
  return {};
}

Status VerifyWalk::list(Level& level) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  level.listed = true;
  return state_.journal->for_each_entry(*txn, level.node, at_, [&](const Entry& entry) {
    level.entries.push_back(entry);
    return Visit::kContinue;
  });
}

// The level's next names, as many as there is room for. Then only its directories are of interest.
Status VerifyWalk::take(Level& level, std::vector<VerifyItem>& items) {
  if (!level.listed) TRY(list(level));
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  const auto dir = open_verify_dir(level.root, level.path);
  for (; level.at < level.entries.size() && items.size() < kVerifyItemsMax; ++level.at) {
    const Entry& entry = level.entries[level.at];
    TRY_ASSIGN(auto version, state_.journal->version(*txn, entry.node, at_));
    if (!version || !version->is_node_record()) continue;
    VerifyItem item;
    item.dir = dir;
    item.path = join_path(level.path, entry.name);
    item.name = entry.name;
    item.version = std::move(*version);
    item.version.parent = level.node;
    item.version.name = entry.name;
    items.push_back(std::move(item));
  }
  if (level.at < level.entries.size()) return {};
  std::erase_if(level.entries, [](const Entry& entry) { return entry.type != FileType::kDir; });
  level.entries.shrink_to_fit();
  level.at = 0;
  level.descending = true;
  return {};
}

Result<std::vector<VerifyItem>> VerifyWalk::next() {
  std::vector<VerifyItem> items;
  const size_t singles = std::min(single_.size(), kVerifyDirsMax);
  std::move(single_.end() - static_cast<ptrdiff_t>(singles), single_.end(),
            std::back_inserter(items));
  single_.resize(single_.size() - singles);
  for (size_t dirs = singles; !stack_.empty() && items.size() < kVerifyItemsMax;) {
    Level& level = stack_.back();
    if (!level.descending) {
      if (dirs++ >= kVerifyDirsMax && !items.empty()) break;
      TRY(take(level, items));
      continue;
    }
    if (level.at == level.entries.size()) {
      stack_.pop_back();
      continue;
    }
    const Entry& entry = level.entries[level.at++];
    Level below;
    below.root = level.root;
    below.node = entry.node;
    below.path = join_path(level.path, entry.name);
    stack_.push_back(std::move(below));
  }
  return items;
}

}  // namespace holdfast
