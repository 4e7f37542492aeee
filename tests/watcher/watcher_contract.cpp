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

bool swept(const std::vector<SeenHint>& hints) {
  return std::any_of(hints.begin(), hints.end(),
                     [](const SeenHint& seen) { return seen.hint.kind == HintKind::kSweep; });
}

// Nothing in particular: a sweep says nothing of any name.
bool nothing_told(const std::vector<SeenHint>& hints) {
  return std::all_of(hints.begin(), hints.end(),
                     [](const SeenHint& seen) { return seen.hint.kind == HintKind::kSweep; });
}

bool told_by_name(const std::vector<SeenHint>& hints, NodeId dir, const std::string& name,
                  unsigned what) {
  return std::any_of(hints.begin(), hints.end(), [&](const SeenHint& seen) {
    return seen.hint.kind == HintKind::kEntry && seen.hint.dir == dir && seen.name == name &&
           (seen.hint.what & what) == what;
  });
}

// A sweep tells of everything.
bool told(const std::vector<SeenHint>& hints, NodeId dir, const std::string& name, unsigned what) {
  return swept(hints) || told_by_name(hints, dir, name, what);
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

// Strangers on the same file system wake some backends too: for a moment it must be quiet.
bool falls_quiet(Watcher& watcher) {
  constexpr int kTries = 1000;
  for (int i = 0; i < kTries; ++i) {
    if (!readable(watcher)) return true;
    drain_all(watcher);
  }
  return false;
}

struct Run {
  Watcher& watcher;
  const TempTree& tree;
  const WatcherContract& contract;

  bool counts(size_t dirs) const { return !contract.precise || watcher.dir_count() == dirs; }
};

void check_files(const Run& run) {
  Watcher& watcher = run.watcher;
  const TempTree& tree = run.tree;
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
    CHECK(nothing_told(drain_all(watcher)));
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

void check_renames(const Run& run) {
  Watcher& watcher = run.watcher;
  const TempTree& tree = run.tree;
  tree.mkdir("sub");
  add(watcher, kSub, tree.open_dir("sub"));
  tree.write_file("a", "x");
  drain_all(watcher);
  SECTION("a rename within a directory pairs its halves") {
    tree.rename("a", "b");
    const auto hints = drain_all(watcher);
    if (swept(hints)) return;
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
    if (swept(hints)) return;
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
    if (swept(hints)) return;
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

void check_dirs(const Run& run) {
  Watcher& watcher = run.watcher;
  const TempTree& tree = run.tree;
  SECTION("a new directory is told as one, so that the caller adds it") {
    tree.mkdir("sub");
    const auto hints = drain_all(watcher);
    const SeenHint* made = find_entry(hints, kRoot, "sub", kWhatCreated);
    REQUIRE((made != nullptr || swept(hints)));
    CHECK((made == nullptr || made->hint.is_dir));
    add(watcher, kSub, tree.open_dir("sub"));
    CHECK(run.counts(2));
    tree.write_file("sub/f", "x");
    CHECK(told(drain_all(watcher), kSub, "f", kWhatClosed));
  }
  SECTION("children of a directory that was not added are not told") {
    tree.mkdir("sub");
    drain_all(watcher);
    tree.write_file("sub/f", "x");
    CHECK(nothing_told(drain_all(watcher)));
  }
  SECTION("a renamed directory keeps its watch and its id") {
    tree.mkdir("sub");
    add(watcher, kSub, tree.open_dir("sub"));
    drain_all(watcher);
    tree.rename("sub", "renamed");
    const auto hints = drain_all(watcher);
    const SeenHint* to = find_entry(hints, kRoot, "renamed", kWhatCreated | kWhatMoved);
    REQUIRE((to != nullptr || swept(hints)));
    CHECK((to == nullptr || to->hint.is_dir));
    CHECK(run.counts(2));
    tree.write_file("renamed/f", "x");
    CHECK(told(drain_all(watcher), kSub, "f", kWhatClosed));
  }
  SECTION("the directory's own attributes are told") {
    tree.chmod("", 0700);
    const auto hints = drain_all(watcher);
    CHECK((swept(hints) || find_kind(hints, HintKind::kSelf, kRoot) != nullptr));
  }
}

void check_watches(const Run& run) {
  Watcher& watcher = run.watcher;
  const TempTree& tree = run.tree;
  tree.mkdir("sub");
  add(watcher, kSub, tree.open_dir("sub"));
  drain_all(watcher);
  SECTION("the same directory under another id moves to it") {
    constexpr NodeId kOther{3};
    add(watcher, kOther, tree.open_dir("sub"));
    CHECK(run.counts(2));
    tree.write_file("sub/f", "x");
    const auto hints = drain_all(watcher);
    CHECK(told(hints, kOther, "f", kWhatClosed));
    CHECK_FALSE(told_by_name(hints, kSub, "f", kWhatClosed));
    watcher.remove_dir(kSub);  // the old id means nothing any more
    CHECK(run.counts(2));
  }
  SECTION("the same directory under the same id stays one watch") {
    add(watcher, kSub, tree.open_dir("sub"));
    CHECK(run.counts(2));
    tree.write_file("sub/f", "x");
    CHECK(told(drain_all(watcher), kSub, "f", kWhatClosed));
  }
  SECTION("an id that now stands for another directory leaves the old one") {
    tree.mkdir("other");
    add(watcher, kSub, tree.open_dir("other"));
    CHECK(run.counts(2));
    tree.write_file("sub/old", "x");
    tree.write_file("other/new", "x");
    const auto hints = drain_all(watcher);
    CHECK_FALSE(told_by_name(hints, kSub, "old", 0));
    CHECK(told(hints, kSub, "new", kWhatClosed));
  }
  SECTION("events of a removed directory are not told, not even those that wait") {
    tree.write_file("sub/f", "x");
    watcher.remove_dir(kSub);
    CHECK(run.counts(1));
    tree.write_file("sub/g", "x");
    CHECK(nothing_told(drain_all(watcher)));
    watcher.remove_dir(kSub);
    watcher.remove_dir(NodeId{999});
    CHECK(run.counts(1));
  }
  SECTION("a removed directory can be added again, and only what follows is told") {
    tree.write_file("sub/before", "x");
    watcher.remove_dir(kSub);
    add(watcher, kSub, tree.open_dir("sub"));
    tree.write_file("sub/after", "x");
    const auto hints = drain_all(watcher);
    CHECK(told(hints, kSub, "after", kWhatClosed));
    CHECK(run.counts(2));
  }
}

void check_gone(const Run& run) {
  Watcher& watcher = run.watcher;
  const TempTree& tree = run.tree;
  const bool tells = run.contract.tells_dir_gone;
  tree.mkdir("sub");
  add(watcher, kSub, tree.open_dir("sub"));
  drain_all(watcher);
  SECTION("a deleted directory is told to its parent, and another one in its place is told of") {
    tree.rmdir("sub");
    const auto hints = drain_all(watcher);
    CHECK(told(hints, kRoot, "sub", kWhatRemoved));
    if (tells) {
      const SeenHint* gone = find_kind(hints, HintKind::kDirGone, kSub);
      REQUIRE(gone != nullptr);
      CHECK(gone->hint.unwatched);
    } else {
      watcher.remove_dir(kSub);
    }
    CHECK(run.counts(1));
    tree.mkdir("sub");  // a new one, perhaps with the same inode number
    drain_all(watcher);
    tree.write_file("sub/too early", "x");
    CHECK(nothing_told(drain_all(watcher)));
    add(watcher, kSub, tree.open_dir("sub"));
    tree.write_file("sub/f", "x");
    CHECK(told(drain_all(watcher), kSub, "f", kWhatClosed));
  }
  SECTION("a directory moved away is told to its parent and still watched") {
    const TempTree outside;
    REQUIRE(::rename(tree.path("sub").c_str(), outside.path("sub").c_str()) == 0);
    const auto hints = drain_all(watcher);
    CHECK(told(hints, kRoot, "sub", kWhatRemoved | kWhatMoved));
    if (tells) {
      const SeenHint* gone = find_kind(hints, HintKind::kDirGone, kSub);
      REQUIRE(gone != nullptr);
      CHECK_FALSE(gone->hint.unwatched);
    }
    CHECK(run.counts(2));
    outside.write_file("sub/f", "x");
    CHECK(told(drain_all(watcher), kSub, "f", kWhatClosed));
    watcher.remove_dir(kSub);
    outside.write_file("sub/f", "y");
    CHECK(nothing_told(drain_all(watcher)));
  }
  SECTION("the root is told as gone when it is moved") {
    const std::string aside = tree.path("") + "-aside";
    REQUIRE(::rename(tree.path("").c_str(), aside.c_str()) == 0);
    const auto moved = drain_all(watcher);
    REQUIRE(::rename(aside.c_str(), tree.path("").c_str()) == 0);
    CHECK((swept(moved) || find_kind(moved, HintKind::kDirGone, kRoot) != nullptr));
  }
  SECTION("what happens elsewhere on the file system is not told") {
    const TempTree outside;
    outside.write_file("f", "x");
    outside.mkdir("d");
    outside.rename("d", "e");
    CHECK(nothing_told(drain_all(watcher)));
  }
}

void check_draining(const Run& run) {
  Watcher& watcher = run.watcher;
  const TempTree& tree = run.tree;
  SECTION("the descriptor is readable exactly when there is something to deliver") {
    CHECK(falls_quiet(watcher));
    tree.write_file("f", "x");
    watcher.ask();
    CHECK(readable(watcher));
    drain_all(watcher);
    CHECK(falls_quiet(watcher));
  }
  SECTION("one drain delivers all that finished before it, in order") {
    constexpr int kFiles = 3000;  // more than one read of the kernel's queue, less than its length
    for (int i = 0; i < kFiles; ++i) tree.write_file("f" + std::to_string(i), "x");
    const auto hints = drain_all(watcher);
    if (swept(hints)) return;
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
    if (!run.contract.precise) return;
    CHECK(run.counts(2));
    drain_all(watcher);
    tree.write_file("sub/f", "x");
    tree.write_file("other/f", "x");
    const auto hints = drain_all(watcher);
    CHECK_FALSE(told_by_name(hints, kSub, "f", 0));
    CHECK(told(hints, NodeId{3}, "f", kWhatClosed));
  }
}

void check_refusals(const Run& run) {
  Watcher& watcher = run.watcher;
  const TempTree& tree = run.tree;
  SECTION("what is no directory is refused") {
    const Fd file = tree.open_file("f");
    drain_all(watcher);
    CHECK_FALSE(watcher.add_dir(kSub, file.get()).ok());
    REQUIRE(::symlink(tree.path("").c_str(), tree.path("link").c_str()) == 0);
    const Fd link(::open(tree.path("link").c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    REQUIRE(link.valid());
    CHECK_FALSE(watcher.add_dir(kSub, link.get()).ok());
    CHECK(run.counts(1));
  }
  SECTION("a descriptor that is not open is refused") {
    CHECK_FALSE(watcher.add_dir(kSub, -1).ok());
    CHECK(run.counts(1));
  }
}

}  // namespace

std::vector<SeenHint> drain_all(Watcher& watcher) {
  watcher.ask();
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
  const std::unique_ptr<Watcher> watcher = contract.create(tree);
  REQUIRE(watcher != nullptr);
  add(*watcher, kRoot, tree.open_dir(""));
  const Run run{*watcher, tree, contract};
  REQUIRE(run.counts(1));
  check_files(run);
  SECTION("renames") { check_renames(run); }
  check_dirs(run);
  SECTION("adding and removing") { check_watches(run); }
  SECTION("directories that go away") { check_gone(run); }
  check_draining(run);
  check_refusals(run);
}

}  // namespace holdfast
