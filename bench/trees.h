// The trees that are measured. The generated ones are the same on every machine.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace holdfast::bench {

// Text files of 1 to 4 KB, spread evenly over directories, a hundred of which share a parent.
Status make_text_tree(const std::string& dir, uint64_t files, uint64_t dirs);
// A little of everything that a restore can get wrong: links, empty, long and sparse files, odd
// names.
Status add_odd_files(const std::string& dir);
// Unpacks the archive of Debian's linux-source package; returns the directory with the tree.
Result<std::string> unpack_linux(const std::string& archive, const std::string& dir);

// kChanged with the first difference: names, types, content, mode, owner, times, link targets.
Status same_trees(const std::string& expected, const std::string& found);
Result<uint64_t> file_count(const std::string& dir);  // directories included
uint64_t tree_bytes(const std::string& dir);          // of the regular files
uint64_t file_bytes(const std::string& path);

}  // namespace holdfast::bench
