#include "bench/edits.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/fs.h"

namespace holdfast::bench {

namespace {

constexpr size_t kPageBytes = 4096;

Result<Fd> open_for(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  if (!fd) return errno_error(errno, "opening " + path);
  return fd;
}

}  // namespace

Result<std::vector<std::string>> sorted_files(const std::string& dir) {
  std::error_code failed;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir, failed)) {
    if (!entry.is_symlink() && entry.is_regular_file()) {
      files.push_back(entry.path().string().substr(dir.size() + 1));
    }
  }
  if (failed) return errno_error(failed.value(), "listing " + dir);
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> spread(const std::vector<std::string>& files, size_t count) {
  std::vector<std::string> chosen;
  for (size_t i = 0; i < count && !files.empty(); ++i) {
    chosen.push_back(files[(2 * i + 1) * files.size() / (2 * count)]);
  }
  return chosen;
}

std::vector<std::string> every_hundredth(const std::vector<std::string>& files, size_t round) {
  std::vector<std::string> chosen;
  for (size_t i = round * 7 % 100; i < files.size(); i += 100) chosen.push_back(files[i]);
  return chosen;
}

Status append_line(const std::string& dir, const std::vector<std::string>& files,
                   const std::string& line) {
  for (const std::string& file : files) {
    TRY_ASSIGN(const Fd fd, open_for(dir + "/" + file, O_WRONLY | O_APPEND));
    TRY(write_full(fd.get(), "/* " + line + " of " + file.substr(file.rfind('/') + 1) + " */\n"));
  }
  return {};
}

Result<size_t> changed_pages(const std::string& before, const std::string& now,
                             const std::string& out) {
  TRY_ASSIGN(const Fd old_fd, open_for(before, O_RDONLY));
  TRY_ASSIGN(const Fd new_fd, open_for(now, O_RDONLY));
  TRY_ASSIGN(const Fd out_fd, open_for(out, O_WRONLY | O_CREAT | O_TRUNC));
  std::string old_page(kPageBytes, '\0'), new_page(kPageBytes, '\0');
  size_t changed = 0;
  for (uint64_t at = 0;; at += kPageBytes) {
    TRY_ASSIGN(const size_t got, pread_full(new_fd.get(), new_page.data(), kPageBytes, at));
    if (got == 0) return changed;
    TRY_ASSIGN(const size_t had, pread_full(old_fd.get(), old_page.data(), kPageBytes, at));
    if (got == had && new_page.compare(0, got, old_page, 0, had) == 0) continue;
    TRY(write_full(out_fd.get(), {new_page.data(), got}));
    ++changed;
  }
}

}  // namespace holdfast::bench
