#include "service/restore_write.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fs.h"
#include "journal/time_spec.h"

namespace holdfast {

namespace {

timespec to_timespec(int64_t ns) {
  int64_t seconds = ns / 1'000'000'000;
  int64_t rest = ns % 1'000'000'000;
  if (rest < 0) {
    rest += 1'000'000'000;
    --seconds;
  }
  return {static_cast<time_t>(seconds), static_cast<long>(rest)};
}

// Only root may give files away; for others the content is worth more than its owner. restore()
// says so.
bool may_not_own() { return errno == EPERM && ::geteuid() != 0; }

Status set_xattrs(int fd, const Record& version) {
  auto present = read_xattrs(fd);
  if (present.ok()) {
    for (const auto& attribute : *present) {
      const std::string& name = attribute.first;
      const bool wanted = std::any_of(version.xattrs.begin(), version.xattrs.end(),
                                      [&](const Xattr& xattr) { return xattr.name == name; });
      if (!wanted) ::fremovexattr(fd, name.c_str());  // such as an ACL inherited from the directory
    }
  }
  for (const Xattr& xattr : version.xattrs) {
    if (::fsetxattr(fd, xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) != 0) {
      return errno_error(errno, "setting the extended attribute " + xattr.name);
    }
  }
  return {};
}

Status write_content(int fd, const Record& version, ChunkReader& reader) {
  ContentHasher hasher;
  uint64_t at = 0;
  uint64_t written_end = 0;
  TRY(reader.content(
      version.content,
      [&](std::string_view bytes) -> Status {
        hasher.update(bytes);
        auto status = pwrite_full(fd, bytes, at);
        at += bytes.size();
        written_end = at;
        return status;
      },
      [&](uint64_t hole) -> Status {
        hasher.update_zeros(hole);
        at += hole;
        return {};
      }));
  if (at != version.stat.size || hasher.finish() != version.hash) {
    return make_error(ErrorCode::kDamaged,
                      "the stored content does not have the recorded hash; holdfast check "
                      "--read-data says what is damaged");
  }
  // Only a hole at the end is not there yet; for all other files the call would be work for
  // nothing.
  if (written_end < at && ::ftruncate(fd, static_cast<off_t>(at)) != 0) {
    return errno_error(errno, "setting the size");
  }
  return {};
}

bool has_hash(int fd, const ContentHash& hash) {
  ContentHasher hasher;
  std::string buffer(1 << 20, '\0');
  for (uint64_t at = 0;;) {
    auto got = pread_full(fd, buffer.data(), buffer.size(), at);
    if (!got.ok()) return false;
    if (*got == 0) return hasher.finish() == hash;
    hasher.update({buffer.data(), *got});
    at += *got;
  }
}

// True also where the store is damaged and cannot tell: then the hash is the best that there is,
// and a file that has it is better left alone.
bool has_bytes(int fd, const Record& version, ChunkReader& reader) {
  uint64_t at = 0;
  bool same = true;
  std::string live;
  const auto compare = [&](std::string_view bytes) -> Status {
    live.resize(bytes.size());
    TRY_ASSIGN(const size_t got, pread_full(fd, live.data(), live.size(), at));
    same = std::string_view(live).substr(0, got) == bytes;
    at += bytes.size();
    return same ? Status() : make_error(ErrorCode::kChanged, "other bytes");
  };
  static constexpr char kZeros[64 * 1024] = {};
  const auto compare_zeros = [&](uint64_t hole) -> Status {
    for (uint64_t done = 0; done < hole; done += sizeof kZeros) {
      TRY(compare({kZeros, std::min<uint64_t>(sizeof kZeros, hole - done)}));
    }
    return {};
  };
  (void)reader.content(version.content, compare, compare_zeros).ok();
  return same;
}

}  // namespace

std::string temporary_name(uint64_t number) {
  return ".holdfast-tmp-" + std::to_string(::getpid()) + "-" + std::to_string(number);
}

Status set_metadata(int fd, const Record& version) {
  const FileStat& stat = version.stat;
  struct stat now {};
  if (::fstat(fd, &now) != 0) return errno_error(errno, "fstat");
  if (now.st_uid != stat.uid || now.st_gid != stat.gid) {
    if (::fchown(fd, stat.uid, stat.gid) != 0 && !may_not_own()) {
      return errno_error(errno, "setting the owner to " + std::to_string(stat.uid) + ":" +
                                    std::to_string(stat.gid));
    }
  }
  if (::fchmod(fd, stat.mode & kModeBits) != 0) return errno_error(errno, "setting the mode");
  TRY(set_xattrs(fd, version));
  const timespec times[2] = {{0, UTIME_OMIT}, to_timespec(stat.mtime_ns)};
  if (::futimens(fd, times) != 0) return errno_error(errno, "setting the times");
  return {};
}

bool same_metadata(const StatxResult& st, const Record& version) {
  return (st.mode & kModeBits) == (version.stat.mode & kModeBits) && st.uid == version.stat.uid &&
         st.gid == version.stat.gid && st.mtime_ns == version.stat.mtime_ns;
}

bool same_xattrs(int fd, const Record& version) {
  const auto present = read_xattrs(fd);
  return present.ok() && std::equal(present->begin(), present->end(), version.xattrs.begin(),
                                    version.xattrs.end(), [](const auto& live, const Xattr& kept) {
                                      return live.first == kept.name && live.second == kept.value;
                                    });
}

bool has_content(int dir_fd, const std::string& name, const Record& version, ChunkReader& reader) {
  auto fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK);
  return fd.ok() && has_hash(fd->get(), version.hash) && has_bytes(fd->get(), version, reader);
}

std::string why_not_stored(const Record& version) {
  if ((version.flags & kFlagNotKept) == 0) {
    return "stored" + (version.note.empty() ? std::string() : ": " + version.note);
  }
  return "kept: " + (version.note.empty() ? "the store had no room for it" : version.note) +
         " at " + format_time(version.time_ns);
}

bool same_special(int dir_fd, const std::string& name, const StatxResult& live,
                  const Record& version) {
  if (file_type_of_mode(live.mode) != version.type || !same_metadata(live, version)) return false;
  if (version.type != FileType::kSymlink) return live.rdev == version.stat.rdev;
  auto target = read_link(dir_fd, name);
  return target.ok() && *target == version.link_target;
}

Status write_file(int dir_fd, const std::string& name, const Record& version, ChunkReader& reader) {
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  Fd fd(::openat(dir_fd, name.c_str(), flags, 0600));
  if (!fd) return errno_error(errno, "creating a file");
  Status status;
  if (version.content.kind == ContentKind::kNone) {
    status = make_error(ErrorCode::kNotFound, "its content was not " + why_not_stored(version));
  } else if (version.content.kind != ContentKind::kEmpty) {
    status = write_content(fd.get(), version, reader);
  }
  if (status.ok()) status = set_metadata(fd.get(), version);
  if (!status.ok()) ::unlinkat(dir_fd, name.c_str(), 0);
  return status;
}

Status make_special(int dir_fd, const std::string& name, const Record& version) {
  const FileStat& stat = version.stat;
  int failed = 0;
  if (version.type == FileType::kSymlink) {
    failed = ::symlinkat(version.link_target.c_str(), dir_fd, name.c_str());
  } else {
    failed = ::mknodat(dir_fd, name.c_str(), stat.mode & (S_IFMT | kModeBits),
                       static_cast<dev_t>(stat.rdev));
  }
  if (failed != 0)
    return errno_error(errno, std::string("creating a ") + file_type_name(version.type));
  if (::fchownat(dir_fd, name.c_str(), stat.uid, stat.gid, AT_SYMLINK_NOFOLLOW) != 0 &&
      !may_not_own()) {
    return errno_error(errno, "setting the owner");
  }
  if (version.type != FileType::kSymlink &&
      ::fchmodat(dir_fd, name.c_str(), stat.mode & kModeBits, 0) != 0) {
    return errno_error(errno, "setting the mode");
  }
  const std::string path = "/proc/self/fd/" + std::to_string(dir_fd) + "/" + name;
  for (const Xattr& xattr : version.xattrs) {
    if (::lsetxattr(path.c_str(), xattr.name.c_str(), xattr.value.data(), xattr.value.size(), 0) !=
        0) {
      return errno_error(errno, "setting the extended attribute " + xattr.name);
    }
  }
  const timespec times[2] = {{0, UTIME_OMIT}, to_timespec(stat.mtime_ns)};
  if (::utimensat(dir_fd, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno_error(errno, "setting the times");
  }
  return {};
}

Status remove_tree(int dir_fd, const std::string& name, uint64_t& removed) {
  if (::unlinkat(dir_fd, name.c_str(), 0) == 0) {
    ++removed;
    return {};
  }
  if (errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return errno_error(errno, "removing");
  TRY_ASSIGN(const Fd dir, open_beneath(dir_fd, name, O_RDONLY | O_DIRECTORY));
  if (dir_fd != AT_FDCWD) {
    TRY_ASSIGN(const StatxResult above, statx_fd(dir_fd));
    TRY_ASSIGN(const StatxResult here, statx_fd(dir.get()));
    if (here.mount_id != above.mount_id) {
      return make_error(ErrorCode::kBusy, "another file system is mounted there; it is left alone");
    }
  }
  TRY_ASSIGN(const auto names, list_names(dir.get()));
  for (const std::string& child : names) TRY(remove_tree(dir.get(), child, removed));
  if (::unlinkat(dir_fd, name.c_str(), AT_REMOVEDIR) != 0) return errno_error(errno, "removing");
  ++removed;
  return {};
}

}  // namespace holdfast
