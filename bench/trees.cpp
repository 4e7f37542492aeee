#include "bench/trees.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "base/fs.h"
#include "bench/process.h"

namespace holdfast::bench {

namespace fs = std::filesystem;

namespace {

constexpr size_t kWords = 20'000;

// Pseudo-words that occur as often as words do in texts (Zipf's law), so that they compress like
// text.
class Vocabulary {
 public:
  Vocabulary() {
    static constexpr const char* kSyllables[] = {"ba",  "den", "fi", "gor", "hu",  "ka",
                                                 "lin", "mo",  "na", "per", "qui", "ras",
                                                 "so",  "tul", "ve", "zan"};
    for (size_t i = 0; i < kWords; ++i) {
      std::string word;
      for (size_t rest = i + 1; rest > 0; rest /= 16) word += kSyllables[rest % 16];
      words_.push_back(std::move(word));
    }
  }
  std::string text(std::mt19937_64& random, size_t bytes) const {
    std::string text;
    for (int words = 1; text.size() < bytes; ++words) {
      // The inverse of the distribution; only the generator's raw numbers are the same everywhere.
      const double uniform = static_cast<double>(random() >> 11) / 9007199254740992.0;
      const auto index = static_cast<size_t>(std::pow(double{kWords}, uniform)) - 1;
      text += words_[std::min(index, kWords - 1)];
      text += words % 12 == 0 ? ".\n" : " ";
    }
    text.resize(bytes);
    return text;
  }

 private:
  std::vector<std::string> words_;
};

Status write_file(const std::string& path, std::string_view bytes) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return errno_error(errno, "creating " + path);
  return write_full(fd.get(), bytes);
}

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

Status make_text_tree(const std::string& dir, uint64_t files, uint64_t dirs) {
  const Vocabulary vocabulary;
  for (uint64_t i = 0; i < dirs; ++i) {
    std::mt19937_64 random(1'000 + i);
    const std::string sub = dir + "/part" + std::to_string(i / 100) + "/folder" + std::to_string(i);
    TRY(make_directories(sub, 0755));
    for (uint64_t k = files * i / dirs; k < files * (i + 1) / dirs; ++k) {
      const std::string text = vocabulary.text(random, 1024 + random() % 3072);
      TRY(write_file(sub + "/note" + std::to_string(k) + ".txt", text));
    }
  }
  return {};
}

Status add_odd_files(const std::string& dir) {
  std::mt19937_64 random(7);
  const std::string odd = dir + "/odd";
  TRY(make_directories(odd + "/empty directory", 0755));
  TRY(write_file(odd + "/empty", ""));
  TRY(write_file(odd + "/line\nfeed and \xff.txt", "a name is bytes\n"));
  std::string noise(6 * 1024 * 1024 + 1, '\0');
  for (char& byte : noise) byte = static_cast<char>(random());
  TRY(write_file(odd + "/noise", noise));
  TRY(write_file(odd + "/text", Vocabulary().text(random, 300'000)));
  TRY(write_file(odd + "/sparse", "head"));
  const bool made = ::truncate((odd + "/sparse").c_str(), 3 << 20) == 0 &&
                    ::link((odd + "/text").c_str(), (odd + "/second name").c_str()) == 0 &&
                    ::symlink("text", (odd + "/symlink").c_str()) == 0 &&
                    ::symlink("nowhere", (odd + "/dangling").c_str()) == 0 &&
                    ::mkfifo((odd + "/fifo").c_str(), 0600) == 0 &&
                    ::chmod((odd + "/noise").c_str(), 0751) == 0;
  return made ? Status() : Status(errno_error(errno, "making the odd files in " + odd));
}

Result<std::string> unpack_linux(const std::string& archive, const std::string& dir) {
  TRY(make_directories(dir, 0755));
  TRY(run_command({"tar", "-C", dir, "-xf", archive}));
  TRY_ASSIGN(const auto names, sorted_names(dir));
  if (names.size() != 1) return make_error(ErrorCode::kFailed, archive + " does not hold one tree");
  return dir + "/" + names.front();
}

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
