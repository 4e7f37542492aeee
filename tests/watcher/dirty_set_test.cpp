// DirtySet, rule by rule. Times are small numbers: settle is 100.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "watcher/dirty_set.h"

using namespace holdfast;

namespace {

constexpr NodeId kRoot{1};
constexpr int64_t kSettle = 100;

DirtySetLimits limits() {
  DirtySetLimits result;
  result.settle_ns = kSettle;
  return result;
}

DirtySet make_set(DirtySetLimits with = limits(), std::map<uint64_t, uint64_t> parents = {}) {
  return DirtySet(kRoot, with, [parents](NodeId dir) {
    const auto at = parents.find(dir.value);
    return at == parents.end() ? NodeId{} : NodeId{at->second};
  });
}

Hint entry(NodeId dir, std::string_view name, unsigned what, bool is_dir = false) {
  Hint hint;
  hint.dir = dir;
  hint.name = name;
  hint.what = static_cast<uint8_t>(what);
  hint.is_dir = is_dir;
  return hint;
}

Hint of_kind(HintKind kind, NodeId dir) {
  Hint hint;
  hint.kind = kind;
  hint.dir = dir;
  return hint;
}

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

const auto kNothingBlocked = [](NodeId) { return false; };

}  // namespace

TEST_CASE("when a hint makes its name due", "[dirty_set]") {
  struct Row {
    const char* why;
    unsigned what;
    bool is_dir;
    int64_t due;
  };
  const Row rows[] = {
      {"the close usually follows", kWhatCreated, false, 1000 + kSettle},
      {"a new directory must be watched at once", kWhatCreated, true, 1000},
      {"a writer is at it", kWhatModified, false, 1000 + kSettle},
      {"created and written to, merged", kWhatCreated | kWhatModified, false, 1000 + kSettle},
      {"closed after writing", kWhatClosed, false, 1000},
      {"modified and closed, merged", kWhatModified | kWhatClosed, false, 1000},
      {"removed", kWhatRemoved, false, 1000},
      {"moved in, complete", kWhatCreated | kWhatMoved, false, 1000},
      {"moved out", kWhatRemoved | kWhatMoved, false, 1000},
      {"attributes", kWhatAttributes, false, 1000},
      {"nothing in particular", 0, false, 1000},
  };
  for (const Row& row : rows) {
    CAPTURE(row.why);
    DirtySet set = make_set();
    set.add(entry(kRoot, "f", row.what, row.is_dir), 7, 1000);
    CHECK(set.next_due_ns() == row.due);
    CHECK_FALSE(set.take(row.due - 1, false, kNothingBlocked));
    const auto taken = set.take(row.due, false, kNothingBlocked);
    REQUIRE(taken);
    CHECK(taken->dir == kRoot);
    CHECK(taken->names == std::vector<std::string>{"f"});
    CHECK_FALSE(taken->all);
    CHECK_FALSE(taken->self);
    CHECK(taken->epoch == 7);
    CHECK(set.empty());
  }
}

TEST_CASE("hints about a directory itself", "[dirty_set]") {
  DirtySet set = make_set();
  SECTION("its attributes") {
    set.add(of_kind(HintKind::kSelf, NodeId{5}), 1, 10);
    const auto taken = set.take(10, false, kNothingBlocked);
    REQUIRE(taken);
    CHECK((taken->dir == NodeId{5} && taken->self && !taken->all && taken->names.empty()));
  }
  SECTION("its end") {
    set.add(of_kind(HintKind::kDirGone, NodeId{5}), 1, 10);
    const auto taken = set.take(10, false, kNothingBlocked);
    REQUIRE(taken);
    CHECK((taken->dir == NodeId{5} && taken->self && !taken->all));
  }
  SECTION("an overflow is about everything") {
    set.add(of_kind(HintKind::kOverflow, NodeId{}), 1, 10);
    const auto taken = set.take(10, false, kNothingBlocked);
    REQUIRE(taken);
    CHECK((taken->dir == kRoot && taken->all && taken->recursive && taken->self));
  }
  CHECK(set.empty());
}

TEST_CASE("whether a recursive look is pending", "[dirty_set]") {
  DirtySet set = make_set();
  set.add_dir(NodeId{2}, false, 1, 10);
  CHECK_FALSE(set.recursive_pending());
  set.add_dir(NodeId{2}, true, 1, 50);
  set.add_dir(NodeId{3}, true, 1, 50);
  CHECK(set.recursive_pending());
  set.forget(NodeId{3});
  CHECK(set.take(10, false, kNothingBlocked));
  CHECK(set.recursive_pending());
  CHECK(set.take(50, false, kNothingBlocked));
  CHECK_FALSE(set.recursive_pending());
}

TEST_CASE("a dirty set can be moved", "[dirty_set]") {
  DirtySet set = make_set();
  set.add_name(kRoot, "f", 1, 0);
  DirtySet moved = std::move(set);
  CHECK(moved.size() == 1);
  set = make_set();
  CHECK(set.empty());
  CHECK(moved.take(0, false, nullptr));
}

TEST_CASE("an empty dirty set", "[dirty_set]") {
  DirtySet set = make_set();
  CHECK(set.empty());
  CHECK(set.size() == 0);
  CHECK_FALSE(set.lowest_epoch());
  CHECK_FALSE(set.next_due_ns());
  CHECK_FALSE(set.take(1000, true, kNothingBlocked));
  set.forget(NodeId{9});
}

TEST_CASE("repeated writes do not push the due time back", "[dirty_set]") {
  DirtySet set = make_set();
  for (int64_t now = 0; now < kSettle; now += 10)
    set.add(entry(kRoot, "log", kWhatModified), 1, now);
  CHECK(set.next_due_ns() == kSettle);
  REQUIRE(set.take(kSettle, false, kNothingBlocked));
  set.add(entry(kRoot, "log", kWhatModified), 1, kSettle + 1);
  CHECK(set.next_due_ns() == 2 * kSettle + 1);  // at most once per settle
}

TEST_CASE("a close makes a name due that waited", "[dirty_set]") {
  DirtySet set = make_set();
  set.add(entry(kRoot, "f", kWhatCreated), 3, 0);
  set.add(entry(kRoot, "f", kWhatModified), 4, 1);
  set.add(entry(kRoot, "f", kWhatClosed), 5, 2);
  CHECK(set.next_due_ns() == 2);
  CHECK(set.size() == 1);
  const auto taken = set.take(2, false, kNothingBlocked);
  REQUIRE(taken);
  CHECK(taken->epoch == 3);
}

TEST_CASE("take() takes only the names that are due", "[dirty_set]") {
  DirtySet set = make_set();
  set.add(entry(kRoot, "closed", kWhatClosed), 5, 0);
  set.add(entry(kRoot, "open", kWhatModified), 2, 0);
  set.add_self(kRoot, 4, 50);
  auto taken = set.take(0, false, kNothingBlocked);
  REQUIRE(taken);
  CHECK(taken->names == std::vector<std::string>{"closed"});
  CHECK_FALSE(taken->self);
  CHECK(taken->epoch == 5);
  CHECK(set.lowest_epoch() == 2);
  CHECK(set.next_due_ns() == 50);
  CHECK_FALSE(set.take(0, false, kNothingBlocked));
  taken = set.take(0, true, kNothingBlocked);  // force: everything is due
  REQUIRE(taken);
  CHECK(taken->names == std::vector<std::string>{"open"});
  CHECK(taken->self);
  CHECK(taken->epoch == 2);
  CHECK(set.empty());
}

TEST_CASE("the directory that has been due the longest comes first", "[dirty_set]") {
  DirtySet set = make_set();
  set.add_name(NodeId{2}, "late", 1, 30);
  set.add_name(NodeId{3}, "early", 1, 10);
  set.add_name(NodeId{4}, "middle", 1, 20);
  for (const uint64_t expected : {3u, 4u, 2u}) {
    const auto taken = set.take(100, false, kNothingBlocked);
    REQUIRE(taken);
    CHECK(taken->dir == NodeId{expected});
  }
}

TEST_CASE("a hot directory does not starve the others", "[dirty_set]") {
  DirtySet set = make_set();
  for (uint64_t dir = 10; dir < 20; ++dir) set.add(entry(NodeId{dir}, "f", kWhatClosed), 1, 0);
  std::vector<uint64_t> order;
  for (int64_t now = 0; now < 30; ++now) {
    for (int i = 0; i < 50; ++i) {
      set.add(entry(NodeId{2}, "hot" + std::to_string(i), kWhatClosed), 1,
              0);  // the clock stands still
    }
    const auto taken = set.take(0, false, kNothingBlocked);
    REQUIRE(taken);
    order.push_back(taken->dir.value);
  }
  for (uint64_t dir = 10; dir < 20; ++dir) {
    const auto at = std::find(order.begin(), order.end(), dir);
    CHECK(at - order.begin() < 11);
  }
}

TEST_CASE("a blocked directory is skipped and keeps what it has", "[dirty_set]") {
  DirtySet set = make_set();
  set.add_name(NodeId{2}, "a", 1, 0);
  set.add_name(NodeId{3}, "b", 1, 5);
  set.add_name(NodeId{4}, "c", 1, 50);
  const auto two_blocked = [](NodeId dir) { return dir == NodeId{2}; };
  const auto taken = set.take(10, false, two_blocked);
  REQUIRE(taken);
  CHECK(taken->dir == NodeId{3});
  CHECK_FALSE(set.take(10, false, two_blocked));
  CHECK(set.next_due_ns() == 0);
  CHECK(set.next_due_after(10) == 50);  // a timer for the blocked one would spin
  CHECK_FALSE(set.next_due_after(50));
  CHECK(set.take(10, false, kNothingBlocked)->dir == NodeId{2});
}

TEST_CASE("holds", "[dirty_set]") {
  DirtySet set = make_set();
  set.hold(kRoot, "hot", 500);
  SECTION("a held name is not due before the hold ends") {
    set.add(entry(kRoot, "hot", kWhatClosed), 1, 10);
    CHECK(set.next_due_ns() == 500);
    CHECK_FALSE(set.take(499, false, kNothingBlocked));
    CHECK(set.take(500, false, kNothingBlocked));
  }
  SECTION("add_name respects it, a later time stays") {
    set.add_name(kRoot, "hot", 1, 10);
    CHECK(set.next_due_ns() == 500);
    set.add_name(NodeId{2}, "hot", 1, 600);
    CHECK(set.next_due_after(500) == 600);
  }
  SECTION("force ignores it") {
    set.add(entry(kRoot, "hot", kWhatClosed), 1, 10);
    CHECK(set.take(10, true, kNothingBlocked));
  }
  SECTION("other names are not held") {
    set.add(entry(kRoot, "cold", kWhatClosed), 1, 10);
    set.add(entry(NodeId{2}, "hot", kWhatClosed), 1, 11);
    CHECK(set.take(10, false, kNothingBlocked)->names == std::vector<std::string>{"cold"});
    CHECK(set.take(11, false, kNothingBlocked)->dir == NodeId{2});
  }
  SECTION("a removal is due even so, and stays so") {
    set.add(entry(kRoot, "hot", kWhatClosed), 1, 10);
    set.add(entry(kRoot, "hot", kWhatRemoved), 1, 20);
    CHECK(set.next_due_ns() == 20);
    set.hold(kRoot, "hot", 900);
    CHECK(set.next_due_ns() == 20);
  }
  SECTION("what moves here is looked at in spite of it") {
    set.add(entry(kRoot, "hot", kWhatCreated | kWhatMoved), 1, 20);
    CHECK(set.next_due_ns() == 20);
  }
  SECTION("a hold postpones what is pending already") {
    set.add(entry(kRoot, "pending", kWhatClosed), 1, 10);
    set.hold(kRoot, "pending", 300);
    CHECK(set.next_due_ns() == 300);
    set.hold(kRoot, "pending", 200);
    CHECK(set.next_due_ns() == 300);
  }
  SECTION("a later hold replaces an earlier one, and can be asked for") {
    set.hold(kRoot, "hot", 700);
    CHECK(set.held_until(kRoot, "hot") == 700);
    CHECK_FALSE(set.held_until(kRoot, "cold"));
  }
  SECTION("a forgotten directory has no holds") {
    set.forget(kRoot);
    CHECK_FALSE(set.held_until(kRoot, "hot"));
  }
}

TEST_CASE("holds are bounded: those that end first go first", "[dirty_set]") {
  DirtySetLimits few = limits();
  few.holds_max = 3;
  DirtySet set = make_set(few);
  set.hold(kRoot, "long", 1000);
  set.hold(kRoot, "short", 10);
  set.hold(kRoot, "middle", 100);
  set.hold(kRoot, "new", 50);
  CHECK_FALSE(set.held_until(kRoot, "short"));
  CHECK(set.held_until(kRoot, "long") == 1000);
  CHECK(set.held_until(kRoot, "middle") == 100);
  CHECK(set.held_until(kRoot, "new") == 50);
}

TEST_CASE("too many names in a directory become the whole directory", "[dirty_set]") {
  DirtySetLimits few = limits();
  few.names_per_dir_max = 3;
  DirtySet set = make_set(few);
  set.add_name(kRoot, "a", 9, 50);
  set.add_name(kRoot, "b", 5, 40);
  set.add_name(kRoot, "c", 7, 60);
  CHECK(set.size() == 3);
  set.add_name(kRoot, "c", 7, 60);
  CHECK(set.size() == 3);
  set.add_name(kRoot, "d", 6, 70);
  CHECK(set.size() == 1);
  CHECK(set.lowest_epoch() == 5);
  CHECK(set.next_due_ns() == 40);
  set.add_name(kRoot, "e", 2, 80);  // covered by the look at all names
  CHECK(set.size() == 1);
  const auto taken = set.take(40, false, kNothingBlocked);
  REQUIRE(taken);
  CHECK((taken->all && !taken->recursive && taken->names.empty()));
  CHECK(taken->epoch == 2);
  CHECK(set.empty());
}

TEST_CASE("too many names in all directories collapse the one that adds", "[dirty_set]") {
  DirtySetLimits few = limits();
  few.names_max = 4;
  DirtySet set = make_set(few);
  for (const char* name : {"a", "b", "c"}) set.add_name(NodeId{2}, name, 1, 10);
  set.add_name(NodeId{3}, "d", 1, 20);
  set.add_name(NodeId{3}, "e", 1, 20);
  CHECK(set.size() == 4);
  CHECK(set.take(20, false, kNothingBlocked)->names.size() == 3);
  CHECK(set.take(20, false, kNothingBlocked)->all);
}

TEST_CASE("a look planned for later neither delays names nor is pulled forward", "[dirty_set]") {
  DirtySet set = make_set();
  set.add_dir(kRoot, true, 1, 10'000);
  set.add_name(kRoot, "now", 2, 10);
  set.add_name(kRoot, "after", 1, 20'000);  // covered
  CHECK(set.size() == 2);
  auto taken = set.take(10, false, kNothingBlocked);
  REQUIRE(taken);
  CHECK(taken->names == std::vector<std::string>{"now"});
  CHECK_FALSE(taken->all);
  CHECK(set.next_due_ns() == 10'000);
  set.add_name(kRoot, "pending", 3, 15'000);
  set.add_dir(kRoot, false, 3, 500);
  taken = set.take(500, false, kNothingBlocked);
  REQUIRE(taken);
  CHECK((taken->all && !taken->recursive));
  CHECK(set.next_due_ns() == 10'000);
  taken = set.take(10'000, false, kNothingBlocked);
  REQUIRE(taken);
  CHECK((taken->all && taken->recursive));
  CHECK(set.empty());
}

TEST_CASE("a look at the whole directory takes the names along", "[dirty_set]") {
  DirtySet set = make_set();
  set.add_name(kRoot, "early", 1, 10);
  set.add_name(kRoot, "late", 2, 90);
  set.add_dir(kRoot, false, 3, 50);
  CHECK(set.size() == 2);  // "late" is covered
  const auto taken = set.take(60, false, kNothingBlocked);
  REQUIRE(taken);
  CHECK((taken->all && taken->names.empty()));
  CHECK(taken->epoch == 1);
  CHECK(set.empty());
}

TEST_CASE("a forgotten directory is not taken", "[dirty_set]") {
  DirtySet set = make_set();
  set.add_name(NodeId{2}, "a", 1, 0);
  set.add_dir(NodeId{2}, true, 1, 0);
  set.add_name(NodeId{3}, "b", 5, 0);
  set.forget(NodeId{2});
  CHECK(set.lowest_epoch() == 5);
  CHECK(set.take(0, false, kNothingBlocked)->dir == NodeId{3});
  CHECK(set.empty());
}

TEST_CASE("epochs: the lowest stays through every merge", "[dirty_set]") {
  DirtySet set = make_set();
  set.add_name(kRoot, "f", 9, 0);
  CHECK(set.lowest_epoch() == 9);
  set.add_name(kRoot, "f", 4, 50);
  CHECK(set.lowest_epoch() == 4);
  set.add_name(kRoot, "f", 12, 0);
  CHECK(set.lowest_epoch() == 4);
  set.add_dir(kRoot, true, 20, 0);
  CHECK(set.lowest_epoch() == 4);
  const auto taken = set.take(0, false, kNothingBlocked);
  REQUIRE(taken);
  CHECK(taken->epoch == 4);
  CHECK_FALSE(set.lowest_epoch());
}

TEST_CASE("too many directories collapse into their parents", "[dirty_set]") {
  // 1 ── 2 ── 20..29 ── 200.. (one below each)     1 ── 3 ── 30, 31
  std::map<uint64_t, uint64_t> parents = {{2, 1}, {3, 1}, {30, 3}, {31, 3}};
  for (uint64_t i = 0; i < 10; ++i) {
    parents[20 + i] = 2;
    parents[200 + i] = 20 + i;
  }
  DirtySetLimits few = limits();
  few.dirs_max = 8;
  SECTION("the largest group gives way, the others keep their names") {
    DirtySet set = make_set(few, parents);
    set.add_name(NodeId{30}, "x", 8, 5);
    set.add_name(NodeId{31}, "y", 8, 6);
    for (uint64_t i = 0; i < 7; ++i) {
      set.add_name(NodeId{20 + i}, "f", 10 - i, static_cast<int64_t>(100 - i));
    }
    CHECK(set.take(10, false, kNothingBlocked)->names == std::vector<std::string>{"x"});
    CHECK(set.take(10, false, kNothingBlocked)->names == std::vector<std::string>{"y"});
    CHECK(set.next_due_ns() == 94);
    const auto taken = set.take(94, false, kNothingBlocked);
    REQUIRE(taken);
    CHECK((taken->dir == NodeId{2} && taken->recursive));
    CHECK(taken->epoch == 4);
    CHECK(set.empty());
  }
  SECTION("what lies below a recursive look is absorbed by it first") {
    DirtySet set = make_set(few, parents);
    set.add_dir(NodeId{2}, true, 5, 50);
    set.add_name(NodeId{30}, "x", 8, 5);
    set.add_name(NodeId{31}, "y", 8, 6);
    for (uint64_t i = 0; i < 6; ++i) set.add_name(NodeId{200 + i}, "f", 3, 60);
    CHECK(set.size() == 3);
    CHECK(set.lowest_epoch() == 3);
    CHECK(set.take(10, false, kNothingBlocked)->dir == NodeId{30});
  }
  SECTION("without siblings everything moves up until there are some") {
    DirtySet set = make_set(few, parents);
    for (uint64_t i = 0; i < 9; ++i) set.add_name(NodeId{200 + i}, "f", i + 1, 10);
    CHECK(set.lowest_epoch() == 1);
    const auto taken = set.take(10, false, kNothingBlocked);
    REQUIRE(taken);
    CHECK((taken->dir == NodeId{2} && taken->recursive));
    CHECK(set.empty());
  }
}

TEST_CASE("a collapse survives nonsense parents", "[dirty_set]") {
  DirtySetLimits few = limits();
  few.dirs_max = 4;
  const auto ring = [](NodeId dir) { return NodeId{dir.value == 99 ? 50 : dir.value + 1}; };
  DirtySet set(kRoot, few, ring);  // nodes 50 to 99 are each other's ancestors
  for (uint64_t dir = 50; dir < 99; ++dir) set.add_name(NodeId{dir}, "f", dir, 10);
  CHECK(set.size() <= 4);
  CHECK(set.lowest_epoch() == 50);
  DirtySet orphans(kRoot, few, nullptr);
  for (uint64_t dir = 50; dir < 60; ++dir) orphans.add_name(NodeId{dir}, "f", dir, 10);
  const auto taken = orphans.take(10, true, kNothingBlocked);
  REQUIRE(taken);
  CHECK((taken->dir == kRoot && taken->recursive));
}

TEST_CASE("names come out with their bytes", "[dirty_set]") {
  DirtySet set = make_set();
  const std::string odd("new\nline \xff", 10);
  set.add_name(kRoot, odd, 1, 0);
  set.add_name(kRoot, "b", 1, 0);
  CHECK(sorted(set.take(0, false, kNothingBlocked)->names) == sorted({"b", odd}));
}
