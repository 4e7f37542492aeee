#include "service/volume_shift.h"

#include <catch2/catch.hpp>

namespace holdfast {
namespace {

constexpr int64_t kHour = 3'600'000'000'000;

FileStat stat_of(int64_t mtime_ns, int64_t ctime_ns, int64_t btime_ns) {
  FileStat stat;
  stat.size = 7;
  stat.inode = 12;
  stat.mtime_ns = mtime_ns;
  stat.ctime_ns = ctime_ns;
  stat.btime_ns = btime_ns;
  return stat;
}

// `count` files that were all moved by `amount_ns`.
VolumeShift moved(int count, int64_t amount_ns) {
  VolumeShift shift;
  for (int64_t i = 1; i <= count; ++i) {
    shift.add(stat_of(i, 2 * i, 3 * i),
              stat_of(i + amount_ns, 2 * i + amount_ns, 3 * i + amount_ns));
  }
  return shift;
}

}  // namespace

TEST_CASE("one amount for all files is a shift of the volume", "[clock]") {
  REQUIRE_FALSE(VolumeShift().amount_ns());
  REQUIRE_FALSE(moved(4, kHour).amount_ns());
  REQUIRE(moved(5, kHour).amount_ns() == kHour);
  REQUIRE(moved(500, -kHour).amount_ns() == -kHour);
  REQUIRE(moved(5, kHour * 23 / 4).amount_ns() == kHour * 23 / 4);  // Nepal
  REQUIRE_FALSE(moved(5, 0).amount_ns());
  REQUIRE_FALSE(moved(5, kHour + 1).amount_ns());
  REQUIRE_FALSE(moved(5, kHour / 3).amount_ns());
}

TEST_CASE("one file that tells otherwise refutes it", "[clock]") {
  struct Row {
    const char* what;
    FileStat now;
    bool shift;
  };
  FileStat other_mode = stat_of(10 + kHour, 20 + kHour, 30 + kHour);
  other_mode.mode = 0600;
  const Row row = GENERATE_COPY(values<Row>({
      {"all three moved", stat_of(10 + kHour, 20 + kHour, 30 + kHour), true},
      {"no birth time moved", stat_of(10 + kHour, 20 + kHour, 30), true},
      {"only the mtime moved", stat_of(10 + kHour, 20, 30), true},
      {"nothing moved", stat_of(10, 20, 30), false},
      {"another amount", stat_of(10 + 2 * kHour, 20 + 2 * kHour, 30), false},
      {"ctime is of another moment: a program set the mtime", stat_of(10 + kHour, 21, 30), false},
      {"the file was born at another time", stat_of(10 + kHour, 20, 31), false},
      {"other metadata as well", other_mode, false},
  }));
  INFO(row.what);
  VolumeShift before = moved(5, kHour);
  before.add(stat_of(10, 20, 30), row.now);
  REQUIRE(before.amount_ns().has_value() == row.shift);
  VolumeShift after;
  after.add(stat_of(10, 20, 30), row.now);
  for (int64_t i = 1; i <= 5; ++i) after.add(stat_of(i, i, i), stat_of(i + kHour, i + kHour, i));
  REQUIRE(after.amount_ns().has_value() == row.shift);
}

}  // namespace holdfast
