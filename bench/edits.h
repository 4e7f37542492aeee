// Changes to a tree, as work on it makes them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace holdfast::bench {

// The paths of all regular files below the directory, relative to it, sorted.
Result<std::vector<std::string>> sorted_files(const std::string& dir);
// `count` of them, spread evenly.
std::vector<std::string> spread(const std::vector<std::string>& files, size_t count);
// Every hundredth of them, another hundredth each round.
std::vector<std::string> every_hundredth(const std::vector<std::string>& files, size_t round);
// Gives each a line more at its end.
Status append_line(const std::string& dir, const std::vector<std::string>& files,
                   const std::string& line);

// The pages of `now`, of 4 KiB, that `before` does not have at the same place, written to `out`;
// returns how many. What stands behind the end of `before` counts.
Result<size_t> changed_pages(const std::string& before, const std::string& now,
                             const std::string& out);

}  // namespace holdfast::bench
