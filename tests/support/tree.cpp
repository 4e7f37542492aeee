#include "tests/support/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/path.h"

namespace holdfast {

namespace {

std::string read_hash(int fd) {
  ContentHasher hasher;
  std::string buffer(1 << 20, '\0');
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0) return std::string("unreadable: ") + std::strerror(errno);
    if (got == 0) break;
    hasher.update(std::string_view(buffer).substr(0, static_cast<size_t>(got)));
  }
  const ContentHash hash = hasher.finish();
  return to_hex(hash.bytes.data(), hash.bytes.size());
}

// Through /proc, because symlinks and sockets cannot be opened.
std::map<std::string, std::string> read_attributes(int dir_fd, const std::string& name) {
  const std::string path = "/proc/self/fd/" + std::to_string(dir_fd) + "/" + name;
  std::map<std::string, std::string> found;
  std::string names(65536, '\0');
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  for (size_t at = 0; size > 0 && at < static_cast<size_t>(size);) {
    const std::string xattr = names.c_str() + at;
    at += xattr.size() + 1;
    std::string value(65536, '\0');
    const ssize_t length = ::lgetxattr(path.c_str(), xattr.c_str(), value.data(), value.size());
    if (length < 0) continue;
    value.resize(static_cast<size_t>(length));
    found[xattr] = value;
  }
  return found;
}

class Reader {
 public:
  explicit Reader(const std::vector<std::string>& ignored) : ignored_(ignored) {}

  void read_dir(Fd fd, const std::string& path) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(::dup(fd.get())), ::closedir);
    if (!dir) return;
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      const std::string child = path.empty() ? name : path + "/" + name;
      if (std::find(ignored_.begin(), ignored_.end(), child) != ignored_.end()) continue;
      read_entry(fd.get(), name, child);
    }
  }

  void read_entry(int dir_fd, const std::string& name, const std::string& path) {
    struct stat st {};
    if (::fstatat(dir_fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return;
    TreeEntry& entry = tree_[path];
    entry.mode = st.st_mode;
    entry.uid = st.st_uid;
    entry.gid = st.st_gid;
    entry.mtime_ns = st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
    if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)) entry.size = static_cast<uint64_t>(st.st_size);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) entry.rdev = st.st_rdev;
    entry.xattrs = read_attributes(dir_fd, name);
    if (S_ISLNK(st.st_mode)) {
      std::string target(65536, '\0');
      const ssize_t size = ::readlinkat(dir_fd, name.c_str(), target.data(), target.size());
      entry.target = target.substr(0, static_cast<size_t>(std::max<ssize_t>(0, size)));
    }
    if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
      entry.same_as = first_names_.try_emplace(st.st_ino, path).first->second;
    }
    const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC;
    if (S_ISREG(st.st_mode)) {
      const Fd fd(::openat(dir_fd, name.c_str(), flags));
      entry.hash = fd ? read_hash(fd.get()) : "cannot be opened";
    } else if (S_ISDIR(st.st_mode)) {
      Fd fd(::openat(dir_fd, name.c_str(), flags | O_DIRECTORY));
      if (fd) read_dir(std::move(fd), path);
    }
  }

  Tree take() {
    // The other names of a file may lie outside of the tree; then it is no link in here.
    std::map<std::string, int> names;
    for (const auto& [path, entry] : tree_) ++names[entry.same_as];
    for (auto& [path, entry] : tree_) {
      if (names[entry.same_as] == 1) entry.same_as.clear();
    }
    return std::move(tree_);
  }

 private:
  const std::vector<std::string>& ignored_;
  Tree tree_;
  std::map<ino_t, std::string> first_names_;
};

std::string octal(uint32_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%07o", mode);
  return text;
}

std::string difference(const TreeEntry& a, const TreeEntry& b) {
  std::string text;
  auto compare = [&](const char* what, const std::string& was, const std::string& is) {
    if (was != is) text += std::string(" ") + what + " " + was + " -> " + is + ";";
  };
  compare("mode", octal(a.mode), octal(b.mode));
  compare("uid", std::to_string(a.uid), std::to_string(b.uid));
  compare("gid", std::to_string(a.gid), std::to_string(b.gid));
  compare("size", std::to_string(a.size), std::to_string(b.size));
  compare("rdev", std::to_string(a.rdev), std::to_string(b.rdev));
  compare("mtime", std::to_string(a.mtime_ns), std::to_string(b.mtime_ns));
  compare("target", display_path(a.target), display_path(b.target));
  compare("hard link of", display_path(a.same_as), display_path(b.same_as));
  compare("hash", a.hash, b.hash);
  auto names = [](const TreeEntry& entry) {
    std::string all;
    for (const auto& [name, value] : entry.xattrs) {
      all +=
          name + "=" + to_hex(reinterpret_cast<const uint8_t*>(value.data()), value.size()) + " ";
    }
    return all;
  };
  compare("xattrs", names(a), names(b));
  return text;
}

}  // namespace

Tree read_tree(const std::string& root, const std::vector<std::string>& ignored) {
  const Fd fd(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  INFO("reading the tree " << root);
  REQUIRE(fd.valid());
  Reader reader(ignored);
  reader.read_entry(fd.get(), ".", "");
  return reader.take();
}

std::string differences(const Tree& expected, const Tree& found, size_t lines_max) {
  std::vector<std::string> lines;
  for (const auto& [path, entry] : expected) {
    const auto other = found.find(path);
    if (other == found.end()) {
      lines.push_back("missing: " + display_path(path));
    } else if (!(entry == other->second)) {
      lines.push_back("differs: " + display_path(path) + ":" + difference(entry, other->second));
    }
  }
  for (const auto& [path, entry] : found) {
    if (!expected.contains(path)) lines.push_back("too much: " + display_path(path));
  }
  std::string text;
  for (size_t i = 0; i < std::min(lines.size(), lines_max); ++i) text += lines[i] + "\n";
  if (lines.size() > lines_max) text += std::to_string(lines.size() - lines_max) + " more\n";
  return text;
}

uint64_t blocks_of(const std::string& path) {
  struct stat st {};
  REQUIRE(::lstat(path.c_str(), &st) == 0);
  return static_cast<uint64_t>(st.st_blocks);
}

}  // namespace holdfast
