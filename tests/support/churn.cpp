#include "tests/support/churn.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "base/fd.h"

namespace holdfast {

namespace {

constexpr uint64_t kNamesMax = 250;  // beyond that, twice as much is removed as made
constexpr int kDepthMax = 6;

struct Listed {
  std::vector<std::string> files, dirs;
};

Listed list(const std::string& path) {
  Listed listed;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return listed;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st {};
    if (::fstatat(::dirfd(dir.get()), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    (S_ISDIR(st.st_mode) ? listed.dirs : listed.files).push_back(name);
  }
  return listed;
}

uint64_t count_names(const std::string& path) {
  std::error_code failed;
  uint64_t count = 0;
  std::filesystem::recursive_directory_iterator at(path, failed), end;
  for (; !failed && at != end; at.increment(failed)) ++count;
  return count;
}

// HOLDFAST_TEST_TRACE=1 prints every operation: what to read when a seed has failed.
void trace(const char* what, const std::string& path, const std::string& to = "") {
  static const bool wanted = std::getenv("HOLDFAST_TEST_TRACE") != nullptr;
  if (wanted) std::printf("churn: %s %s %s\n", what, path.c_str(), to.c_str());
}

void put(const std::string& path, const std::string& bytes, int flags, off_t offset = 0) {
  trace("write", path, std::to_string(bytes.size()) + " bytes at " + std::to_string(offset));
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0644));
  if (!fd) return;
  const ssize_t done = (flags & O_APPEND) != 0
                           ? ::write(fd.get(), bytes.data(), bytes.size())
                           : ::pwrite(fd.get(), bytes.data(), bytes.size(), offset);
  (void)done;
}

}  // namespace

unsigned announced_seed(const std::string& test) {
  const char* given = std::getenv("HOLDFAST_TEST_SEED");
  const unsigned seed = given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                                         : std::random_device()();
  std::printf("%s: HOLDFAST_TEST_SEED=%u\n", test.c_str(), seed);
  std::fflush(stdout);
  return seed;
}

Churn::Churn(std::string root, std::string outside, unsigned seed)
    : root_(std::move(root)), outside_(std::move(outside)), random_(seed) {}

void Churn::steps(int count) {
  for (int i = 0; i < count; ++i) step();
}

void Churn::step() {
  // Counting at every step would be most of the work.
  if (names_ % 16 == 0 && count_names(root_) > kNamesMax) {
    remove();
    remove();
  }
  switch (pick(20)) {
    case 0:
    case 1:
    case 2:
    case 3: create(); break;
    case 4:
    case 5:
    case 6:
    case 7: change_content(); break;
    case 8:
    case 9: replace(); break;
    case 10:
    case 11:
    case 12: rename_entry(); break;
    case 13: remove(); break;
    case 14: make_subtree(); break;
    case 15: link(); break;
    case 16:
    case 17: attributes(); break;
    case 18: sparse_write(); break;
    default: pick(2) == 0 ? move_out() : move_in(); break;
  }
}

// Half of it repeats, so that deduplication and compression have something to do.
std::string Churn::content(size_t size_max) {
  const size_t size = pick(8) == 0 ? 0 : pick(size_max) + 1;
  std::string bytes(size, static_cast<char>('a' + pick(26)));
  if (pick(2) == 0) {
    for (char& byte : bytes) byte = static_cast<char>(random_());
  }
  return bytes;
}

std::string Churn::name() {
  // Few names, so that they are used again and again, for other things.
  static const char* const kStems[] = {"report", "a", "data.db", ".hidden", "-dash", "two words"};
  ++names_;
  return kStems[pick(6)] + std::to_string(pick(40));
}

Churn::Place Churn::dir() {
  Place place{root_, 0};
  while (place.depth < kDepthMax && pick(3) != 0) {
    const Listed listed = list(place.path);
    if (listed.dirs.empty()) break;
    place.path += "/" + listed.dirs[pick(listed.dirs.size())];
    ++place.depth;
  }
  return place;
}

std::string Churn::entry(bool want_dir) {
  const Place place = dir();
  const Listed listed = list(place.path);
  const std::vector<std::string>& names = want_dir ? listed.dirs : listed.files;
  return names.empty() ? "" : place.path + "/" + names[pick(names.size())];
}

std::string Churn::file() { return entry(false); }

bool Churn::editable(const std::string& path) const {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && !fresh_links_.contains(st.st_ino);
}

void Churn::create() {
  const std::string path = dir().path + "/" + name();
  if (editable(path) || ::access(path.c_str(), F_OK) != 0)
    put(path, content(9000), O_CREAT | O_TRUNC);
}

void Churn::change_content() {
  const std::string path = file();
  if (!editable(path)) return;
  switch (pick(4)) {
    case 0: put(path, content(2000), O_APPEND); break;
    case 1: put(path, content(300), 0, static_cast<off_t>(pick(5000))); break;
    case 2: put(path, content(200'000), O_TRUNC); break;
    default: {
      trace("truncate", path);
      const Fd fd(::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      if (fd && ::ftruncate(fd.get(), static_cast<off_t>(pick(20'000))) != 0) return;
    }
  }
}

void Churn::replace() {
  const std::string path = file();
  if (path.empty()) return;
  put(path + ".tmp", content(20'000), O_CREAT | O_TRUNC);
  trace("replace", path);
  ::rename((path + ".tmp").c_str(), path.c_str());
}

void Churn::rename_entry() {
  const std::string from = entry(pick(3) == 0);
  const std::string to = dir().path + "/" + name();
  trace("rename", from, to);
  if (!from.empty()) ::rename(from.c_str(), to.c_str());
}

void Churn::remove() {
  const std::string path = entry(pick(4) == 0);
  trace("remove", path);
  std::error_code ignored;
  if (!path.empty()) std::filesystem::remove_all(path, ignored);
}

void Churn::make_subtree() {
  Place place = dir();
  for (uint64_t levels = pick(3) + 1; levels > 0 && place.depth < kDepthMax; --levels) {
    place.path += "/" + name();
    ++place.depth;
    trace("mkdir", place.path);
    if (::mkdir(place.path.c_str(), 0755) != 0) return;
    put(place.path + "/" + name(), content(3000), O_CREAT);
  }
}

void Churn::move_out() {
  const std::string path = entry(true);
  const std::string parked = outside_ + "/parked" + std::to_string(++names_);
  trace("move out", path, parked);
  if (path.empty() || ::rename(path.c_str(), parked.c_str()) != 0) return;
  ::unlink((parked + "/changed outside").c_str());  // or it might be a link to a file that stayed
  put(parked + "/changed outside", content(500), O_CREAT | O_EXCL);
  parked_.push_back(parked);
}

// A tree that comes back may hold further names of files that are in the root.
void Churn::note_links(const std::string& tree) {
  std::error_code failed;
  std::filesystem::recursive_directory_iterator at(tree, failed), end;
  for (; !failed && at != end; at.increment(failed)) {
    struct stat st {};
    if (::lstat(at->path().c_str(), &st) == 0 && st.st_nlink > 1) fresh_links_.insert(st.st_ino);
  }
}

void Churn::move_in() {
  if (parked_.empty()) return;
  const std::string target = dir().path + "/" + name();
  trace("move in", parked_.back(), target);
  if (::rename(parked_.back().c_str(), target.c_str()) != 0) return;
  parked_.pop_back();
  note_links(target);
  ::unlink((target + "/changed at once").c_str());
  put(target + "/changed at once", content(500), O_CREAT | O_EXCL);
}

void Churn::link() {
  const std::string target = dir().path + "/" + name();
  const std::string path = file();
  if (pick(2) == 0 || path.empty()) {
    const std::string to = pick(2) == 0 ? "../" + name() : "/etc/passwd";
    trace("symlink", target, to);
    if (::symlink(to.c_str(), target.c_str()) != 0) return;
  } else {
    trace("link", path, target);
    if (::link(path.c_str(), target.c_str()) != 0) return;
    struct stat st {};
    if (::lstat(target.c_str(), &st) == 0) fresh_links_.insert(st.st_ino);
  }
}

void Churn::attributes() {
  const std::string path = entry(pick(3) == 0);
  if (!editable(path)) return;
  switch (pick(3)) {
    case 0:
      trace("chmod", path);
      if (struct stat st{}; ::lstat(path.c_str(), &st) == 0 && !S_ISLNK(st.st_mode)) {
        ::chmod(path.c_str(), static_cast<mode_t>(0600 + pick(0200)) | (st.st_mode & S_IXUSR));
      }
      break;
    case 1: {
      trace("utimens", path);
      const timespec stamp{static_cast<time_t>(pick(2'000'000'000)) - 500'000'000,
                           static_cast<long>(pick(1'000'000'000))};
      const timespec times[2] = {{0, UTIME_OMIT}, stamp};
      ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
      break;
    }
    default: {
      trace("setxattr", path);
      const std::string value = content(40);
      ::lsetxattr(path.c_str(), "user.churn", value.data(), value.size(), 0);
    }
  }
}

void Churn::sparse_write() {
  const std::string path = file();
  if (editable(path)) put(path, content(4000), 0, static_cast<off_t>(pick(3'000'000)));
}

BackgroundChurn::BackgroundChurn(Churn churn)
    : churn_(std::move(churn)), thread_([this] { run(); }) {}

BackgroundChurn::~BackgroundChurn() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void BackgroundChurn::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return wanted_ || ending_; });
    if (ending_) return;
    at_work_ = true;
    lock.unlock();
    churn_.step();
    lock.lock();
    at_work_ = false;
    ++done_;
    changed_.notify_all();
  }
}

void BackgroundChurn::resume() {
  std::lock_guard lock(mutex_);
  wanted_ = true;
  changed_.notify_all();
}

void BackgroundChurn::pause() {
  std::unique_lock lock(mutex_);
  wanted_ = false;
  changed_.wait(lock, [&] { return !at_work_; });
}

void BackgroundChurn::wait_for_steps(uint64_t count) {
  std::unique_lock lock(mutex_);
  const uint64_t wanted = done_ + count;
  changed_.wait(lock, [&] { return done_ >= wanted || !wanted_; });
}

}  // namespace holdfast
