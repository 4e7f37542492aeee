// DamagedDir: `damaged/` in a state, where everything goes that a rebuild or a repair takes out of
// it. Nothing in there is ever read again, or deleted: that is for a person to decide.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace holdfast {

// What a rename or a link made in the directory is durable on return.
Status sync_dir(const std::string& path);

class DamagedDir {
 public:
  explicit DamagedDir(const std::string& state_dir) : path_(state_dir + "/damaged") {}
  const std::string& path() const { return path_; }
  // A path in it that is not taken: `name`, or `name` with a number behind it. Creates the
  // directory.
  Result<std::string> free_name(const std::string& name) const;
  // Another name there for the file `from`, which keeps its own; a copy where the file system has
  // no hard links. Durable on return.
  Result<std::string> keep(const std::string& from, const std::string& name) const;
  // The bytes as a file of that name.
  Result<std::string> keep_bytes(std::string_view bytes, const std::string& name) const;

 private:
  const std::string path_;
};

}  // namespace holdfast
