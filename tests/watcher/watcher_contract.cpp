#include "watcher_contract.h"

#include <poll.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "temp_tree.h"

namespace holdfast {

namespace {

constexpr NodeId kRoot{1};
constexpr NodeId kSub{2};

void add(Watcher& watcher, NodeId dir, const Fd& fd) {
  const Status added = watcher.add_dir(dir, fd.get());
  INFO((added.ok() ? std::string() : added.error().message));
  REQUIRE(added.ok());
}

bool told(const std::vector<SeenHint>& hints, NodeId dir, const std::string& name, unsigned what) {
  return std::any_of(hints.begin(), hints.end(), [&](const SeenHint& seen) {
    return seen.hint.kind == HintKind::kEntry && seen.hint.dir == dir && seen.name == name &&
           (seen.hint.what & what) == what;
  });
}

const SeenHint* find_entry(const std::vector<SeenHint>& hints, NodeId dir, const std::string& name,
                           unsigned what) {
  const auto at = std::find_if(hints.begin(), hints.end(), [&](const SeenHint& seen) {
    return seen.hint.kind == HintKind::kEntry && seen.hint.dir == dir && seen.name == name &&
           (seen.hint.what & what) == what;
  });
  return at == hints.end() ? nullptr : &*at;
}

const SeenHint* find_kind(const std::vector<SeenHint>& hints, HintKind kind, NodeId dir) {
  const auto at = std::find_if(hints.begin(), hints.end(), [&](const SeenHint& seen) {
    return seen.hint.kind == kind && seen.hint.dir == dir;
  });
  return at == hints.end() ? nullptr : &*at;
}

bool readable(const Watcher& watcher) {
  pollfd poll_fd{watcher.fd(), POLLIN, 0};
  return ::poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLIN) != 0;
}

void check_files(Watcher& watcher, const TempTree& tree) {
  SECTION("a file is created, written to and closed") {
    {
      const Fd file = tree.open_file("f");
      CHECK(told(drain_all(watcher), kRoot, "f", kWhatCreated));
      REQUIRE(::write(file.get(), "x", 1) == 1);
      CHECK(told(drain_all(watcher), kRoot, "f", kWhatModified));
    }
    CHECK(told(drain_all(watcher), kRoot, "f", kWhatClosed));
  }
  SECTION("a file read and closed tells nothing") {
    tree.write_file("f", "x");
    drain_all(watcher);
    { const Fd file = tree.open_file("f", O_RDONLY); }
    CHECK(drain_all(watcher).empty());
  }
  SECTION("a file is truncated, chmodded, removed") {
    tree.write_file("f", "text");
    drain_all(watcher);
    REQUIRE(::truncate(tree.path("f").c_str(), 1) == 0);
    CHECK(told(drain_all(watcher), kRoot, "f", kWhatModified));
    tree.chmod("f", 0600);
    CHECK(told(drain_all(watcher), kRoot, "f", kWhatAttributes));
    tree.unlink("f");
    CHECK(told(drain_all(watcher), kRoot, "f", kWhatRemoved));
  }
  SECTION("links are told as creations") {
    tree.write_file("f", "x");
    drain_all(watcher);
    REQUIRE(::link(tree.path("f").c_str(), tree.path("hard").c_str()) == 0);
    REQUIRE(::symlink("nowhere", tree.path("soft").c_str()) == 0);
    const auto hints = drain_all(watcher);
    CHECK(told(hints, kRoot, "hard", kWhatCreated));
    CHECK(told(hints, kRoot, "soft", kWhatCreated));
  }
  SECTION("names are bytes") {
    const std::string longest(255, 'n');
    const std::string odd = "new\nline \xff -";
    tree.write_file(longest, "x");
    tree.write_file(odd, "x");
    const auto hints = drain_all(watcher);
    CHECK(told(hints, kRoot, longest, kWhatClosed));
    CHECK(told(hints, kRoot, odd, kWhatClosed));
  }
  SECTION("an unnamed file that gets a name is told as a creation") {
    const Fd file(::open(tree.path("").c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644));
    if (!file.valid()) {
      WARN("not checked: this file system has no O_TMPFILE");
      return;
    }
    const std::string source = "/proc/self/fd/" + std::to_string(file.get());
    drain_all(watcher);
    REQUIRE(::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, tree.path("f").c_str(),
                     AT_SYMLINK_FOLLOW) == 0);
    CHECK(told(drain_all(watcher), kRoot, "f", kWhatCreated));
  }
}

void check_renames(Watcher& watcher, const TempTree& tree) {
  tree.mkdir("sub");
  add(watcher, kSub, tree.open_dir("sub"));
  tree.write_file("a", "x");
  drain_all(watcher);
  SECTION("a rename within a directory pairs its halves") {
    tree.rename("a", "b");
    const auto hints = drain_all(watcher);
    const SeenHint* from = find_entry(hints, kRoot, "a", kWhatRemoved | kWhatMoved);
    const SeenHint* to = find_entry(hints, kRoot, "b", kWhatCreated | kWhatMoved);
    REQUIRE(from != nullptr);
    REQUIRE(to != nullptr);
    CHECK(from->hint.cookie == to->hint.cookie);
    CHECK(from->hint.cookie != 0);
    CHECK_FALSE(from->hint.is_dir);
  }
  SECTION("a rename across directories pairs its halves") {
    tree.rename("a", "sub/c");
    const auto hints = drain_all(watcher);
    const SeenHint* from = find_entry(hints, kRoot, "a", kWhatRemoved | kWhatMoved);
    const SeenHint* to = find_entry(hints, kSub, "c", kWhatCreated | kWhatMoved);
    REQUIRE(from != nullptr);
    REQUIRE(to != nullptr);
    CHECK(from->hint.cookie == to->hint.cookie);
  }
  SECTION("halves read by different drains keep their cookie, and two renames do not share one") {
    tree.rename("a", "b");
    tree.rename("b", "a");
    const auto hints = drain_all(watcher);
    const SeenHint* first = find_entry(hints, kRoot, "b", kWhatCreated | kWhatMoved);
    const SeenHint* second = find_entry(hints, kRoot, "a", kWhatCreated | kWhatMoved);
    REQUIRE(first != nullptr);
    REQUIRE(second != nullptr);
    CHECK(first->hint.cookie != second->hint.cookie);
  }
  SECTION("a file moved in from or out to an unwatched place is half a rename") {
    const TempTree outside;
    REQUIRE(::rename(tree.path("a").c_str(), outside.path("a").c_str()) == 0);
    CHECK(told(drain_all(watcher), kRoot, "a", kWhatRemoved | kWhatMoved));
    REQUIRE(::rename(outside.path("a").c_str(), tree.path("in").c_str()) == 0);
    CHECK(told(drain_all(watcher), kRoot, "in", kWhatCreated | kWhatMoved));
  }
  SECTION("a file renamed over another tells the name that changed hands") {
    tree.write_file("b", "y");
    drain_all(watcher);
    tree.rename("a", "b");
    CHECK(told(drain_all(watcher), kRoot, "b", kWhatCreated | kWhatMoved));
  }
}

void check_dirs(Watcher& watcher, const TempTree& tree) {
  SECTION("a new directory is told as one, so that the caller adds it") {
    tree.mkdir("sub");
    const auto hints = drain_all(watcher);
    const SeenHint* made = find_entry(hints, kRoot, "sub", kWhatCreated);
    REQUIRE(made != nullptr);
    CHECK(made->hint.is_dir);
    add(watcher, kSub, tree.open_dir("sub"));
    CHECK(watcher.dir_count() == 2);
    tree.write_file("sub/f", "x");
    CHECK(told(drain_all(watcher), kSub, "f", kWhatClosed));
  }
  SECTION("children of a directory that was not added are not told") {
    tree.mkdir("sub");
    drain_all(watcher);
    tree.write_file("sub/f", "x");
    CHECK(drain_all(watcher).empty());
  }
  SECTION("a renamed directory keeps its watch and its id") {
    tree.mkdir("sub");
    add(watcher, kSub, tree.open_dir("sub"));
    drain_all(watcher);
    tree.rename("sub", "renamed");
    const auto hints = drain_all(watcher);
    const SeenHint* to = find_entry(hints, kRoot, "renamed", kWhatCreated | kWhatMoved);
    REQUIRE(to != nullptr);
    CHECK(to->hint.is_dir);
    CHECK(watcher.dir_count() == 2);
    tree.write_file("renamed/f", "x");
    CHECK(told(drain_all(watcher), kSub, "f", kWhatClosed));
  }
  SECTION("the directory's own attributes are told") {
    tree.chmod("", 0700);
    CHECK(find_kind(drain_all(watcher), HintKind::kSelf, kRoot) != nullptr);
  }
}

void check_watches(Watcher& watcher, const TempTree& tree) {
  tree.mkdir("sub");
  add(watcher, kSub, tree.open_dir("sub"));
  drain_all(watcher);
  SECTION("the same directory under another id moves to it") {
    constexpr NodeId kOther{3};
    add(watcher, kOther, tree.open_dir("sub"));
    CHECK(watcher.dir_count() == 2);
    tree.write_file("sub/f", "x");
    const auto hints = drain_all(watcher);
    CHECK(told(hints, kOther, "f", kWhatClosed));
    CHECK_FALSE(told(hints, kSub, "f", kWhatClosed));
    watcher.remove_dir(kSub);  // the old id means nothing any more
    CHECK(watcher.dir_count() == 2);
  }
  SECTION("the same directory under the same id stays one watch") {
    add(watcher, kSub, tree.open_dir("sub"));
    CHECK(watcher.dir_count() == 2);
    tree.write_file("sub/f", "x");
    CHECK(told(drain_all(watcher), kSub, "f", kWhatClosed));
  }
  SECTION("an id that now stands for another directory leaves the old one") {
    tree.mkdir("other");
    add(watcher, kSub, tree.open_dir("other"));
    CHECK(watcher.dir_count() == 2);
    tree.write_file("sub/old", "x");
    tree.write_file("other/new", "x");
    const auto hints = drain_all(watcher);
    CHECK_FALSE(told(hints, kSub, "old", 0));
    CHECK(told(hints, kSub, "new", kWhatClosed));
  }
  SECTION("events of a removed directory are not told, not even those that wait") {
    tree.write_file("sub/f", "x");
    watcher.remove_dir(kSub);
    CHECK(watcher.dir_count() == 1);
    tree.write_file("sub/g", "x");
    CHECK(drain_all(watcher).empty());
    watcher.remove_dir(kSub);
    watcher.remove_dir(NodeId{999});
    CHECK(watcher.dir_count() == 1);
  }
  SECTION("a removed directory can be added again, and only what follows is told") {
    tree.write_file("sub/before", "x");
    watcher.remove_dir(kSub);
    add(watcher, kSub, tree.open_dir("sub"));
    tree.write_file("sub/after", "x");
    const auto hints = drain_all(watcher);
    CHECK(told(hints, kSub, "after", kWhatClosed));
    CHECK(watcher.dir_count() == 2);
  }
}

void check_gone(Watcher& watcher, const TempTree& tree) {
  tree.mkdir("sub");
  add(watcher, kSub, tree.open_dir("sub"));
  drain_all(watcher);
  SECTION("a deleted directory is told as gone and watched no more") {
    tree.rmdir("sub");
    const auto hints = drain_all(watcher);
    const SeenHint* gone = find_kind(hints, HintKind::kDirGone, kSub);
    REQUIRE(gone != nullptr);
    CHECK(gone->hint.unwatched);
    CHECK(told(hints, kRoot, "sub", kWhatRemoved));
    CHECK(watcher.dir_count() == 1);
    tree.mkdir("sub");  // a new one, perhaps with the same inode number
    add(watcher, kSub, tree.open_dir("sub"));
    tree.write_file("sub/f", "x");
    CHECK(told(drain_all(watcher), kSub, "f", kWhatClosed));
  }
  SECTION("a directory moved away is told as gone and still watched") {
    const TempTree outside;
    REQUIRE(::rename(tree.path("sub").c_str(), outside.path("sub").c_str()) == 0);
    const auto hints = drain_all(watcher);
    const SeenHint* gone = find_kind(hints, HintKind::kDirGone, kSub);
    REQUIRE(gone != nullptr);
    CHECK_FALSE(gone->hint.unwatched);
    CHECK(watcher.dir_count() == 2);
    watcher.remove_dir(kSub);
    outside.write_file("sub/f", "x");
    CHECK(drain_all(watcher).empty());
  }
}

void check_draining(Watcher& watcher, const TempTree& tree) {
  SECTION("the descriptor is readable exactly when there is something to deliver") {
    CHECK_FALSE(readable(watcher));
    tree.write_file("f", "x");
    CHECK(readable(watcher));
    drain_all(watcher);
    CHECK_FALSE(readable(watcher));
  }
  SECTION("one drain delivers all that finished before it, in order") {
    constexpr int kFiles = 3000;  // more than one read of the kernel's queue, less than its length
    for (int i = 0; i < kFiles; ++i) tree.write_file("f" + std::to_string(i), "x");
    const auto hints = drain_all(watcher);
    int next = 0;
    for (const SeenHint& seen : hints) {
      REQUIRE(seen.hint.kind == HintKind::kEntry);
      if ((seen.hint.what & kWhatClosed) != 0) REQUIRE(seen.name == "f" + std::to_string(next++));
    }
    CHECK(next == kFiles);
  }
  SECTION("the sink may add and remove directories") {
    tree.mkdir("sub");
    tree.mkdir("other");
    const Status drained = watcher.drain([&](const Hint& hint) {
      if ((hint.what & kWhatCreated) == 0 || !hint.is_dir) return;
      const std::string name(hint.name);
      add(watcher, name == "sub" ? kSub : NodeId{3}, tree.open_dir(name));
      if (name == "other") watcher.remove_dir(kSub);
    });
    REQUIRE(drained.ok());
    CHECK(watcher.dir_count() == 2);
    drain_all(watcher);
    tree.write_file("sub/f", "x");
    tree.write_file("other/f", "x");
    const auto hints = drain_all(watcher);
    CHECK_FALSE(told(hints, kSub, "f", 0));
    CHECK(told(hints, NodeId{3}, "f", kWhatClosed));
  }
}

void check_refusals(Watcher& watcher, const TempTree& tree) {
  SECTION("what is no directory is refused") {
    const Fd file = tree.open_file("f");
    drain_all(watcher);
    CHECK_FALSE(watcher.add_dir(kSub, file.get()).ok());
    REQUIRE(::symlink(tree.path("").c_str(), tree.path("link").c_str()) == 0);
    const Fd link(::open(tree.path("link").c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    REQUIRE(link.valid());
    CHECK_FALSE(watcher.add_dir(kSub, link.get()).ok());
    CHECK(watcher.dir_count() == 1);
  }
  SECTION("a descriptor that is not open is refused") {
    CHECK_FALSE(watcher.add_dir(kSub, -1).ok());
    CHECK(watcher.dir_count() == 1);
  }
}

}  // namespace

std::vector<SeenHint> drain_all(Watcher& watcher) {
  std::vector<SeenHint> seen;
  const Status drained = watcher.drain([&](const Hint& hint) {
    seen.push_back({hint, std::string(hint.name)});
    seen.back().hint.name = {};
  });
  INFO((drained.ok() ? std::string() : drained.error().message));
  REQUIRE(drained.ok());
  return seen;
}

void check_watcher_contract(const WatcherContract& contract) {
  const TempTree tree;
  const std::unique_ptr<Watcher> watcher = contract.create();
  REQUIRE(watcher != nullptr);
  add(*watcher, kRoot, tree.open_dir(""));
  REQUIRE(watcher->dir_count() == 1);
  check_files(*watcher, tree);
  SECTION("renames") { check_renames(*watcher, tree); }
  check_dirs(*watcher, tree);
  SECTION("adding and removing") { check_watches(*watcher, tree); }
  if (contract.tells_dir_gone) {
    SECTION("directories that go away") { check_gone(*watcher, tree); }
  }
  check_draining(*watcher, tree);
  check_refusals(*watcher, tree);
}

}  // namespace holdfast
