#include "watcher/ignore_marks.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <functional>

namespace holdfast {

namespace {
// By way of /proc, because a mark does not go by an O_PATH descriptor itself.
bool change_mark(int fanotify_fd, unsigned flags, int file_fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(file_fd);
  return ::fanotify_mark(fanotify_fd, flags | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY,
                         FAN_MODIFY, AT_FDCWD, path.c_str()) == 0;
}
}  // namespace

bool IgnoreMarks::count(std::string_view dir_handle, std::string_view name) {
  const std::hash<std::string_view> hash;
  uint8_t& writes = writes_[(hash(dir_handle) * 31 + hash(name)) % writes_.size()];
  counted_ = true;
  if (files_.size() >= kFilesMax || ++writes < kWritesMin) return false;
  writes = 0;
  return true;
}

void IgnoreMarks::add(int dir_fd, const std::string& name) {
  Fd file(::openat(dir_fd, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!file || ::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) return;
  if (std::any_of(files_.begin(), files_.end(),
                  [&](const File& other) { return other.inode == st.st_ino; })) {
    return;  // renamed meanwhile
  }
  if (!change_mark(fanotify_fd_, FAN_MARK_ADD, file.get())) return;
  files_.push_back({std::move(file), st.st_ino});
}

Status IgnoreMarks::clear() {
  if (counted_) writes_.fill(0);
  counted_ = false;
  return drop([](const File&) { return true; });
}

Status IgnoreMarks::drop_removed() {
  return drop([](const File& file) {
    struct stat st {};
    return ::fstat(file.fd.get(), &st) != 0 || st.st_nlink == 0;
  });
}

Status IgnoreMarks::drop(const std::function<bool(const File&)>& which) {
  Status status;
  const auto dropped = [&](const File& file) {
    if (!which(file)) return false;
    if (!change_mark(fanotify_fd_, FAN_MARK_REMOVE, file.fd.get())) {
      status = errno_error(errno, "asking fanotify to tell of the writes to a file again");
    }
    return true;
  };
  files_.erase(std::remove_if(files_.begin(), files_.end(), dropped), files_.end());
  return status;
}

}  // namespace holdfast
