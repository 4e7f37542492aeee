// What a stream's beginning says about how to cut it, and which paths programs may give.
#include "service/content_writer.h"

#include <catch2/catch.hpp>

namespace holdfast {
namespace {

std::string sqlite_head(uint16_t page, uint32_t pages) {
  std::string head("SQLite format 3\0", 16);
  head += {static_cast<char>(page >> 8), static_cast<char>(page & 255)};
  head.resize(28, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) head += static_cast<char>(pages >> shift & 255);
  return head + std::string(kStreamHeadBytes - head.size(), '\0');
}

}  // namespace

TEST_CASE("a stream is cut like a file of medium size, a database at its pages", "[put]") {
  const ChunkSizes usual = chunk_sizes_for(kMediumFileBytesMax);
  for (const std::string& head :
       {std::string("PGDMP"), std::string(kStreamHeadBytes, 'x'), sqlite_head(777, 100)}) {
    REQUIRE(chunk_sizes_of_stream(head).average == usual.average);
  }
  REQUIRE(chunk_sizes_of_stream(sqlite_head(4096, 1000)).max == 4096);
  REQUIRE(chunk_sizes_of_stream(sqlite_head(8192, 1000)).min == 8192);
  REQUIRE(chunk_sizes_of_stream(sqlite_head(1, 1000)).max == 65536);
  REQUIRE(chunk_sizes_of_stream(sqlite_head(4096, 2'000'000)).average == 65536);  // 8 GB
  REQUIRE(chunk_sizes_of_stream(sqlite_head(4096, 0)).average == 4096);  // written by an old SQLite
}

TEST_CASE("a path that a program gives has a root's name and something below it", "[put]") {
  const auto split = split_put_path("dumps:db//app/./x");
  REQUIRE(split.ok());
  REQUIRE(*split == std::pair<std::string, std::string>("dumps", "db/app/x"));
  REQUIRE(split_put_path("dumps:../../etc")->second == "etc");
  for (const std::string bad :
       {"", "dumps", "dumps:", ":x", "a b:x", "dumps:/", "/etc/x", "..:x"}) {
    INFO(bad);
    REQUIRE(split_put_path(bad).error().code == ErrorCode::kUsage);
  }
  REQUIRE(!split_put_path("dumps:" + std::string(256, 'x')).ok());
  REQUIRE(split_put_path("dumps:" + std::string(255, 'x')).ok());
}

}  // namespace holdfast
