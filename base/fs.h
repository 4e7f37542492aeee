// The file system as Holdfast uses it: always relative to a directory that is already open, never
// through a symlink, never above it (openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
// RESOLVE_NO_MAGICLINKS). Blocking calls; thread-safe (no shared state). Paths are bytes; they may
// be longer than PATH_MAX.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace holdfast {

inline constexpr uint32_t kModeBits = 07777;  // of a mode: all but the type

// What statx says. Times are nanoseconds since 1970.
struct StatxResult {
  uint32_t mode = 0, uid = 0, gid = 0, nlink = 0;
  uint64_t rdev = 0, dev = 0, mount_id = 0;
  uint64_t size = 0, blocks = 0, inode = 0;  // blocks of 512 bytes; inode: see inode_within()
  int64_t mtime_ns = 0, ctime_ns = 0, btime_ns = 0;
};

// The number that stands for an inode here. Each subvolume of btrfs and bcachefs counts its own,
// and a snapshot repeats numbers and birth times of what it was taken of; so the subvolume's
// number, which lasts, is mixed into the upper bits. Of 0 (no subvolumes, or a kernel before
// Linux 6.10 that does not tell) and of the top of a btrfs the number is the plain one.
uint64_t inode_within(uint64_t subvolume, uint64_t inode);

// Opens `path` ("" or "." is the directory itself) below `dir_fd`. O_CLOEXEC and O_NOFOLLOW are
// added.
Result<Fd> open_beneath(int dir_fd, std::string_view path, int flags, uint32_t mode = 0);
// Opens an absolute directory that a user named; here symlinks in the path are the user's own
// business.
Result<Fd> open_directory(const std::string& path);
Result<StatxResult> statx_fd(int fd);
// One name in the open directory, not followed. `name` must be a single component.
Result<StatxResult> statx_name(int dir_fd, const std::string& name);
// The file's handle (name_to_handle_at: its type, then its bytes), which the kernel gives to no
// other file of that file system, ever; "" where the file system has none.
std::string file_handle_of(int fd);
std::string file_handle_of_name(int dir_fd, const std::string& name);  // not followed
// Names in the open directory (any readable or O_PATH descriptor), without "." and "..", unsorted.
Result<std::vector<std::string>> list_names(int dir_fd);
// The same, each name as it is read.
Status for_each_name(int dir_fd, const std::function<void(std::string_view)>& visit);
Result<std::string> read_link(int dir_fd, const std::string& name);

using XattrList = std::vector<std::pair<std::string, std::string>>;  // sorted by name
// All extended attributes that can be read. A file system without them has none.
Result<XattrList> read_xattrs(int fd);
// Of a name that can't be opened (symlinks, sockets): through the open directory, not followed.
Result<XattrList> read_xattrs_of_name(int dir_fd, const std::string& name);

// Whether any program has the regular file open for writing, or mapped so, asked by taking a read
// lease for a moment (fcntl F_SETLEASE). `fd` must be open for reading only. Asking needs the
// file's owner or CAP_LEASE, and a file system with leases. A program that opens the file in that
// moment waits for its end. The process must ignore SIGIO.
enum class Writers : uint8_t { kNone, kSome, kUnknown };
Writers ask_for_writers(int fd);

// Whether reading the open regular file with O_DIRECT leaves the page cache out (statx
// STATX_DIOALIGN). kNo: the kernel takes the flag and reads through the cache nevertheless.
// kUnknown: it does not say.
enum class DirectReads : uint8_t { kYes, kNo, kUnknown };
DirectReads direct_reads_of(int fd);

// Reads exactly `size` bytes at `offset` unless the file ends before; returns the bytes read.
Result<size_t> pread_full(int fd, char* out, size_t size, uint64_t offset);
Status pwrite_full(int fd, std::string_view bytes, uint64_t offset);
Status write_full(int fd, std::string_view bytes);
Result<std::string> read_whole_file(const std::string& path, size_t bytes_max);
// Writes to a temporary name, syncs, renames: `path` has the old bytes or the new ones.
Status write_file_durably(const std::string& path, std::string_view bytes, uint32_t mode);
Status make_directories(const std::string& path, uint32_t mode);  // like mkdir -p
// Free bytes for an unprivileged writer, and all bytes, of the file system of `path`.
struct FreeSpace {
  uint64_t free_bytes = 0, total_bytes = 0;
};
Result<FreeSpace> free_space(const std::string& path);

}  // namespace holdfast
