#include "base/open_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "base/fs.h"

namespace holdfast {

namespace {

std::vector<std::string> names_in(const std::string& path) {
  const auto dir = open_directory(path);
  if (!dir.ok()) return {};
  auto names = list_names(dir->get());
  return names.ok() ? std::move(*names) : std::vector<std::string>();
}

}  // namespace

std::vector<OpenIn> who_has_open(int dir_fd, const std::string& name) {
  std::vector<OpenIn> found;
  struct stat wanted {};
  if (::fstatat(dir_fd, name.c_str(), &wanted, AT_SYMLINK_NOFOLLOW) != 0) return found;
  for (const std::string& process : names_in("/proc")) {
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(process.data(), process.data() + process.size(), pid);
    const bool number = error == std::errc() && end == process.data() + process.size();
    if (!number || pid == ::getpid()) continue;
    const std::string fds = "/proc/" + process + "/fd";
    const std::vector<std::string> names = names_in(fds);
    const bool has = std::any_of(names.begin(), names.end(), [&](const std::string& fd) {
      struct stat st {};
      return ::stat((fds + "/" + fd).c_str(), &st) == 0 && st.st_dev == wanted.st_dev &&
             st.st_ino == wanted.st_ino;
    });
    if (!has) continue;
    auto command = read_whole_file("/proc/" + process + "/comm", 64);
    std::string text = command.ok() ? *command : "";
    if (text.ends_with('\n')) text.pop_back();
    found.push_back({pid, text});
  }
  return found;
}

}  // namespace holdfast
