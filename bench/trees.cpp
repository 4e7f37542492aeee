#include "bench/trees.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/fs.h"

namespace holdfast::bench {

namespace fs = std::filesystem;

namespace {

Status differs(const std::string& path, const std::string& in_what) {
  return make_error(ErrorCode::kChanged, path + " differs in " + in_what);
}

Result<std::vector<std::string>> sorted_names(const std::string& dir) {
  TRY_ASSIGN(const Fd fd, open_directory(dir));
  TRY_ASSIGN(auto names, list_names(fd.get()));
  std::sort(names.begin(), names.end());
  return names;
}

Status same_content(const std::string& expected, const std::string& found) {
  const Fd one(::open(expected.c_str(), O_RDONLY | O_CLOEXEC));
  const Fd two(::open(found.c_str(), O_RDONLY | O_CLOEXEC));
  if (!one || !two) return errno_error(errno, "opening " + (one ? found : expected));
  std::string left(256 * 1024, '\0'), right(256 * 1024, '\0');
  for (uint64_t at = 0;;) {
    TRY_ASSIGN(const size_t got, pread_full(one.get(), left.data(), left.size(), at));
    TRY_ASSIGN(const size_t other, pread_full(two.get(), right.data(), right.size(), at));
    if (got != other || left.compare(0, got, right, 0, other) != 0)
      return differs(found, "content");
    if (got == 0) return {};
    at += got;
  }
}

Status same_node(const std::string& expected, const std::string& found) {
  struct stat one {
  }, two{};
  if (::lstat(expected.c_str(), &one) != 0) return errno_error(errno, "looking at " + expected);
  if (::lstat(found.c_str(), &two) != 0) return errno_error(errno, "looking at " + found);
  if (one.st_mode != two.st_mode) return differs(found, "type or mode");
  if (one.st_uid != two.st_uid || one.st_gid != two.st_gid) return differs(found, "owner");
  if (one.st_mtim.tv_sec != two.st_mtim.tv_sec || one.st_mtim.tv_nsec != two.st_mtim.tv_nsec) {
    return differs(found, "modification time");
  }
  if (S_ISLNK(one.st_mode) && fs::read_symlink(expected) != fs::read_symlink(found)) {
    return differs(found, "link target");
  }
  if (!S_ISREG(one.st_mode)) return {};
  if (one.st_size != two.st_size) return differs(found, "size");
  if (one.st_nlink != two.st_nlink) return differs(found, "number of names");
  return same_content(expected, found);
}

}  // namespace

Status same_trees(const std::string& expected, const std::string& found) {
  std::vector<std::string> dirs{""};
  while (!dirs.empty()) {
    const std::string dir = dirs.back();
    dirs.pop_back();
    TRY(same_node(expected + dir, found + dir));
    TRY_ASSIGN(const auto names, sorted_names(expected + dir));
    TRY_ASSIGN(const auto other, sorted_names(found + dir));
    if (names != other) return differs(found + dir, "names");
    for (const std::string& name : names) {
      const std::string path = dir + "/" + name;
      if (fs::symlink_status(expected + path).type() == fs::file_type::directory) {
        dirs.push_back(path);
      } else {
        TRY(same_node(expected + path, found + path));
      }
    }
  }
  return {};
}

Result<uint64_t> file_count(const std::string& dir) {
  std::error_code failed;
  uint64_t count = 1;
  for (const auto& entry : fs::recursive_directory_iterator(dir, failed))
    count += !entry.path().empty();
  if (failed) return errno_error(failed.value(), "counting the files of " + dir);
  return count;
}

uint64_t tree_bytes(const std::string& dir) {
  std::error_code failed;
  uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(dir, failed)) {
    if (entry.is_regular_file(failed) && !entry.is_symlink()) bytes += file_bytes(entry.path());
  }
  return bytes;
}

uint64_t file_bytes(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
}

}  // namespace holdfast::bench
