// Where contents are cut: bounds, averages, and that an edit moves only the cuts around it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "store/chunker.h"
#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

const GearTable& gear() {
  static const GearTable table = derive_gear_table(test_repository().key);
  return table;
}

std::vector<size_t> cuts_of(std::string_view data, ChunkSizes sizes) {
  const Chunker chunker(gear(), sizes);
  std::vector<size_t> cuts;
  for (size_t at = 0; at < data.size();) {
    at += chunker.next_cut(data.substr(at));
    cuts.push_back(at);
  }
  return cuts;
}

std::set<std::string_view> chunks_of(std::string_view data, ChunkSizes sizes) {
  std::set<std::string_view> chunks;
  size_t start = 0;
  for (const size_t cut : cuts_of(data, sizes)) {
    chunks.insert(data.substr(start, cut - start));
    start = cut;
  }
  return chunks;
}

}  // namespace

TEST_CASE("the sizes follow the file", "[chunker]") {
  const auto is = [](ChunkSizes sizes, uint32_t min, uint32_t average, uint32_t max) {
    return sizes.min == min * 1024 && sizes.average == average * 1024 && sizes.max == max * 1024;
  };
  REQUIRE(is(chunk_sizes_for(0), 64, 64, 64));
  REQUIRE(is(chunk_sizes_for(64 << 10), 64, 64, 64));
  REQUIRE(is(chunk_sizes_for((64 << 10) + 1), 16, 64, 256));
  REQUIRE(is(chunk_sizes_for(64 << 20), 16, 64, 256));
  REQUIRE(is(chunk_sizes_for((64 << 20) + 1), 256, 1024, 4096));
  REQUIRE(is(chunk_sizes_for(UINT64_MAX), 256, 1024, 4096));
}

namespace {

std::string sqlite_head(uint16_t page) {
  std::string head("SQLite format 3\0", 16);
  head += static_cast<char>(page >> 8);
  head += static_cast<char>(page);
  return head;
}

}  // namespace

TEST_CASE("a SQLite database is cut at its pages", "[chunker]") {
  constexpr uint64_t kMiB = 1 << 20, kGiB = 1 << 30;
  const auto unit = [](uint64_t bytes, const std::string& head) -> uint32_t {
    const ChunkSizes sizes = chunk_sizes_for(bytes, head);
    return sizes.min == sizes.max && sizes.min == sizes.average ? sizes.min : 0;
  };
  for (const uint64_t bytes : {100 * kMiB / 1024, kMiB, 100 * kMiB, kGiB}) {
    REQUIRE(unit(bytes, sqlite_head(512)) == 4096);  // several small pages at a time
    REQUIRE(unit(bytes, sqlite_head(4096)) == 4096);
    REQUIRE(unit(bytes, sqlite_head(32768)) == 32768);
    REQUIRE(unit(bytes, sqlite_head(1)) == 65536);
    REQUIRE(unit(bytes, sqlite_head(4096) + "and more") == 4096);
  }
  REQUIRE(unit(kGiB + 1, sqlite_head(4096)) == 65536);
  REQUIRE(unit(16 * kGiB, sqlite_head(1)) == 65536);
  REQUIRE(unit(16 * kGiB + 1, sqlite_head(4096)) == 0);
  // No database, or none that SQLite would open.
  for (const std::string& head :
       {std::string(), std::string("SQLite format 3"), sqlite_head(4096).substr(0, 17),
        "x" + sqlite_head(4096), sqlite_head(0), sqlite_head(256), sqlite_head(4097),
        sqlite_head(0xffff)}) {
    REQUIRE(unit(kMiB, head) == 0);
  }
  REQUIRE(chunk_sizes_for(64 << 10, sqlite_head(4096)).max == 64 << 10);
}

TEST_CASE("a page that changed changes its own chunk alone", "[chunker]") {
  std::string data = sqlite_head(4096) + random_text(19, (1 << 20) + 1000);
  const ChunkSizes sizes = chunk_sizes_for(data.size(), data);
  const auto before = chunks_of(data, sizes);
  REQUIRE(before.size() == data.size() / 4096 + 1);
  std::string changed = data;
  for (const size_t page : {3, 100, 200}) changed[page * 4096 + 17] ^= 1;
  const auto after = chunks_of(changed, sizes);
  REQUIRE(after.size() == before.size());
  REQUIRE(std::count_if(after.begin(), after.end(),
                        [&](std::string_view chunk) { return !before.contains(chunk); }) == 3);
}

TEST_CASE("the gear table depends on the key, and on nothing else", "[chunker]") {
  const GearTable first = derive_gear_table(test_repository(1).key);
  REQUIRE(first == derive_gear_table(test_repository(1).key));
  REQUIRE(first != derive_gear_table(test_repository(2).key));
  REQUIRE(std::set<uint64_t>(first.begin(), first.end()).size() == first.size());
}

TEST_CASE("no chunk is smaller than the least or larger than the most", "[chunker]") {
  for (const ChunkSizes sizes : {chunk_sizes_for(1 << 20), ChunkSizes{64, 128, 512},
                                 ChunkSizes{256, 1024, 4096}, ChunkSizes{1024, 1024, 1024}}) {
    for (const std::string& data : {random_text(7, 4 << 20), std::string(4 << 20, '\0'),
                                    std::string(sizes.max, 'x'), std::string(1, 'x')}) {
      size_t start = 0;
      for (const size_t cut : cuts_of(data, sizes)) {
        REQUIRE(cut - start <= sizes.max);
        if (cut != data.size()) REQUIRE(cut - start >= sizes.min);
        start = cut;
      }
      REQUIRE(start == data.size());
    }
  }
  REQUIRE(Chunker(gear(), chunk_sizes_for(1 << 20)).next_cut("") == 0);
}

TEST_CASE("a small file is one chunk", "[chunker]") {
  for (const size_t size : {1, 100, 16 * 1024, 64 * 1024}) {
    REQUIRE(cuts_of(random_text(size, size), chunk_sizes_for(size)).size() == 1);
  }
}

TEST_CASE("chunks have about the average size", "[chunker]") {
  for (const uint32_t average : {1u << 10, 1u << 14}) {
    const ChunkSizes sizes{average / 4, average, average * 4};
    const std::string data = random_text(11, size_t{average} * 1000);
    const size_t count = cuts_of(data, sizes).size();
    REQUIRE(count > 700);
    REQUIRE(count < 1300);
  }
}

TEST_CASE("cuts do not depend on how much lies behind them", "[chunker]") {
  const ChunkSizes sizes{256, 1024, 4096};
  const std::string data = random_text(13, 256 << 10);
  const Chunker chunker(gear(), sizes);
  for (size_t at = 0; at + sizes.max < data.size();) {
    const std::string_view rest = std::string_view(data).substr(at);
    const size_t cut = chunker.next_cut(rest);
    REQUIRE(chunker.next_cut(rest.substr(0, sizes.max)) == cut);
    // At the end of a content the same place is cut too, or the content ends before it.
    REQUIRE(chunker.next_cut(rest.substr(0, cut)) == cut);
    REQUIRE(chunker.next_cut(rest.substr(0, cut - 1)) == cut - 1);
    at += cut;
  }
}

TEST_CASE("after an edit the same chunks come again", "[chunker]") {
  const ChunkSizes sizes{256, 1024, 4096};
  const std::string data = random_text(17, 512 << 10);
  const auto before = chunks_of(data, sizes);
  for (const size_t place : {size_t{0}, size_t{100'003}, data.size() / 2, data.size() - 1}) {
    std::string inserted = data;
    inserted.insert(place, "seventeen bytes..");
    std::string removed = data;
    removed.erase(place, 5);
    for (const std::string& edited : {inserted, removed}) {
      const auto after = chunks_of(edited, sizes);
      const auto fresh = std::count_if(after.begin(), after.end(), [&](std::string_view chunk) {
        return !before.contains(chunk);
      });
      REQUIRE(fresh <= 8);
    }
  }
}
