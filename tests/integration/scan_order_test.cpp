// The first scan looks at directories in the order in which they were journaled.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "tests/support/watched.h"

namespace holdfast {
namespace {

std::string numbered(const std::string& word, int number) {
  return word + std::to_string(1000 + number);
}

}  // namespace

// What is in a directory lies in the tables by the directory's node. So a scan in another order
// would put every row in front of others, and leave pages half empty.
TEST_CASE("a scan goes through directories in the order of their names", "[watching]") {
  constexpr int kDirs = 120;
  WorkDir work;
  const std::string root = work.make("data");
  for (int i = 0; i < kDirs; ++i) {
    const std::string dir = root + "/" + numbered("dir", i);
    for (int below = 0; below < 3; ++below) {
      std::filesystem::create_directories(dir + "/" + numbered("below", below));
    }
  }
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  // Which of the directories came how many-th. Several are looked at a time, so they may overtake
  // each other a little.
  std::map<std::string, int> places;
  for (const TestJson& record : holdfast.lines({"log", "--kind", "create"})) {
    const std::filesystem::path path(record.at("path").get<std::string>());
    if (path.filename().string().starts_with("below")) {
      places.emplace(path.parent_path().filename().string(), static_cast<int>(places.size()));
    }
  }
  REQUIRE(places.size() == kDirs);
  int moved = 0, expected = 0;
  for (const auto& [dir, place] : places) moved += std::abs(place - expected++);
  INFO("all together they came " << moved << " places off theirs");
  REQUIRE(moved <= 3 * kDirs);
}

}  // namespace holdfast
