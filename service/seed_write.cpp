#include "service/seed_write.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/hash.h"
#include "base/path.h"
#include "service/restore_write.h"
#include "service/seed_walk.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr size_t kSeedCopyBytes = 1 << 20;

Error busy(const std::string& why) {
  return make_error(ErrorCode::kBusy, why + "; it is left alone, run this again");
}

// Labels and what a file system keeps for itself belong to the place and not to the file.
bool travels(const std::string& name) {
  return name.starts_with("user.") || name.starts_with("system.posix_acl_") ||
         name == "security.capability";
}

Record version_of(const SeedItem& item, const SeedOwner& owner) {
  Record version;
  version.type = item.image->type;
  version.stat.mode = owner.mode;
  version.stat.uid = owner.uid;
  version.stat.gid = owner.gid;
  version.stat.mtime_ns = item.image->mtime_ns;
  version.stat.rdev = item.image->rdev;
  version.link_target = item.image_link;
  return version;
}

void add_xattrs(int fd, Record& version) {
  const auto attributes = read_xattrs(fd);
  if (!attributes.ok()) return;
  for (const auto& [name, value] : *attributes) {
    if (travels(name)) version.xattrs.push_back({name, value});
  }
}

// Extended attributes that a file system cannot hold are no reason not to have the file.
Status set_all(int fd, Record version, std::string& warning) {
  auto status = set_metadata(fd, version);
  if (status.ok() || version.xattrs.empty()) return status;
  version.xattrs.clear();
  TRY(set_metadata(fd, version));
  warning = "its extended attributes are left out: " + status.error().message;
  return {};
}

}  // namespace

SeedWriter::SeedWriter(int source_fd, int dest_fd, std::string dest, bool stable_inodes)
    : source_fd_(source_fd),
      dest_fd_(dest_fd),
      dest_(std::move(dest)),
      stable_inodes_(stable_inodes) {
  const auto top = statx_fd(dest_fd_);
  char key[17];
  ::snprintf(key, sizeof key, "%llx", static_cast<unsigned long long>(top.ok() ? top->inode : 0));
  prefix_ = std::string(".holdfast-tmp-seed-") + key + "-";
}

// Always the same for a name: what a killed run left there is in the way of the next one, which
// removes it.
std::string SeedWriter::temporary_of(std::string_view name) const {
  char hash[17];
  ::snprintf(hash, sizeof hash, "%016llx", static_cast<unsigned long long>(xxh3_64(name)));
  return prefix_ + hash;
}

Result<Fd> SeedWriter::open_parent(const std::string& path, std::string& name) const {
  const auto [dir, last] = split_last(path);
  name = std::string(last);
  return open_beneath(dest_fd_, dir, O_PATH | O_DIRECTORY);
}

Status SeedWriter::copy(int from, int to, SeedJob& job) const {
  SeedItem& item = *job.item;
  TRY_ASSIGN(const StatxResult before, statx_fd(from));
  ContentHasher hasher;
  std::string buffer(std::min<uint64_t>(kSeedCopyBytes, before.size + 1), '\0');
  for (;;) {
    TRY_ASSIGN(const size_t got, pread_full(from, buffer.data(), buffer.size(), job.bytes));
    const std::string_view bytes = std::string_view(buffer).substr(0, got);
    hasher.update(bytes);
    TRY(pwrite_full(to, bytes, job.bytes));
    job.bytes += got;
    if (got < buffer.size()) break;
  }
  TRY_ASSIGN(const StatxResult after, statx_fd(from));
  const SeedStat stat = seed_stat_of(after);
  const SeedValue value{FileType::kFile, hasher.finish()};
  if (!same_seed_file(seed_stat_of(before), stat, true) ||
      !same_seed_file(*item.image, stat, true) || (item.image_value && item.image_value != value)) {
    return make_error(ErrorCode::kChanged, "it changed in the image while it was read");
  }
  item.image_value = value;
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const int64_t age_ns = now.tv_sec * 1'000'000'000 + now.tv_nsec - stat.ctime_ns;
  if (age_ns >= kSettledNs) {
    item.reading = SeedReading{stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode, value.hash};
  }
  return {};
}

Status SeedWriter::prepare_file(int dir_fd, SeedJob& job) const {
  auto from = open_beneath(source_fd_, job.item->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!from.ok()) return from.error().in("reading it in the image");
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  Fd to(::openat(dir_fd, job.temporary.c_str(), flags, 0600));
  if (!to && errno == EEXIST) {  // of a run that was killed
    ::unlinkat(dir_fd, job.temporary.c_str(), 0);
    to = Fd(::openat(dir_fd, job.temporary.c_str(), flags, 0600));
  }
  if (!to) return errno_error(errno, "creating a file");
  TRY(copy(from->get(), to.get(), job));
  Record version = version_of(*job.item, job.owner);
  add_xattrs(from->get(), version);
  TRY(set_all(to.get(), version, job.warning));
  TRY_ASSIGN(const StatxResult made, statx_fd(to.get()));
  job.inode = made.inode;
  return {};
}

Status SeedWriter::prepare_special(int dir_fd, SeedJob& job) const {
  Record version = version_of(*job.item, job.owner);
  if (version.type == FileType::kSocket) {
    return make_error(ErrorCode::kUnsupported,
                      "a socket cannot be copied; leave it out with "
                      "--exclude");
  }
  static constexpr uint32_t kTypes[] = {0,       S_IFREG,  S_IFDIR, S_IFLNK,
                                        S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
  version.stat.mode |= kTypes[static_cast<size_t>(version.type)];
  ::unlinkat(dir_fd, job.temporary.c_str(), 0);
  TRY(make_special(dir_fd, job.temporary, version));
  TRY_ASSIGN(const StatxResult made, statx_name(dir_fd, job.temporary));
  job.inode = made.inode;
  return {};
}

// Another name for a file that has its place already.
Status SeedWriter::prepare_link(int dir_fd, SeedJob& job) const {
  std::string name;
  TRY_ASSIGN(const Fd first_dir, open_parent(job.link_to, name));
  ::unlinkat(dir_fd, job.temporary.c_str(), 0);
  if (::linkat(first_dir.get(), name.c_str(), dir_fd, job.temporary.c_str(), 0) != 0) {
    return errno_error(errno, "linking it to " + display_path(job.link_to));
  }
  TRY_ASSIGN(const StatxResult made, statx_name(dir_fd, job.temporary));
  job.inode = made.inode;
  return {};
}

void SeedWriter::prepare(SeedJob& job) const {
  std::string name;
  auto dir = open_parent(job.item->path, name);
  if (!dir.ok()) {
    job.status = dir.error();
    return;
  }
  job.temporary = temporary_of(name);
  if (!job.link_to.empty()) {
    job.status = prepare_link(dir->get(), job);
  } else if (job.item->image->type == FileType::kFile) {
    job.status = prepare_file(dir->get(), job);
  } else {
    job.status = prepare_special(dir->get(), job);
  }
  if (!job.status.ok()) discard(job);
}

void SeedWriter::discard(const SeedJob& job) const {
  std::string name;
  const auto dir = open_parent(job.item->path, name);
  if (dir.ok() && !job.temporary.empty()) {
    ::unlinkat(dir->get(), job.temporary.c_str(), 0);
  }
}

Status SeedWriter::still_there(int dir_fd, const std::string& name, const SeedItem& item) const {
  const auto live = statx_name(dir_fd, name);
  if (!live.ok() && live.error().sys_errno != ENOENT) return live.error();
  if (!item.volume) return live.ok() ? busy("something came to this name meanwhile") : Status();
  if (!live.ok()) return busy("it was removed meanwhile");
  const SeedStat now = seed_stat_of(*live);
  if (now.type != item.volume->type) return busy("it became something else meanwhile");
  if (now.type == FileType::kSymlink) {
    const auto target = read_link(dir_fd, name);
    if (!target.ok() || *target != item.volume_link) return busy("it was changed meanwhile");
  }
  if (now.type != FileType::kFile) return {};
  // When another of its names is replaced, that moves its ctime.
  SeedStat expected = *item.volume;
  if (expected.nlink > 1) expected.ctime_ns = now.ctime_ns;
  if (!same_seed_file(now, expected, stable_inodes_)) return busy("it was changed meanwhile");
  const auto fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK);
  if (fd.ok() && ask_for_writers(fd->get()) == Writers::kSome) {
    return busy("a program has it open for writing");
  }
  return {};
}

Status SeedWriter::put_in_place(SeedJob& job) const {
  std::string name;
  TRY_ASSIGN(const Fd dir, open_parent(job.item->path, name));
  TRY(still_there(dir.get(), name, *job.item));
  const char* temporary = job.temporary.c_str();
  if (!job.item->volume) {
    if (::renameat2(dir.get(), temporary, dir.get(), name.c_str(), RENAME_NOREPLACE) == 0)
      return {};
    if (errno == EEXIST) return busy("something came to this name meanwhile");
    if (errno != EINVAL) return errno_error(errno, "renaming it to its name");
  }
  const bool was_dir = job.item->volume && job.item->volume->type == FileType::kDir;
  if (was_dir && ::unlinkat(dir.get(), name.c_str(), AT_REMOVEDIR) != 0) {
    if (errno != ENOTEMPTY) return errno_error(errno, "removing the directory in its place");
    return make_error(
        ErrorCode::kExists,
        "a directory that is not empty is in its place; move that away, then run this "
        "again");
  }
  if (::renameat(dir.get(), temporary, dir.get(), name.c_str()) != 0) {
    return errno_error(errno, "renaming it to its name");
  }
  return {};
}

void SeedWriter::publish(SeedJob& job) const {
  job.status = put_in_place(job);
  // Where both names are of the same file already, a rename does nothing, and both stay.
  if (!job.status.ok() || !job.link_to.empty()) discard(job);
}

Status SeedWriter::make_dir(const SeedItem& item, const SeedOwner& owner) const {
  std::string name;
  TRY_ASSIGN(const Fd dir, open_parent(item.path, name));
  TRY(still_there(dir.get(), name, item));
  if (item.volume && ::unlinkat(dir.get(), name.c_str(), 0) != 0) {
    return errno_error(errno, "removing what is in the directory's place");
  }
  // It gets its name with its mode and owner: killed in between, nobody would set them any more.
  const std::string temporary = temporary_of(name);
  ::unlinkat(dir.get(), temporary.c_str(), AT_REMOVEDIR);
  if (::mkdirat(dir.get(), temporary.c_str(), 0700) != 0) {
    return errno_error(errno, "creating a directory");
  }
  auto status = set_dir(dir.get(), temporary, item, owner);
  if (status.ok() && ::renameat(dir.get(), temporary.c_str(), dir.get(), name.c_str()) != 0) {
    status = errno_error(errno, "renaming it to its name");
  }
  if (!status.ok()) ::unlinkat(dir.get(), temporary.c_str(), AT_REMOVEDIR);
  return status;
}

Status SeedWriter::finish_dir(const SeedItem& item, const SeedOwner& owner) const {
  return set_dir(dest_fd_, item.path, item, owner);
}

Status SeedWriter::set_dir(int top_fd, const std::string& path, const SeedItem& item,
                           const SeedOwner& owner) const {
  TRY_ASSIGN(const Fd made, open_beneath(top_fd, path, O_RDONLY | O_DIRECTORY));
  Record version = version_of(item, owner);
  const auto from = open_beneath(source_fd_, item.path, O_RDONLY | O_DIRECTORY);
  if (from.ok()) add_xattrs(from->get(), version);
  std::string warning;
  return set_all(made.get(), version, warning);
}

Status SeedWriter::set_owner(const SeedItem& item, const SeedOwner& owner) const {
  std::string name;
  TRY_ASSIGN(const Fd dir, open_parent(item.path, name));
  TRY(still_there(dir.get(), name, item));
  if ((owner.uid != item.volume->uid || owner.gid != item.volume->gid) &&
      ::fchownat(dir.get(), name.c_str(), owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno_error(errno, "setting the owner");
  }
  if (item.volume->type == FileType::kSymlink) return {};
  TRY_ASSIGN(const Fd fd, open_beneath(dir.get(), name, O_RDONLY | O_NONBLOCK));
  if (::fchmod(fd.get(), owner.mode) != 0) return errno_error(errno, "setting the mode");
  return {};
}

Result<bool> SeedWriter::remove(const SeedItem& item) const {
  std::string name;
  TRY_ASSIGN(const Fd dir, open_parent(item.path, name));
  TRY(still_there(dir.get(), name, item));
  const bool is_dir = item.volume->type == FileType::kDir;
  if (::unlinkat(dir.get(), name.c_str(), is_dir ? AT_REMOVEDIR : 0) == 0) return true;
  if (is_dir && (errno == ENOTEMPTY || errno == EEXIST)) return false;
  return errno_error(errno, "removing it");
}

void SeedWriter::leftovers(const std::string& dir) const {
  const auto fd = open_beneath(dest_fd_, dir, O_RDONLY | O_DIRECTORY);
  if (!fd.ok()) return;
  std::vector<std::string> found;
  (void)for_each_name(fd->get(), [&](std::string_view name) {
    if (name.starts_with(prefix_)) found.emplace_back(name);
  }).ok();
  for (const std::string& name : found) {
    if (::unlinkat(fd->get(), name.c_str(), 0) != 0) {
      ::unlinkat(fd->get(), name.c_str(), AT_REMOVEDIR);
    }
  }
}

Status SeedWriter::sync() const {
  if (::syncfs(dest_fd_) != 0) return errno_error(errno, "syncing " + display_path(dest_));
  return {};
}

Error SeedWriter::explained(const std::string& path, const Error& error) const {
  Error told = error;
  if (error.sys_errno == EROFS) {
    told.message +=
        "; " + display_path(dest_) + " is mounted read-only: mount it writable (without :ro)";
  } else if (error.code == ErrorCode::kPermission && ::geteuid() == 0) {
    told.message +=
        "; this runs as root already: look for an immutable file (lsattr), for a "
        "server that does not trust root, or for capabilities that were dropped";
  } else if (error.code == ErrorCode::kPermission) {
    const std::string dir(split_last(path).first);
    const auto fd = open_beneath(dest_fd_, dir, O_PATH | O_DIRECTORY);
    const auto st = fd.ok() ? statx_fd(fd->get()) : Result<StatxResult>(StatxResult{});
    const std::string place = join_path(dest_, dir);
    const std::string who = std::to_string(::geteuid()) + ":" + std::to_string(::getegid());
    if (st.ok() && st->inode != 0) {
      char mode[8];
      ::snprintf(mode, sizeof mode, "%04o", st->mode & 07777u);
      told.message += "; " + display_path(place) + " belongs to " + std::to_string(st->uid) + ":" +
                      std::to_string(st->gid) + " with mode " + mode + ", and this runs as " + who +
                      ": chown -R " + who + " " + display_path(place) + ", or run it as root";
    }
  } else if (error.code == ErrorCode::kNoSpace) {
    const auto space = free_space("/proc/self/fd/" + std::to_string(dest_fd_));
    told.message += "; ";
    if (space.ok()) told.message += words_for_bytes(space->free_bytes) + " are free there; ";
    told.message += "make room on the disk of " + display_path(dest_) +
                    ", then run this again: it goes on where it was";
  }
  return told;
}

}  // namespace holdfast
