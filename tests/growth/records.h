// A journal of any length, made through the real journal and store but not through a file system:
// ten million records take minutes, not days.
//
// The tree is `dirs` directories of `files` / `dirs` files each, in two levels. After each file was
// created once, files that a fixed sequence of random numbers picks are changed, now and then
// renamed, deleted or created again, until there are `records`. One record is one millisecond, and
// each version has a content of its own.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace holdfast::growth {

struct Size {
  uint64_t records = 10'000'000;
  uint64_t files = 1'000'000;
  uint64_t dirs = 10'000;
  uint64_t batch = 10'000;  // records of one batch
  uint64_t pack_bytes = 0;  // where packs are sealed; 0: where the service seals them
};

// Makes the state in `state_dir`, where none is. The root is called `big`, of the path `root_path`,
// which need not exist as long as no service watches it.
Status make_records(const std::string& state_dir, const std::string& root_path, const Size& size);

}  // namespace holdfast::growth
