// Whether what a name leads to is what it led to, by what the file system's numbers are worth.
#include <catch2/catch.hpp>

#include "service/engine_parts.h"

namespace holdfast {
namespace {

Record directory(uint64_t inode, int64_t btime_ns) {
  Record record;
  record.type = FileType::kDir;
  record.stat.inode = inode;
  record.stat.btime_ns = btime_ns;
  return record;
}

}  // namespace

TEST_CASE("identity goes by what lasts on the file system", "[identity]") {
  struct Row {
    bool stable_inodes, stable_btime;
    bool same_with_other_btime, same_with_other_inode;
  };
  for (const Row& row : {Row{true, true, false, false}, Row{true, false, true, false},
                         Row{false, true, true, true}}) {
    FsTraits fs;
    fs.stable_inodes = row.stable_inodes;
    fs.stable_btime = row.stable_btime;
    const Record known = directory(10, 100);
    CHECK(same_object(fs, known, FileType::kDir, known.stat));
    CHECK_FALSE(same_object(fs, known, FileType::kFile, known.stat));
    CHECK(same_object(fs, known, FileType::kDir, directory(10, 101).stat) ==
          row.same_with_other_btime);
    CHECK(same_object(fs, known, FileType::kDir, directory(11, 100).stat) ==
          row.same_with_other_inode);
  }
}

}  // namespace holdfast
