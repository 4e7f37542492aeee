// A directory of its own for one test, with the few operations that the watcher tests need. Removed
// at the end. Every operation is checked: a test whose set-up fails says so.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "base/fd.h"

namespace holdfast {

class TempTree {
 public:
  TempTree() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "holdfast-test-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    root_ = pattern;
  }
  ~TempTree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;

  std::string path(const std::string& relative) const {
    return relative.empty() ? root_ : root_ + "/" + relative;
  }
  Fd open_dir(const std::string& relative) const {
    Fd fd(::open(path(relative).c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    REQUIRE(fd.valid());
    return fd;
  }
  void mkdir(const std::string& relative) const {
    REQUIRE(::mkdir(path(relative).c_str(), 0755) == 0);
  }
  void rmdir(const std::string& relative) const { REQUIRE(::rmdir(path(relative).c_str()) == 0); }
  void unlink(const std::string& relative) const { REQUIRE(::unlink(path(relative).c_str()) == 0); }
  void rename(const std::string& from, const std::string& to) const {
    REQUIRE(::rename(path(from).c_str(), path(to).c_str()) == 0);
  }
  void chmod(const std::string& relative, mode_t mode) const {
    REQUIRE(::chmod(path(relative).c_str(), mode) == 0);
  }
  Fd open_file(const std::string& relative, int flags = O_CREAT | O_RDWR) const {
    Fd fd(::open(path(relative).c_str(), flags | O_CLOEXEC, 0644));
    REQUIRE(fd.valid());
    return fd;
  }
  void write_file(const std::string& relative, const std::string& text) const {
    const Fd fd = open_file(relative, O_CREAT | O_WRONLY | O_TRUNC);
    REQUIRE(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }

 private:
  std::string root_;
};

}  // namespace holdfast
