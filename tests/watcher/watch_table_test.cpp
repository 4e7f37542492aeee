// WatchTable against a pair of maps, and its size.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "test_seed.h"
#include "watcher/watch_table.h"

using namespace holdfast;

TEST_CASE("a watch table finds entries from both sides", "[watch_table]") {
  WatchTable table;
  CHECK_FALSE(table.dir_of(1));
  CHECK_FALSE(table.wd_of(NodeId{1}));
  table.erase(1);
  table.insert(1, NodeId{10});
  table.insert(INT32_MAX, NodeId{UINT64_MAX});
  table.insert(0, NodeId{0});
  CHECK(table.dir_of(1) == NodeId{10});
  CHECK(table.wd_of(NodeId{UINT64_MAX}) == INT32_MAX);
  CHECK(table.dir_of(0) == NodeId{0});
  table.erase(1);
  CHECK_FALSE(table.dir_of(1));
  CHECK_FALSE(table.wd_of(NodeId{10}));
  CHECK(table.wd_of(NodeId{0}) == 0);
  CHECK(table.size() == 2);
}

TEST_CASE("a watch table stays right through any adding and erasing", "[watch_table][model]") {
  const unsigned seed = test_seed();
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937 random(seed);
  WatchTable table;
  std::map<int32_t, uint64_t> by_wd;
  std::map<uint64_t, int32_t> by_dir;
  int32_t next_wd = INT32_MAX - 5000;  // the kernel's cycle wraps during the test
  for (int step = 0; step < 20'000; ++step) {
    const bool grows = random() % 100 < (step / 4000 % 2 == 0 ? 70u : 35u);
    const uint64_t dir = random() % 3000;
    if (grows && !by_dir.contains(dir)) {
      next_wd = next_wd == INT32_MAX ? 1 : next_wd + 1;
      if (by_wd.contains(next_wd)) continue;
      table.insert(next_wd, NodeId{dir});
      by_wd[next_wd] = dir;
      by_dir[dir] = next_wd;
    } else if (by_dir.contains(dir)) {
      table.erase(by_dir[dir]);
      by_wd.erase(by_dir[dir]);
      by_dir.erase(dir);
    }
    REQUIRE(table.size() == by_wd.size());
    if (step % 500 != 0) continue;
    for (uint64_t id = 0; id < 3000; ++id) {
      const auto wd = table.wd_of(NodeId{id});
      REQUIRE(wd.has_value() == by_dir.contains(id));
      if (wd) REQUIRE((*wd == by_dir[id] && table.dir_of(*wd) == NodeId{id}));
    }
  }
}

TEST_CASE("bytes a watch in user space", "[watch_table]") {
  // The worst sizes lie just behind a growth of the tables; the range shows them all.
  WatchTable table;
  double worst = 0;
  for (int32_t wd = 1; wd <= 400'000; ++wd) {
    table.insert(wd, NodeId{static_cast<uint64_t>(wd) * 3});
    const double bytes = static_cast<double>(table.memory_bytes()) / wd;
    if (wd >= 10'000) worst = std::max(worst, bytes);
    if (wd == 200'000) CHECK(bytes < 26);
  }
  CHECK(worst < 36);
}
