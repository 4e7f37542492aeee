// What a restore has under way: values of service/restore.cpp, which alone uses them.
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "journal/record.h"
#include "store/store.h"

namespace holdfast {

// A file whose content must be written.
struct Item {
  std::shared_ptr<Fd> dir_fd;
  std::string dir_path, name, temporary;
  Record version;
  ChunkLocation location;
  Status status;
};

struct Rename {
  std::string dir_path, temporary, name;
};

}  // namespace holdfast
