// Makes the trees that are measured. The generated ones are the same on every machine.
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
// Incompressible files of 20 KB to 20 MB, log-normal, as an uploads directory has them.
Status make_uploads(const std::string& dir, uint64_t files);
// Unpacks the archive of Debian's linux-source package; returns the directory with the tree.
Result<std::string> unpack_linux(const std::string& archive, const std::string& dir);

// A SQLite database with that many rows of some 350 bytes, and an index.
Status make_database(const std::string& path, uint64_t rows);
// In place, as SQLite does it: a hundredth of the rows, scattered, gets new numbers.
Status update_rows(const std::string& path, uint64_t rows);
Status append_rows(const std::string& path, uint64_t rows);  // about a hundredth more

}  // namespace holdfast::bench
