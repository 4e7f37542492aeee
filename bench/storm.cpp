#include "bench/storm.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <thread>

#include "base/fs.h"
#include "bench/process.h"

namespace holdfast::bench {

namespace {

constexpr size_t kFiles = 2'000, kDirs = 40;

}  // namespace

Storm::Storm(std::string tree, double changes_a_second)
    : tree_(std::move(tree)), rate_(changes_a_second) {}

std::string Storm::new_path() {
  return tree_ + "/d" + std::to_string(random_() % kDirs) + "/f" + std::to_string(++made_);
}

Status Storm::write(const std::string& path) {
  // Over what is there: ext4 writes a file back at once that was truncated and closed again.
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) return errno_error(errno, "writing " + path);
  return write_full(fd.get(), "written " + std::to_string(1'000'000'000 + ++written_) + "\n");
}

Status Storm::prepare() {
  for (size_t i = 0; i < kDirs; ++i) TRY(make_directories(tree_ + "/d" + std::to_string(i), 0755));
  for (size_t i = 0; i < kFiles; ++i) {
    files_.push_back(new_path());
    TRY(write(files_.back()));
  }
  return {};
}

// Of ten changes six write a file anew, and four make, rename or remove one.
Status Storm::change() {
  const uint64_t kind = random_() % 10;
  std::string& path = files_[random_() % files_.size()];
  if (kind < 6) return write(path);
  if (kind < 7 || files_.size() < kFiles / 2) {
    files_.push_back(new_path());
    return write(files_.back());
  }
  if (kind < 9) {
    std::string to = new_path();
    if (std::rename(path.c_str(), to.c_str()) != 0) return errno_error(errno, "renaming " + path);
    path = std::move(to);
    return {};
  }
  if (::unlink(path.c_str()) != 0) return errno_error(errno, "removing " + path);
  path = std::move(files_.back());
  files_.pop_back();
  return {};
}

Result<uint64_t> Storm::run(double seconds) {
  const double start = now_s();
  uint64_t changes = 0;
  for (double now = start; now < start + seconds; now = now_s()) {
    for (const auto due = static_cast<uint64_t>((now - start) * rate_); changes < due; ++changes) {
      TRY(change());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return changes;
}

}  // namespace holdfast::bench
