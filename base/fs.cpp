#include "base/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace holdfast {

namespace {

constexpr size_t kOpenPathBytesMax = 3800;  // below PATH_MAX; longer paths are opened in steps

Result<Fd> open_step(int dir_fd, const std::string& path, int flags, uint32_t mode) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  for (int attempt = 0;; ++attempt) {
    const long fd = syscall(SYS_openat2, dir_fd, path.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    // EAGAIN: a rename elsewhere raced with the check of the path; the kernel asks to try again.
    if ((errno == EAGAIN || errno == EINTR) && attempt < 100) continue;
    return errno_error(errno, "opening " + path);
  }
}

// Times that 64 bits of nanoseconds cannot hold (before 1678, after 2261) become the outermost
// ones.
int64_t to_ns(const statx_timestamp& time) {
  constexpr int64_t kSecondsMax = INT64_MAX / 1'000'000'000 - 1;
  const int64_t seconds = std::clamp<int64_t>(time.tv_sec, -kSecondsMax, kSecondsMax);
  return seconds * 1'000'000'000 + time.tv_nsec;
}

// linux/stat.h since 6.8: an id that no later mount gets again. Older kernels ignore the bit.
constexpr unsigned kStatxMntIdUnique = 0x4000;

// linux/stat.h since 6.10: the number of the subvolume (btrfs, bcachefs), where the kernel puts it
// in struct statx.
constexpr unsigned kStatxSubvolume = 0x8000;
constexpr size_t kSubvolumeOffset = 0xa0;
static_assert(sizeof(struct statx) == 0x100);

uint64_t subvolume_of(const struct statx& st) {
  uint64_t subvolume = 0;
  if ((st.stx_mask & kStatxSubvolume) != 0) {
    std::memcpy(&subvolume, reinterpret_cast<const char*>(&st) + kSubvolumeOffset,
                sizeof subvolume);
  }
  return subvolume;
}

StatxResult convert(const struct statx& st) {
  StatxResult result;
  result.mode = st.stx_mode;
  result.uid = st.stx_uid;
  result.gid = st.stx_gid;
  result.nlink = st.stx_nlink;
  result.rdev = makedev(st.stx_rdev_major, st.stx_rdev_minor);
  result.dev = makedev(st.stx_dev_major, st.stx_dev_minor);
  result.mount_id = (st.stx_mask & (STATX_MNT_ID | kStatxMntIdUnique)) ? st.stx_mnt_id : 0;
  result.size = st.stx_size;
  result.blocks = st.stx_blocks;
  result.inode = inode_within(subvolume_of(st), st.stx_ino);
  result.mtime_ns = to_ns(st.stx_mtime);
  result.ctime_ns = to_ns(st.stx_ctime);
  result.btime_ns = (st.stx_mask & STATX_BTIME) ? to_ns(st.stx_btime) : 0;
  return result;
}

constexpr unsigned kStatxMask =
    STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID | kStatxMntIdUnique | kStatxSubvolume;

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

Result<XattrList> read_xattrs_at(const std::string& path) {
  XattrList list;
  char small[1024];
  std::string names;
  ssize_t size = llistxattr(path.c_str(), small, sizeof small);
  if (size > 0) names.assign(small, static_cast<size_t>(size));
  while (size < 0 && errno == ERANGE) {
    size = llistxattr(path.c_str(), nullptr, 0);
    if (size <= 0) break;
    names.resize(static_cast<size_t>(size));
    size = llistxattr(path.c_str(), names.data(), names.size());
    if (size >= 0) names.resize(static_cast<size_t>(size));
  }
  if (size < 0) {
    if (errno == ENOTSUP || errno == EPERM || errno == EACCES) return list;
    return errno_error(errno, "listing extended attributes");
  }
  for (size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    std::string value(256, '\0');
    ssize_t got = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    if (got < 0 && errno == ERANGE) {
      value.resize(64 * 1024);  // XATTR_SIZE_MAX
      got = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    }
    if (got < 0) continue;  // vanished, or not ours to read
    value.resize(static_cast<size_t>(got));
    list.emplace_back(name, std::move(value));
  }
  std::sort(list.begin(), list.end());
  return list;
}

}  // namespace

uint64_t inode_within(uint64_t subvolume, uint64_t inode) {
  constexpr uint64_t kBtrfsTop = 5;  // BTRFS_FS_TREE_OBJECTID
  return subvolume == kBtrfsTop ? inode : inode ^ (subvolume << 40);
}

Result<Fd> open_beneath(int dir_fd, std::string_view path, int flags, uint32_t mode) {
  if (path.empty()) path = ".";
  Fd step;
  int from = dir_fd;
  while (path.size() > kOpenPathBytesMax) {
    const size_t cut = path.rfind('/', kOpenPathBytesMax);
    if (cut == std::string_view::npos || cut == 0) break;
    TRY_ASSIGN(Fd next, open_step(from, std::string(path.substr(0, cut)), O_PATH | O_DIRECTORY, 0));
    step = std::move(next);
    from = step.get();
    path.remove_prefix(cut + 1);
  }
  return open_step(from, std::string(path), flags, mode);
}

Result<Fd> open_directory(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error(errno, "opening the directory " + path);
  return fd;
}

Result<StatxResult> statx_fd(int fd) {
  struct statx st;
  if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, kStatxMask, &st) != 0) {
    return errno_error(errno, "statx");
  }
  return convert(st);
}

Result<StatxResult> statx_name(int dir_fd, const std::string& name) {
  struct statx st;
  if (statx(dir_fd, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, kStatxMask, &st) != 0) {
    return errno_error(errno, "statx " + name);
  }
  return convert(st);
}

namespace {
std::string read_handle(int dir_fd, const char* name, int flags) {
  alignas(file_handle) char space[sizeof(file_handle) + MAX_HANDLE_SZ];
  auto* handle = reinterpret_cast<file_handle*>(space);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  if (::name_to_handle_at(dir_fd, name, handle, &mount_id, flags) != 0) return "";
  std::string bytes(reinterpret_cast<const char*>(&handle->handle_type), sizeof(int));
  bytes.append(reinterpret_cast<const char*>(handle->f_handle), handle->handle_bytes);
  return bytes;
}
}  // namespace

std::string file_handle_of(int fd) { return read_handle(fd, "", AT_EMPTY_PATH); }
std::string file_handle_of_name(int dir_fd, const std::string& name) {
  return read_handle(dir_fd, name.c_str(), 0);
}

Status for_each_name(int dir_fd, const std::function<void(std::string_view)>& visit) {
  Fd fd(::openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return errno_error(errno, "opening a directory to list it");
  std::vector<char> buffer(64 * 1024);
  for (;;) {
    const long size = syscall(SYS_getdents64, fd.get(), buffer.data(), buffer.size());
    if (size < 0) return errno_error(errno, "listing a directory");
    if (size == 0) return {};
    for (long at = 0; at < size;) {
      const char* entry = buffer.data() + at;
      unsigned short length = 0;  // struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name
      std::memcpy(&length, entry + 16, sizeof length);
      const std::string_view name = entry + 19;
      at += length;
      if (name != "." && name != "..") visit(name);
    }
  }
}

Result<std::vector<std::string>> list_names(int dir_fd) {
  std::vector<std::string> names;
  TRY(for_each_name(dir_fd, [&](std::string_view name) { names.emplace_back(name); }));
  return names;
}

Result<std::string> read_link(int dir_fd, const std::string& name) {
  std::string target(4096, '\0');
  const ssize_t size = readlinkat(dir_fd, name.c_str(), target.data(), target.size());
  if (size < 0) return errno_error(errno, "reading the link " + name);
  target.resize(static_cast<size_t>(size));
  return target;
}

Result<XattrList> read_xattrs(int fd) {
  char probe[8];
  const ssize_t size = flistxattr(fd, probe, sizeof probe);  // most files have none: one call
  if (size == 0) return XattrList{};
  if (size < 0 && errno == ENOTSUP) return XattrList{};
  // The /proc link leads to this very file, whatever happens to its name.
  const std::string path = proc_path(fd) + "/.";
  struct stat st {};
  if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) return read_xattrs_at(path);
  XattrList list;
  std::string names(64 * 1024, '\0');
  const ssize_t names_size = flistxattr(fd, names.data(), names.size());
  if (names_size < 0) return errno_error(errno, "listing extended attributes");
  names.resize(static_cast<size_t>(names_size));
  for (size_t at = 0; at < names.size();) {
    const std::string name = names.c_str() + at;
    at += name.size() + 1;
    std::string value(64 * 1024, '\0');
    const ssize_t got = fgetxattr(fd, name.c_str(), value.data(), value.size());
    if (got < 0) continue;
    value.resize(static_cast<size_t>(got));
    list.emplace_back(name, std::move(value));
  }
  std::sort(list.begin(), list.end());
  return list;
}

Result<XattrList> read_xattrs_of_name(int dir_fd, const std::string& name) {
  return read_xattrs_at(proc_path(dir_fd) + "/" + name);
}

Writers ask_for_writers(int fd) {
  if (::fcntl(fd, F_SETLEASE, F_RDLCK) != 0) {
    return errno == EAGAIN ? Writers::kSome : Writers::kUnknown;
  }
  ::fcntl(fd, F_SETLEASE, F_UNLCK);
  return Writers::kNone;
}

DirectReads direct_reads_of(int fd) {
  // linux/stat.h has these since 6.1; older kernels ignore the bit.
  constexpr unsigned kStatxDioAlign = 0x2000;
  constexpr size_t kOffsetAlignAt = 0x9c;  // of stx_dio_offset_align
  struct statx st {};
  static_assert(sizeof st >= kOffsetAlignAt + sizeof(uint32_t));
  if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, kStatxDioAlign, &st) != 0 ||
      (st.stx_mask & kStatxDioAlign) == 0) {
    return DirectReads::kUnknown;
  }
  uint32_t align = 0;
  std::memcpy(&align, reinterpret_cast<const char*>(&st) + kOffsetAlignAt, sizeof align);
  return align == 0 ? DirectReads::kNo : DirectReads::kYes;
}

Result<size_t> pread_full(int fd, char* out, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, out + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error(errno, "reading");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

Status pwrite_full(int fd, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error(errno, "writing");
    bytes.remove_prefix(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return {};
}

Status write_full(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error(errno, "writing");
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return {};
}

Result<std::string> read_whole_file(const std::string& path, size_t bytes_max) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, "opening " + path);
  // The size cannot be asked for: files of /proc say 0.
  std::string bytes;
  for (size_t size = 0;;) {
    if (size > bytes_max) {
      return make_error(ErrorCode::kFailed, path + " is larger than expected");
    }
    bytes.resize(std::min(bytes_max + 1, size + std::max<size_t>(size, 16 * 1024)));
    TRY_ASSIGN(const size_t got,
               pread_full(fd.get(), bytes.data() + size, bytes.size() - size, size));
    size += got;
    if (size < bytes.size()) {
      bytes.resize(size);
      return bytes;
    }
  }
}

Status write_file_durably(const std::string& path, std::string_view bytes, uint32_t mode) {
  const std::string temporary = path + ".new";
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return errno_error(errno, "creating " + temporary);
  if (auto status = write_full(fd.get(), bytes); !status.ok()) return status.error().in(temporary);
  if (::fsync(fd.get()) != 0) return errno_error(errno, "syncing " + temporary);
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    return errno_error(errno, "renaming " + temporary + " to " + path);
  }
  TRY_ASSIGN(Fd dir, open_directory(parent));
  if (::fsync(dir.get()) != 0) return errno_error(errno, "syncing " + parent);
  return {};
}

Status make_directories(const std::string& path, uint32_t mode) {
  for (size_t at = 1; at <= path.size(); ++at) {
    if (at != path.size() && path[at] != '/') continue;
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      return errno_error(errno, "creating the directory " + part);
    }
  }
  TRY(open_directory(path));
  return {};
}

Result<FreeSpace> free_space(const std::string& path) {
  struct statvfs st {};
  if (statvfs(path.c_str(), &st) != 0)
    return errno_error(errno, "asking for the free space of " + path);
  return FreeSpace{uint64_t{st.f_bavail} * st.f_frsize, uint64_t{st.f_blocks} * st.f_frsize};
}

}  // namespace holdfast
