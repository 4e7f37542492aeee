// Trees compared, and counted.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace holdfast::bench {

// kChanged with the first difference: names, types, content, mode, owner, times, link targets.
Status same_trees(const std::string& expected, const std::string& found);
Result<uint64_t> file_count(const std::string& dir);  // directories included
uint64_t tree_bytes(const std::string& dir);          // of the regular files
uint64_t file_bytes(const std::string& path);

}  // namespace holdfast::bench
