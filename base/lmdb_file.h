// LmdbFile: looks through an LMDB data file without LMDB.
//
// LMDB trusts what it maps: a flipped bit in a page's head, or a file that ends early, is a crash
// or a wrong answer there. Here every page that the newest commit reaches is looked at first: its
// number, type, nodes, the order of its keys against those above it, the counts of each tree, and
// that each page of the file belongs to exactly one tree or is free. What stands in keys and values
// is not for here. The format is LMDB 0.9's, for machines like this one (64 bit, little-endian).
//
// Pure reading, any thread. On an environment that another thread commits to, a ReadTxn begun
// before the call must be held during it: it keeps the pages from being used again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"

namespace holdfast {

// kBranches reads only what leads to the leaves, a hundredth of the file.
enum class LmdbDepth { kBranches, kAll };
// kMap takes half the time of kRead, and ends the process (base/map_fault.h) where the disk fails
// or the file is cut meanwhile: for whoever maps it next in any case.
enum class LmdbAccess { kRead, kMap };

// Each finding is one call, at most a hundred. An Error: the file cannot be read.
Status check_lmdb_file(const std::string& path, LmdbDepth depth,
                       const std::function<void(const std::string&)>& finding,
                       LmdbAccess access = LmdbAccess::kRead);

}  // namespace holdfast
