// SeedLines: what the journal has of a directory's files, as lines of text on their way from the
// service to a seed. Pure functions.
//
//   dir PATH
//   TYPE damaged|doubtful|- SIZE MTIME CTIME INODE HASH|- NAME
//
// PATH and NAME are percent-encoded.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "service/seed_walk.h"

namespace holdfast {

struct SeedLine {
  std::string name;
  SeedStat stat;                   // type, size, mtime, ctime, inode
  std::optional<SeedValue> value;  // nullopt: the journal does not know the content
  bool damaged = false;
  bool doubtful = false;  // the content may have moved and the stamps not
};

std::string seed_dir_line(std::string_view path);  // with its end
std::string seed_file_line(const SeedLine& line);  // with its end
// One of both: sets `dir`, or returns what the line says.
Result<std::optional<SeedLine>> read_seed_line(std::string_view line, std::string& dir);

}  // namespace holdfast
