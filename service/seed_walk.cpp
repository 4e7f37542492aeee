#include "service/seed_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/fs.h"
#include "base/hash.h"
#include "base/path.h"

namespace holdfast {

namespace {

constexpr size_t kHashBytes = 1 << 20;
constexpr const char* kOwnPrefix = ".holdfast-tmp-";

int64_t wall_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// Runs `work(i)` for i below `count`, on a few threads.
void spread(size_t count, const std::function<bool()>& cancelled,
            const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  const auto run = [&] {
    for (size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      if (cancelled()) return;
      work(i);
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(kSeedThreads, count); ++i) threads.emplace_back(run);
  run();
  for (std::thread& thread : threads) thread.join();
}

// The last directory that was opened, as items come in the order of their paths.
class LastDir {
 public:
  explicit LastDir(int top_fd) : top_fd_(top_fd) {}
  Result<int> enter(std::string_view dir) {
    if (dir.empty()) return top_fd_;
    if (!fd_ || path_ != dir) {
      path_ = std::string(dir);
      fd_.reset();
      error_.reset();
      auto opened = open_beneath(top_fd_, dir, O_PATH | O_DIRECTORY);
      if (opened.ok()) {
        fd_ = std::move(*opened);
      } else {
        error_ = opened.error();
      }
    }
    if (error_) return *error_;
    return fd_.get();
  }

 private:
  const int top_fd_;
  std::string path_;
  Fd fd_;
  std::optional<Error> error_;
};

bool is_no_directory(const Error& error) {
  return error.sys_errno == ELOOP || error.sys_errno == ENOTDIR;
}

}  // namespace

SeedStat seed_stat_of(const StatxResult& st) {
  SeedStat stat;
  stat.type = file_type_of_mode(st.mode);
  stat.mode = st.mode & kModeBits;
  stat.uid = st.uid;
  stat.gid = st.gid;
  stat.nlink = st.nlink;
  stat.rdev = st.rdev;
  stat.size = st.size;
  stat.inode = st.inode;
  stat.mtime_ns = st.mtime_ns;
  stat.ctime_ns = st.ctime_ns;
  return stat;
}

bool same_seed_file(const SeedStat& a, const SeedStat& b, bool stable_inodes) {
  return a.type == b.type && a.size == b.size && a.mtime_ns == b.mtime_ns &&
         a.ctime_ns == b.ctime_ns && (!stable_inodes || a.inode == b.inode);
}

Result<std::vector<SeedItem>> SeedWalk::image(const IgnoreRules& excludes,
                                              const std::function<bool()>& cancelled) const {
  std::vector<SeedItem> items;
  std::vector<std::string> dirs{""};
  while (!dirs.empty()) {
    if (cancelled()) return make_error(ErrorCode::kInterrupted, "interrupted");
    const std::string dir = std::move(dirs.back());
    dirs.pop_back();
    const size_t first = items.size();
    TRY(walk(dir, excludes, cancelled, items));
    for (size_t i = first; i < items.size(); ++i) {
      if (items[i].image && items[i].image->type == FileType::kDir) dirs.push_back(items[i].path);
    }
  }
  std::sort(items.begin(), items.end(),
            [](const SeedItem& a, const SeedItem& b) { return a.path < b.path; });
  return items;
}

// One directory. What cannot be looked at is an item that has failed.
Status SeedWalk::walk(const std::string& dir, const IgnoreRules& excludes,
                      const std::function<bool()>& cancelled, std::vector<SeedItem>& items) const {
  auto fd = open_beneath(source_fd_, dir, O_RDONLY | O_DIRECTORY);
  Status listed = fd.ok() ? Status() : Status(fd.error());
  if (listed.ok()) {
    listed = for_each_name(fd->get(), [&](std::string_view name) {
      if (cancelled() || name.starts_with(kOwnPrefix)) return;
      SeedItem item;
      item.path = join_path(dir, name);
      auto st = statx_name(fd->get(), std::string(name));
      if (!st.ok()) {
        item.failed = st.error().in("looking at it in the image");
      } else {
        if (excludes.excluded(item.path, S_ISDIR(st->mode))) return;
        item.image = seed_stat_of(*st);
        if (item.image->type == FileType::kSymlink) {
          auto target = read_link(fd->get(), std::string(name));
          if (!target.ok()) item.failed = target.error().in("reading the link in the image");
          if (target.ok()) item.image_link = std::move(*target);
          item.image_value = seed_value_of_link(item.image_link);
        } else if (item.image->type != FileType::kFile) {
          item.image_value = seed_value_of_special(item.image->type, item.image->rdev);
        }
      }
      items.push_back(std::move(item));
    });
  }
  if (listed.ok()) return {};
  if (dir.empty()) return listed.error().in("listing the image's directory");
  for (SeedItem& item : items) {
    if (item.path == dir) item.failed = listed.error().in("listing it in the image");
  }
  return {};
}

void SeedWalk::look(size_t count, const ItemAt& item) const {
  const auto top = statx_fd(dest_fd_);
  const uint64_t mount_id = top.ok() ? top->mount_id : 0;
  const size_t half = count / 2;
  std::thread thread([&] { look_at(0, half, item, mount_id); });
  look_at(half, count, item, mount_id);
  thread.join();
}

void SeedWalk::look_at(size_t first, size_t last, const ItemAt& item_at, uint64_t mount_id) const {
  LastDir open(dest_fd_);
  for (size_t i = first; i < last; ++i) {
    SeedItem* item = item_at(i);
    item->volume.reset();
    item->volume_value.reset();
    item->blocked = false;
    const auto [dir, name_view] = split_last(item->path);
    const std::string name(name_view);
    const auto dir_fd = open.enter(dir);
    if (!dir_fd.ok()) {
      item->blocked = is_no_directory(dir_fd.error());
      if (!item->blocked && dir_fd.error().sys_errno != ENOENT) item->failed = dir_fd.error();
      continue;
    }
    auto st = statx_name(*dir_fd, name);
    if (!st.ok()) {
      if (st.error().sys_errno != ENOENT) item->failed = st.error();
      continue;
    }
    if (st->mount_id != mount_id) {
      item->failed = make_error(ErrorCode::kFailed,
                                "another file system is mounted there, which the journal leaves "
                                "out; seed into it by its own path");
      continue;
    }
    item->volume = seed_stat_of(*st);
    if (item->volume->type == FileType::kSymlink) {
      auto target = read_link(*dir_fd, name);
      if (!target.ok()) item->failed = target.error();
      if (target.ok()) item->volume_link = std::move(*target);
      item->volume_value = seed_value_of_link(item->volume_link);
    } else if (item->volume->type != FileType::kFile) {
      item->volume_value = seed_value_of_special(item->volume->type, item->volume->rdev);
    }
  }
}

Result<ContentHash> hash_beneath(int top_fd, const std::string& path, SeedStat& stat) {
  TRY_ASSIGN(const Fd fd, open_beneath(top_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  TRY_ASSIGN(const StatxResult before, statx_fd(fd.get()));
  if (!S_ISREG(before.mode)) return make_error(ErrorCode::kChanged, "it is no file any more");
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  ContentHasher hasher;
  std::string buffer(std::min<uint64_t>(kHashBytes, before.size + 1), '\0');
  for (uint64_t at = 0;;) {
    TRY_ASSIGN(const size_t got, pread_full(fd.get(), buffer.data(), buffer.size(), at));
    hasher.update({buffer.data(), got});
    at += got;
    if (got < buffer.size()) break;
  }
  TRY_ASSIGN(const StatxResult after, statx_fd(fd.get()));
  stat = seed_stat_of(after);
  if (!same_seed_file(seed_stat_of(before), stat, true)) {
    return make_error(ErrorCode::kChanged, "it changed while it was read; run this again");
  }
  return hasher.finish();
}

void SeedWalk::read_image(const std::vector<SeedItem*>& items,
                          const std::function<bool()>& cancelled) const {
  spread(items.size(), cancelled, [&](size_t i) {
    SeedItem& item = *items[i];
    SeedStat stat;
    const auto hash = hash_beneath(source_fd_, item.path, stat);
    if (!hash.ok()) {
      item.failed = hash.error().in("reading it in the image");
      return;
    }
    item.image = stat;
    item.image_value = SeedValue{FileType::kFile, *hash};
    const int64_t age_ns = wall_ns() - stat.ctime_ns;
    if (age_ns >= kSettledNs) {
      item.reading = SeedReading{stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, *hash};
    }
  });
}

void SeedWalk::read_volume(const std::vector<SeedItem*>& items,
                           const std::function<bool()>& cancelled) const {
  spread(items.size(), cancelled, [&](size_t i) {
    SeedItem& item = *items[i];
    SeedStat stat;
    const auto hash = hash_beneath(dest_fd_, item.path, stat);
    if (!hash.ok()) {
      item.failed = hash.error().in("reading it");
      return;
    }
    item.volume = stat;
    item.volume_value = SeedValue{FileType::kFile, *hash};
  });
}

}  // namespace holdfast
