// InotifyWatcher: the contract, and what is its own: overflow, limits, unmounts, unlinked files.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>

#include "temp_tree.h"
#include "watcher/inotify_watcher.h"
#include "watcher_contract.h"

using namespace holdfast;

namespace {

std::unique_ptr<InotifyWatcher> make_watcher() {
  auto watcher = InotifyWatcher::create();
  INFO((watcher.ok() ? std::string() : watcher.error().message));
  REQUIRE(watcher.ok());
  return std::move(*watcher);
}

uint64_t queue_events_max() {
  uint64_t value = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> value;
  return value;
}

size_t count_kind(const std::vector<SeenHint>& hints, HintKind kind) {
  return static_cast<size_t>(std::count_if(
      hints.begin(), hints.end(), [&](const SeenHint& seen) { return seen.hint.kind == kind; }));
}

// Changes two files in turn, because the kernel merges an event with an equal one before it.
void make_events(const TempTree& tree, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) tree.chmod(i % 2 == 0 ? "even" : "odd", 0600);
}

}  // namespace

TEST_CASE("inotify keeps the watcher's contract", "[inotify][contract]") {
  check_watcher_contract({[](const TempTree&) { return make_watcher(); }, true, true});
}

TEST_CASE("inotify names itself", "[inotify]") {
  CHECK(std::string(make_watcher()->backend()) == "inotify");
}

TEST_CASE("a stalled reader gets an overflow and then goes on", "[inotify]") {
  const uint64_t queue = queue_events_max();
  if (queue == 0 || queue > 1'000'000) {
    WARN("not checked: fs.inotify.max_queued_events is " << queue);
    return;
  }
  const TempTree tree;
  const auto watcher = make_watcher();
  tree.mkdir("sub");
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  REQUIRE(watcher->add_dir(NodeId{2}, tree.open_dir("sub").get()).ok());
  tree.write_file("even", "");
  tree.write_file("odd", "");
  make_events(tree, queue + 100);
  tree.rmdir("sub");  // this and the watch's end are among the lost events

  const auto hints = drain_all(*watcher);
  CHECK(count_kind(hints, HintKind::kOverflow) == 1);
  CHECK(count_kind(hints, HintKind::kDirGone) == 0);
  CHECK(hints.size() == queue + 1);
  CHECK(watcher->dir_count() ==
        2);  // nobody said that it is gone: the caller finds out and removes it
  watcher->remove_dir(NodeId{2});
  CHECK(watcher->dir_count() == 1);

  tree.mkdir("sub");
  REQUIRE(watcher->add_dir(NodeId{2}, tree.open_dir("sub").get()).ok());
  tree.write_file("sub/f", "x");
  const auto later = drain_all(*watcher);
  CHECK(std::any_of(later.begin(), later.end(), [](const SeenHint& seen) {
    return seen.hint.dir == NodeId{2} && seen.name == "f" && (seen.hint.what & kWhatClosed) != 0;
  }));
}

TEST_CASE("a writer that never rests cannot keep drain() from returning", "[inotify]") {
  const uint64_t queue = queue_events_max();
  if (queue == 0 || queue > 1'000'000) {
    WARN("not checked: fs.inotify.max_queued_events is " << queue);
    return;
  }
  const TempTree tree;
  const auto watcher = make_watcher();
  tree.write_file("even", "");
  tree.write_file("odd", "");
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  make_events(tree, 2);
  uint64_t delivered = 0;
  const Status drained = watcher->drain([&](const Hint&) {
    tree.chmod(++delivered % 2 == 0 ? "even" : "odd", 0600);  // every event causes another
    REQUIRE(delivered < queue * 4);
  });
  CHECK(drained.ok());
  CHECK(delivered > queue);
}

TEST_CASE("writes to a file whose name is gone are still told in its directory", "[inotify]") {
  const TempTree tree;
  const auto watcher = make_watcher();
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  {
    const Fd file = tree.open_file("tmp");
    REQUIRE(::link(tree.path("tmp").c_str(), tree.path("final").c_str()) == 0);
    tree.unlink("tmp");
    drain_all(*watcher);
    REQUIRE(::write(file.get(), "late", 4) == 4);
  }
  const auto hints = drain_all(*watcher);
  CHECK(std::any_of(hints.begin(), hints.end(), [](const SeenHint& seen) {
    return seen.name == "tmp" && (seen.hint.what & kWhatClosed) != 0;
  }));
}

TEST_CASE("a directory deleted while open is told when the last descriptor closes", "[inotify]") {
  const TempTree tree;
  const auto watcher = make_watcher();
  tree.mkdir("sub");
  REQUIRE(watcher->add_dir(NodeId{1}, tree.open_dir("").get()).ok());
  Fd open_dir = tree.open_dir("sub");
  REQUIRE(watcher->add_dir(NodeId{2}, open_dir.get()).ok());
  tree.rmdir("sub");
  const auto hints = drain_all(*watcher);
  CHECK(count_kind(hints, HintKind::kDirGone) == 0);
  CHECK(count_kind(hints, HintKind::kEntry) == 1);  // the parent's
  open_dir.reset();
  CHECK(count_kind(drain_all(*watcher), HintKind::kDirGone) == 1);
  CHECK(watcher->dir_count() == 1);
}

TEST_CASE("an unmounted directory is told as gone and watched no more", "[inotify]") {
  const TempTree tree;
  tree.mkdir("mnt");
  if (::mount("none", tree.path("mnt").c_str(), "tmpfs", 0, "size=1m") != 0) {
    WARN("not checked: mounting a tmpfs needs CAP_SYS_ADMIN");
    return;
  }
  const auto watcher = make_watcher();
  const Status added = watcher->add_dir(NodeId{1}, tree.open_dir("mnt").get());
  REQUIRE(::umount(tree.path("mnt").c_str()) == 0);
  REQUIRE(added.ok());
  const auto hints = drain_all(*watcher);
  REQUIRE(hints.size() == 1);
  CHECK(hints[0].hint.kind == HintKind::kDirGone);
  CHECK(hints[0].hint.dir == NodeId{1});
  CHECK(hints[0].hint.unwatched);
  CHECK(watcher->dir_count() == 0);
}

namespace {

// Runs `body` in a child with its own user namespace in which `limit` is `value`, and returns what
// it prints; so the limits of the machine, and of whoever shares it, stay as they are.
// An empty result: this machine does not allow it.
std::string with_limit(const char* limit, const char* value, std::string (*body)(const TempTree&),
                       const TempTree& tree) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::string said;
    if (::unshare(CLONE_NEWUSER) == 0) {
      std::ofstream file(std::string("/proc/sys/user/") + limit);
      file << value << std::flush;
      if (file) said = body(tree);
    }
    const ssize_t written = ::write(ends[1], said.data(), said.size());
    ::_exit(written == static_cast<ssize_t>(said.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string said;
  char buffer[4096];
  for (ssize_t size; (size = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    said.append(buffer, static_cast<size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  return said;
}

std::string describe(const Error& error) {
  return std::to_string(static_cast<int>(error.code)) + " " + std::to_string(error.sys_errno) +
         " " + error.message;
}

std::string add_two(const TempTree& tree) {
  auto watcher = InotifyWatcher::create();
  if (!watcher.ok()) return "create failed";
  const Status first = (*watcher)->add_dir(NodeId{1}, tree.open_dir("").get());
  const Status second = (*watcher)->add_dir(NodeId{2}, tree.open_dir("sub").get());
  if (!first.ok() || second.ok()) return "the limit did not apply";
  return describe(second.error()) + ((*watcher)->dir_count() == 1 ? "" : " dir_count is wrong");
}

std::string create_one(const TempTree&) {
  auto watcher = InotifyWatcher::create();
  return watcher.ok() ? "the limit did not apply" : describe(watcher.error());
}

std::string present(const char* name) {
  std::string value;
  std::ifstream(std::string("/proc/sys/fs/inotify/") + name) >> value;
  return value;
}

}  // namespace

TEST_CASE("the watch limit is an error that says how to raise it", "[inotify]") {
  const TempTree tree;
  tree.mkdir("sub");
  const std::string said = with_limit("max_inotify_watches", "1", add_two, tree);
  if (said.empty()) {
    WARN("not checked: no user namespace of one's own on this machine");
    return;
  }
  const std::string code = std::to_string(static_cast<int>(ErrorCode::kNoSpace));
  CHECK_THAT(said, Catch::StartsWith(code + " " + std::to_string(ENOSPC) + " "));
  CHECK_THAT(said,
             Catch::Contains("fs.inotify.max_user_watches (now " + present("max_user_watches")));
  CHECK_THAT(said, Catch::Contains("sysctl -w fs.inotify.max_user_watches="));
  CHECK_THAT(said, !Catch::Contains("dir_count is wrong"));
}

TEST_CASE("the instance limit is an error that says how to raise it", "[inotify]") {
  const TempTree tree;
  const std::string said = with_limit("max_inotify_instances", "0", create_one, tree);
  if (said.empty()) {
    WARN("not checked: no user namespace of one's own on this machine");
    return;
  }
  CHECK_THAT(said, Catch::Contains(" " + std::to_string(EMFILE) + " "));
  CHECK_THAT(
      said, Catch::Contains("fs.inotify.max_user_instances (now " + present("max_user_instances")));
  CHECK_THAT(said, Catch::Contains("sysctl -w fs.inotify.max_user_instances="));
}
