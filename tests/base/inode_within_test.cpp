#include <catch2/catch.hpp>

#include "base/fs.h"

using namespace holdfast;

TEST_CASE("inodes of different subvolumes are told apart", "[fs]") {
  CHECK(inode_within(0, 257) == 257);  // no subvolumes
  CHECK(inode_within(5, 257) == 257);  // the top of a btrfs
  CHECK(inode_within(256, 257) != 257);
  CHECK(inode_within(256, 257) != inode_within(257, 257));
  CHECK(inode_within(256, 257) == inode_within(256, 257));
}
