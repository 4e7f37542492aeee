#include "store/pack_storage.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>

#include "base/fs.h"

namespace holdfast {

namespace {

constexpr size_t kOpenPacksMax = 64;
constexpr size_t kNumberDigits = 10;
constexpr std::string_view kSuffix = ".pack";

// The number in "<prefix>-<10 digits>.pack"; nullopt for every other name.
std::optional<uint32_t> number_of(std::string_view name, std::string_view prefix) {
  if (name.size() != prefix.size() + 1 + kNumberDigits + kSuffix.size()) return std::nullopt;
  if (!name.starts_with(prefix) || name[prefix.size()] != '-' || !name.ends_with(kSuffix)) {
    return std::nullopt;
  }
  uint64_t number = 0;
  for (const char digit : name.substr(prefix.size() + 1, kNumberDigits)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    number = number * 10 + static_cast<uint64_t>(digit - '0');
  }
  if (number == 0 || number > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(number);
}

int sync_retrying(int fd, int (*call)(int)) {
  for (;;) {
    const int result = call(fd);
    if (result == 0 || errno != EINTR) return result;
  }
}

// The directory that holds `dir`, so that the name of a new `dir` can be made durable.
std::string parent_of(std::string dir) {
  while (dir.size() > 1 && dir.back() == '/') dir.pop_back();
  const size_t slash = dir.rfind('/');
  if (slash == std::string::npos) return ".";
  return dir.substr(0, slash + 1);
}

Status create_directory(const std::string& dir) {
  TRY(make_directories(dir, 0700));
  TRY_ASSIGN(const Fd parent, open_directory(parent_of(dir)));
  if (sync_retrying(parent.get(), ::fsync) != 0) return errno_error(errno, "syncing " + dir);
  return {};
}

}  // namespace

Result<std::unique_ptr<DirectoryPackStorage>> DirectoryPackStorage::open(std::string dir,
                                                                         std::string prefix) {
  auto fd = open_directory(dir);
  if (!fd.ok() && fd.error().sys_errno == ENOENT) {
    TRY(create_directory(dir));
    fd = open_directory(dir);
  }
  if (!fd.ok()) return fd.error().in("opening the packs");
  return std::unique_ptr<DirectoryPackStorage>(
      new DirectoryPackStorage(std::move(dir), std::move(prefix), std::move(*fd)));
}

std::string DirectoryPackStorage::file_name(uint32_t pack) const {
  char number[16];
  std::snprintf(number, sizeof number, "-%010u", pack);
  return prefix_ + number + std::string(kSuffix);
}

std::string DirectoryPackStorage::name(uint32_t pack) const { return dir_ + "/" + file_name(pack); }

Status DirectoryPackStorage::sync_directory() {
  if (sync_retrying(dir_fd_.get(), ::fsync) != 0) return errno_error(errno, "syncing " + dir_);
  return {};
}

Result<std::vector<uint32_t>> DirectoryPackStorage::list() {
  auto names = list_names(dir_fd_.get());
  if (!names.ok()) return names.error().in(dir_);
  std::vector<uint32_t> packs;
  for (const std::string& name : *names) {
    if (const auto number = number_of(name, prefix_)) packs.push_back(*number);
  }
  std::sort(packs.begin(), packs.end());
  return packs;
}

void DirectoryPackStorage::keep_open(uint32_t pack, std::shared_ptr<Fd> fd, bool writable) {
  open_[pack] = {std::move(fd), writable, ++uses_};
  if (open_.size() <= kOpenPacksMax) return;
  // Whoever still reads through the descriptor that goes holds it until done.
  open_.erase(std::min_element(open_.begin(), open_.end(), [](const auto& a, const auto& b) {
    return a.second.last_use < b.second.last_use;
  }));
}

Result<std::shared_ptr<Fd>> DirectoryPackStorage::descriptor(uint32_t pack, bool for_writing) {
  std::lock_guard lock(mutex_);
  const auto found = open_.find(pack);
  if (found != open_.end() && (found->second.writable || !for_writing)) {
    found->second.last_use = ++uses_;
    return found->second.fd;
  }
  // O_NONBLOCK: should the name be a FIFO, opening it must not wait for its other end.
  const int flags = (for_writing ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  Fd fd(::openat(dir_fd_.get(), file_name(pack).c_str(), flags));
  if (!fd) return errno_error(errno, "opening the pack " + name(pack));
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return errno_error(errno, "opening the pack " + name(pack));
  if (!S_ISREG(st.st_mode)) {
    return make_error(ErrorCode::kDamaged, "the pack " + name(pack) + " is not a regular file");
  }
  auto shared = std::make_shared<Fd>(std::move(fd));
  keep_open(pack, shared, for_writing);
  return shared;
}

Result<uint64_t> DirectoryPackStorage::size(uint32_t pack) {
  TRY_ASSIGN(const std::shared_ptr<Fd> fd, descriptor(pack, false));
  struct stat st {};
  if (::fstat(fd->get(), &st) != 0) {
    return errno_error(errno, "asking for the size of " + name(pack));
  }
  return static_cast<uint64_t>(st.st_size);
}

Status DirectoryPackStorage::create(uint32_t pack) {
  const std::string file = file_name(pack);
  Fd fd(::openat(dir_fd_.get(), file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                 0600));
  if (!fd) return errno_error(errno, "creating the pack " + name(pack));
  Status synced;
  if (sync_retrying(fd.get(), ::fsync) != 0) {
    synced = errno_error(errno, "syncing the new pack " + name(pack));
  } else {
    synced = sync_directory();
  }
  if (!synced.ok()) {
    ::unlinkat(dir_fd_.get(), file.c_str(), 0);  // the error that is reported is the one before
    return synced;
  }
  std::lock_guard lock(mutex_);
  keep_open(pack, std::make_shared<Fd>(std::move(fd)), true);
  return {};
}

Status DirectoryPackStorage::append(uint32_t pack, uint64_t offset, std::string_view bytes) {
  TRY_ASSIGN(const std::shared_ptr<Fd> fd, descriptor(pack, true));
  if (auto put = pwrite_full(fd->get(), bytes, offset); !put.ok()) {
    return put.error().in("appending to " + name(pack));
  }
  return {};
}

Status DirectoryPackStorage::sync(uint32_t pack) {
  TRY_ASSIGN(const std::shared_ptr<Fd> fd, descriptor(pack, true));
  if (sync_retrying(fd->get(), ::fdatasync) != 0) {
    return errno_error(errno, "syncing " + name(pack));
  }
  return {};
}

Status DirectoryPackStorage::write_back(uint32_t pack, uint64_t offset, uint64_t bytes) {
  TRY_ASSIGN(const std::shared_ptr<Fd> fd, descriptor(pack, true));
  constexpr unsigned kFlags =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const auto at = static_cast<off_t>(offset), size = static_cast<off_t>(bytes);
  while (::sync_file_range(fd->get(), at, size, kFlags) != 0) {
    if (errno == ENOSYS || errno == EINVAL || errno == ESPIPE) return {};  // not everybody can
    if (errno != EINTR) return errno_error(errno, "writing back " + name(pack));
  }
  return {};
}

Status DirectoryPackStorage::truncate(uint32_t pack, uint64_t size) {
  TRY_ASSIGN(const std::shared_ptr<Fd> fd, descriptor(pack, true));
  while (::ftruncate(fd->get(), static_cast<off_t>(size)) != 0) {
    if (errno != EINTR) return errno_error(errno, "truncating " + name(pack));
  }
  if (sync_retrying(fd->get(), ::fsync) != 0) return errno_error(errno, "syncing " + name(pack));
  return {};
}

Result<std::string> DirectoryPackStorage::read(uint32_t pack, uint64_t offset, uint64_t size) {
  TRY_ASSIGN(const std::shared_ptr<Fd> fd, descriptor(pack, false));
  std::string bytes(size, '\0');
  auto got = pread_full(fd->get(), bytes.data(), size, offset);
  if (!got.ok()) return got.error().in(name(pack) + " at offset " + std::to_string(offset));
  if (*got < size) {
    return make_error(ErrorCode::kDamaged, "the pack " + name(pack) + " ends before offset " +
                                               std::to_string(offset + size));
  }
  return bytes;
}

Status DirectoryPackStorage::remove(uint32_t pack) {
  {
    std::lock_guard lock(mutex_);
    open_.erase(pack);
  }
  if (::unlinkat(dir_fd_.get(), file_name(pack).c_str(), 0) != 0) {
    return errno_error(errno, "removing " + name(pack));
  }
  return sync_directory();
}

}  // namespace holdfast
