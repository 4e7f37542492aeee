// HandleCache: both ways, bounded, and the entry that was not used for the longest goes.
#include <catch2/catch.hpp>

#include "watcher/handle_cache.h"

using namespace holdfast;

TEST_CASE("a handle cache knows directories, and what is none", "[handle_cache]") {
  HandleCache cache(4);
  CHECK(cache.find("a") == nullptr);
  cache.put("a", NodeId{1});
  cache.put("none", std::nullopt);
  REQUIRE(cache.find("a") != nullptr);
  CHECK(cache.find("a")->dir == NodeId{1});
  REQUIRE(cache.find("none") != nullptr);
  CHECK_FALSE(cache.find("none")->dir);
  CHECK(cache.dir_count() == 1);
  cache.put("none", NodeId{2});  // it turned out to be one
  CHECK(cache.find("none")->dir == NodeId{2});
  cache.put("b", NodeId{1});  // the id stands for another directory now
  CHECK(cache.find("a") == nullptr);
  CHECK(cache.find("b")->dir == NodeId{1});
  cache.erase(NodeId{1});
  cache.erase(NodeId{77});
  CHECK(cache.find("b") == nullptr);
  CHECK(cache.dir_count() == 1);
  CHECK(cache.size() == 1);
}

TEST_CASE("a handle cache forgets what was not used for the longest", "[handle_cache]") {
  HandleCache cache(3);
  cache.put("a", NodeId{1});
  cache.put("b", std::nullopt);
  cache.put("c", NodeId{3});
  CHECK(cache.find("a") != nullptr);  // used again
  cache.put("d", NodeId{4});
  CHECK(cache.find("b") == nullptr);
  cache.put("e", NodeId{5});
  CHECK(cache.find("c") == nullptr);
  CHECK(cache.find("a") != nullptr);
  CHECK(cache.size() == 3);
  CHECK(cache.dir_count() == 3);
}
