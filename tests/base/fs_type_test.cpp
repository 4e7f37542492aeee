#include "base/fs_type.h"

#include <catch2/catch.hpp>

namespace holdfast {

TEST_CASE("an overlay keeps no birth time", "[fs]") {
  CHECK_FALSE(fs_traits(0x794C7630, {6, 18}).stable_btime);
  CHECK(fs_traits(0xEF53, {6, 18}).stable_btime);
}

TEST_CASE("what is known of a file system follows from its magic number", "[fs_type]") {
  const FsTraits ext4 = fs_traits(0xEF53, {6, 13});
  CHECK(ext4.name == "ext4");
  CHECK((ext4.stamps_trusted && ext4.fine_stamps && ext4.stable_inodes && !ext4.network));
  CHECK_FALSE(fs_traits(0xEF53, {6, 12}).fine_stamps);
  CHECK(fs_traits(0xEF53, {7, 0}).fine_stamps);
  for (const uint64_t magic : {0x01021994u, 0x794C7630u, 0x6969u, 0x65735546u, 0x01021997u}) {
    CHECK_FALSE(fs_traits(magic, {6, 18}).stamps_trusted);
  }
  for (const uint64_t magic : {0x6969u, 0x786F4256u, 0x7461636Fu, 0x01161970u, 0x0BD00BD0u,
                               0x5346414Fu, 0x6B414653u, 0x47504653u, 0x19830326u}) {
    CAPTURE(magic);
    CHECK(fs_traits(magic, {6, 18}).network);
    CHECK_FALSE(fs_traits(magic, {6, 18}).stamps_trusted);
  }
  CHECK_FALSE(fs_traits(0x01021994, {6, 18}).network);
}

TEST_CASE("what is not known gets the cautious answers", "[fs_type]") {
  const FsTraits unknown = fs_traits(0x1234abcd, {6, 18});
  CHECK(unknown.name == "0x1234abcd");
  CHECK_FALSE(unknown.stamps_trusted);
  CHECK_FALSE(unknown.fine_stamps);
  CHECK(running_kernel() >= KernelVersion{3, 0});
}

}  // namespace holdfast
