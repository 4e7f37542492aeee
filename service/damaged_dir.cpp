#include "service/damaged_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/fs.h"

namespace holdfast {

namespace {

constexpr size_t kCopyBytes = 1 << 20;

Status copy_file(const std::string& from, const std::string& to) {
  const Fd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!in) return errno_error(errno, "opening " + from);
  const Fd out(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!out) return errno_error(errno, "creating " + to);
  const auto buffer = std::make_unique<char[]>(kCopyBytes);
  for (uint64_t at = 0;;) {
    TRY_ASSIGN(const size_t got, pread_full(in.get(), buffer.get(), kCopyBytes, at));
    if (got == 0) break;
    TRY(pwrite_full(out.get(), {buffer.get(), got}, at));
    at += got;
  }
  if (::fsync(out.get()) != 0) return errno_error(errno, "syncing " + to);
  return {};
}

}  // namespace

Status sync_dir(const std::string& path) {
  TRY_ASSIGN(const Fd dir, open_directory(path));
  if (::fsync(dir.get()) != 0) return errno_error(errno, "syncing " + path);
  return {};
}

Result<std::string> DamagedDir::free_name(const std::string& name) const {
  TRY(make_directories(path_, 0700));
  for (unsigned number = 0; number < 100'000; ++number) {
    std::string path = path_ + "/" + name + (number == 0 ? "" : "." + std::to_string(number));
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0 && errno == ENOENT) return path;
  }
  return make_error(ErrorCode::kExists, "there are too many files called " + name + " in " + path_ +
                                            ": delete those that you do not need");
}

Result<std::string> DamagedDir::keep(const std::string& from, const std::string& name) const {
  TRY_ASSIGN(std::string to, free_name(name));
  if (::link(from.c_str(), to.c_str()) != 0) TRY(copy_file(from, to));
  TRY(sync_dir(path_));
  return to;
}

Result<std::string> DamagedDir::keep_bytes(std::string_view bytes, const std::string& name) const {
  TRY_ASSIGN(std::string to, free_name(name));
  TRY(write_file_durably(to, bytes, 0600));
  return to;
}

}  // namespace holdfast
