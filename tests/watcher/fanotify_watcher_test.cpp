// FanotifyWatcher: the contract, and what is its own: handles, the resolver, the queue without end.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <thread>

#include "base/fs.h"
#include "temp_tree.h"
#include "watcher/fanotify_watcher.h"
#include "watcher_contract.h"

using namespace holdfast;

namespace {

using Known = std::map<std::pair<uint64_t, int64_t>, NodeId>;  // by inode and birth time

// Nullptr, with a warning, where this machine has no fanotify for us.
std::unique_ptr<FanotifyWatcher> make_watcher(const TempTree& tree, const Known* known = nullptr,
                                              size_t handles_max = FanotifyWatcher::kHandlesMax,
                                              std::vector<uint64_t>* asked = nullptr) {
  auto resolver = [known, asked](uint64_t inode, int64_t btime_ns,
                                 const auto&) -> Result<std::optional<NodeId>> {
    if (asked != nullptr) asked->push_back(inode);
    if (known == nullptr) return std::optional<NodeId>();
    const auto found = known->find({inode, btime_ns});
    return found == known->end() ? std::nullopt : std::optional<NodeId>(found->second);
  };
  auto watcher = FanotifyWatcher::create(tree.open_dir("").get(), resolver, handles_max);
  if (watcher.ok()) return std::move(*watcher);
  const bool excusable = ::geteuid() != 0 || watcher.error().code == ErrorCode::kUnsupported;
  INFO(watcher.error().message);
  REQUIRE(excusable);
  WARN("not checked: " << watcher.error().message);
  return nullptr;
}

void learn(Known& known, const TempTree& tree, const std::string& name, NodeId dir) {
  const Fd fd = tree.open_dir(name);
  const auto st = statx_fd(fd.get());
  REQUIRE(st.ok());
  known[{st->inode, st->btime_ns}] = dir;
}

bool told(const std::vector<SeenHint>& hints, NodeId dir, const std::string& name) {
  return std::any_of(hints.begin(), hints.end(), [&](const SeenHint& seen) {
    return seen.hint.kind == HintKind::kEntry && seen.hint.dir == dir && seen.name == name;
  });
}

}  // namespace

TEST_CASE("fanotify keeps the watcher's contract", "[fanotify][contract]") {
  if (const TempTree tree; !make_watcher(tree)) return;
  check_watcher_contract({[](const TempTree& tree) { return make_watcher(tree); }, false, true});
}

TEST_CASE("fanotify names itself", "[fanotify]") {
  const TempTree tree;
  if (const auto watcher = make_watcher(tree)) CHECK(std::string(watcher->backend()) == "fanotify");
}

TEST_CASE("a directory whose handle was forgotten is found through the resolver", "[fanotify]") {
  constexpr int kDirs = 40;
  const TempTree tree;
  Known known;
  std::vector<uint64_t> asked;  // inodes; those of others on this file system too
  const auto watcher = make_watcher(tree, &known, 8, &asked);
  if (!watcher) return;
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  const auto name = [](int i) { return "d" + std::to_string(i); };
  for (int i = 0; i < kDirs; ++i) {
    tree.mkdir(name(i));
    const NodeId dir{static_cast<uint64_t>(100 + i)};
    learn(known, tree, name(i), dir);
    REQUIRE(watcher->add_dir(dir, tree.open_dir(name(i)).get()).ok());
  }
  CHECK(watcher->dir_count() <= 8);  // strangers on this file system take room too
  drain_all(*watcher);
  asked.clear();
  for (int i = 0; i < kDirs; ++i) tree.write_file(name(i) + "/f", "x");
  const auto hints = drain_all(*watcher);
  for (int i = 0; i < kDirs; ++i) {
    CHECK(told(hints, NodeId{static_cast<uint64_t>(100 + i)}, "f"));
  }
  CHECK(asked.size() >= size_t{kDirs - 8});
  CHECK(watcher->dir_count() <= 8);
}

TEST_CASE("what the resolver does not know is asked once, and told when it is added",
          "[fanotify]") {
  const TempTree tree;
  std::vector<uint64_t> asked;  // inodes; those of others on this file system too
  const auto watcher = make_watcher(tree, nullptr, FanotifyWatcher::kHandlesMax, &asked);
  if (!watcher) return;
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  tree.mkdir("sub");
  drain_all(*watcher);
  asked.clear();
  for (int i = 0; i < 10; ++i) {
    tree.write_file("sub/f", "x");
    CHECK(drain_all(*watcher).empty());
  }
  const auto sub = statx_fd(tree.open_dir("sub").get());
  REQUIRE(sub.ok());
  CHECK(std::count(asked.begin(), asked.end(), sub->inode) == 1);
  REQUIRE(watcher->add_dir(NodeId{2}, tree.open_dir("sub").get()).ok());
  tree.write_file("sub/f", "x");
  CHECK(told(drain_all(*watcher), NodeId{2}, "f"));
}

TEST_CASE("a resolver that fails is told as an overflow", "[fanotify]") {
  const TempTree tree;
  if (!make_watcher(tree)) return;
  auto watcher = FanotifyWatcher::create(
      tree.open_dir("").get(), [](uint64_t, int64_t, const auto&) -> Result<std::optional<NodeId>> {
        return make_error(ErrorCode::kFailed, "broken");
      });
  REQUIRE(watcher.ok());
  tree.write_file("f", "x");
  const auto hints = drain_all(**watcher);
  REQUIRE_FALSE(hints.empty());
  CHECK(hints[0].hint.kind == HintKind::kOverflow);
}

TEST_CASE("a new directory with the number of a deleted one is another directory", "[fanotify]") {
  const TempTree tree;
  Known known;
  const auto watcher = make_watcher(tree, &known);
  if (!watcher) return;
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  bool reused = false;
  uint64_t before = 0;
  for (int i = 0; i < 50; ++i) {
    tree.mkdir("sub");
    const auto st = statx_fd(tree.open_dir("sub").get());
    REQUIRE(st.ok());
    reused = reused || st->inode == before;
    before = st->inode;
    tree.write_file("sub/f", "x");
    CHECK_FALSE(told(drain_all(*watcher), NodeId{2}, "f"));  // not the one known by that number
    REQUIRE(watcher->add_dir(NodeId{2}, tree.open_dir("sub").get()).ok());
    tree.write_file("sub/g", "x");
    CHECK(told(drain_all(*watcher), NodeId{2}, "g"));
    tree.unlink("sub/f");
    tree.unlink("sub/g");
    tree.rmdir("sub");
    drain_all(*watcher);
  }
  if (!reused) WARN("not checked: this file system did not use an inode number again");
}

TEST_CASE("a reader that is away for long loses nothing", "[fanotify]") {
  constexpr int kFiles = 40'000;  // more than twice what inotify's queue holds by default
  const TempTree tree;
  const auto watcher = make_watcher(tree);
  if (!watcher) return;
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  for (int i = 0; i < kFiles; ++i) {
    const Fd fd = tree.open_file("f" + std::to_string(i), O_CREAT | O_WRONLY);
  }
  int next = 0;
  for (const SeenHint& seen : drain_all(*watcher)) {
    REQUIRE(seen.hint.kind == HintKind::kEntry);
    if ((seen.hint.what & kWhatClosed) != 0 && seen.name == "f" + std::to_string(next)) ++next;
  }
  CHECK(next == kFiles);
}

TEST_CASE("directories that strangers remove meanwhile are no overflow", "[fanotify]") {
  const TempTree tree, strangers;
  const auto watcher = make_watcher(tree);
  if (!watcher) return;
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  std::atomic<bool> done{false};
  const auto churn = [&](const std::string& top) {
    while (!done) {
      std::error_code ignored;
      std::filesystem::create_directories(top + "/a/b/c", ignored);
      ::mknod((top + "/a/b/c/f").c_str(), S_IFREG | 0600, 0);
      std::filesystem::rename(top + "/a/b", top + "/a/z", ignored);
      std::filesystem::remove_all(top, ignored);
    }
  };
  std::thread one(churn, strangers.path("one")), two(churn, strangers.path("two"));
  size_t overflows = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < end) {
    for (const SeenHint& seen : drain_all(*watcher)) {
      if (seen.hint.kind == HintKind::kOverflow) ++overflows;
    }
  }
  done = true;
  one.join();
  two.join();
  CHECK(overflows == 0);
}

TEST_CASE("a writer that never rests cannot keep fanotify's drain() from returning", "[fanotify]") {
  const TempTree tree;
  const auto watcher = make_watcher(tree);
  if (!watcher) return;
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  tree.write_file("even", "");
  tree.write_file("odd", "");
  uint64_t delivered = 0;
  const Status drained = watcher->drain([&](const Hint&) {
    tree.chmod(++delivered % 2 == 0 ? "even" : "odd", 0600);  // every event causes another
    REQUIRE(delivered < 100'000);
  });
  CHECK(drained.ok());
  CHECK(delivered >= 2);
}

namespace {

// Reads after each write, as a service that is awake does; how many of the writes were told.
int writes_told(FanotifyWatcher& watcher, const Fd& file, const std::string& name, int writes) {
  int count = 0;
  for (int i = 0; i < writes; ++i) {
    REQUIRE(::write(file.get(), "x", 1) == 1);
    count += told(drain_all(watcher), NodeId{1}, name) ? 1 : 0;
  }
  return count;
}

}  // namespace

TEST_CASE("a file that is written to without a pause is told of a few times", "[fanotify]") {
  constexpr int kWrites = 200;
  const int enough = static_cast<int>(IgnoreMarks::kWritesMin);
  const TempTree tree;
  const auto watcher = make_watcher(tree);
  if (!watcher) return;
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  const Fd file = tree.open_file("log"), other = tree.open_file("other");
  drain_all(*watcher);
  CHECK(writes_told(*watcher, file, "log", kWrites) == enough);
  REQUIRE(watcher->ignored_count() == 1);

  SECTION("and again after each look at what was told") {
    for (int round = 0; round < 3; ++round) {
      REQUIRE(watcher->rearm().ok());
      CHECK(watcher->ignored_count() == 0);
      CHECK(writes_told(*watcher, file, "log", kWrites) == enough);
    }
  }
  SECTION("but not of others") { CHECK(writes_told(*watcher, other, "other", 5) == 5); }
  SECTION("and of all else that happens to it") {
    tree.chmod("log", 0600);
    CHECK(told(drain_all(*watcher), NodeId{1}, "log"));
    tree.write_file("log", "truncated, written and closed");
    CHECK(told(drain_all(*watcher), NodeId{1}, "log"));
    tree.rename("log", "moved");
    CHECK(told(drain_all(*watcher), NodeId{1}, "moved"));
    REQUIRE(watcher->rearm().ok());
    CHECK(writes_told(*watcher, file, "moved", 2) == 2);
  }
  SECTION("also when it is gone from there before the look") {
    tree.unlink("log");
    const Fd another = tree.open_file("log");
    CHECK(writes_told(*watcher, another, "log", kWrites) >= enough);
    REQUIRE(watcher->rearm().ok());
    CHECK(writes_told(*watcher, another, "log", 2) == 2);
  }
  SECTION("a file of two names is told each time, because one of them may be of no interest") {
    REQUIRE(watcher->rearm().ok());
    REQUIRE(::link(tree.path("log").c_str(), tree.path("linked").c_str()) == 0);
    drain_all(*watcher);
    CHECK(writes_told(*watcher, file, "log", 20) == 20);
    CHECK(watcher->ignored_count() == 0);
  }
  SECTION("and is let go when it is removed, with no look in between") {
    SECTION("by its name") { tree.unlink("log"); }
    SECTION("by another file that takes its name") { tree.rename("other", "log"); }
    drain_all(*watcher);
    CHECK(watcher->ignored_count() == 0);
  }
  SECTION("and again when its directory gets another id") {
    REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
    CHECK(watcher->ignored_count() == 1);
    REQUIRE(watcher->add_dir(NodeId{2}, tree.open_dir("").get()).ok());
    CHECK(watcher->ignored_count() == 0);
  }
  SECTION("and again when a mark cannot be removed by itself") {
    bool hidden = false, refused = false;
    std::thread([&] {  // marks go by way of /proc
      hidden = ::unshare(CLONE_NEWNS) == 0 &&
               ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mount("tmpfs", "/proc", "tmpfs", 0, nullptr) == 0;
      if (hidden) refused = !watcher->rearm().ok();
    })
        .join();
    if (!hidden) return;
    CHECK(refused);
    CHECK(writes_told(*watcher, file, "log", 2) == 2);
    std::filesystem::rename(tree.path(""), tree.path("") + "-moved");
    const auto hints = drain_all(*watcher);
    std::filesystem::rename(tree.path("") + "-moved", tree.path(""));
    CHECK(std::any_of(hints.begin(), hints.end(),
                      [](const SeenHint& seen) { return seen.hint.kind == HintKind::kDirGone; }));
  }
  SECTION("while there is room for more of them") {
    for (size_t i = 0; i < IgnoreMarks::kFilesMax + 4; ++i) {
      const std::string name = "f" + std::to_string(i);
      const Fd more = tree.open_file(name);
      writes_told(*watcher, more, name, enough + 1);
    }
    CHECK(watcher->ignored_count() == IgnoreMarks::kFilesMax);
    REQUIRE(watcher->rearm().ok());
    CHECK(watcher->ignored_count() == 0);
    CHECK(writes_told(*watcher, other, "other", 2) == 2);
  }
}

TEST_CASE("who may not use fanotify is told what it takes", "[fanotify]") {
  const TempTree tree;
  REQUIRE(::chmod(tree.path("").c_str(), 0755) == 0);
  const Fd top = tree.open_dir("");
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::string said = "it worked";
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(1);
    const auto watcher = FanotifyWatcher::create(
        top.get(), [](uint64_t, int64_t, const auto&) { return std::optional<NodeId>(); });
    if (!watcher.ok()) said = watcher.error().message;
    const ssize_t written = ::write(ends[1], said.data(), said.size());
    ::_exit(written == static_cast<ssize_t>(said.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  char buffer[4096];
  const ssize_t size = ::read(ends[0], buffer, sizeof buffer);
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  REQUIRE(size > 0);
  const std::string said(buffer, static_cast<size_t>(size));
  CHECK_THAT(said, Catch::Contains("AmbientCapabilities=CAP_SYS_ADMIN CAP_DAC_READ_SEARCH"));
  CHECK_THAT(said, Catch::Contains("cap_add"));
}

TEST_CASE("a file system without handles is refused with its reason", "[fanotify]") {
  const TempTree tree;
  if (!make_watcher(tree)) return;
  const Fd proc(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto watcher = FanotifyWatcher::create(
      proc.get(), [](uint64_t, int64_t, const auto&) { return std::optional<NodeId>(); });
  REQUIRE_FALSE(watcher.ok());
  CHECK(watcher.error().code == ErrorCode::kUnsupported);
  CHECK_THAT(watcher.error().message, Catch::Contains("file handles"));
}
