// WatchTable: which watch descriptor belongs to which directory, both ways, in little memory.
//
// There is an entry for every watched directory, so its size counts: an entry is 12 bytes, kept in
// plain columns, and two open-addressed tables of 4-byte entry numbers find it from either side.
// That is 25 to 35 bytes a directory (a test measures it), where two hash maps take about 80.
// A one-to-one relation: a descriptor has one directory, a directory one descriptor. Owns its
// memory; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/types.h"

namespace holdfast {

class WatchTable {
 public:
  // Neither may be present. wd >= 0.
  void insert(int32_t wd, NodeId dir);
  std::optional<NodeId> dir_of(int32_t wd) const;
  std::optional<int32_t> wd_of(NodeId dir) const;
  void erase(int32_t wd);  // nothing happens when it is not present
  size_t size() const { return wds_.size(); }
  size_t memory_bytes() const;

 private:
  using Index = std::vector<uint32_t>;  // entry numbers, kEmpty where free; linear probing
  enum class By { kWd, kDir };

  uint64_t hash_of(By by, uint32_t entry) const;
  bool matches(By by, uint32_t entry, uint64_t key) const;
  size_t find(By by, uint64_t key) const;  // position in the index, or npos
  void place(By by, uint32_t entry);
  void remove_at(By by, size_t position);
  void grow();
  Index& index(By by) { return by == By::kWd ? by_wd_ : by_dir_; }
  const Index& index(By by) const { return by == By::kWd ? by_wd_ : by_dir_; }

  std::vector<int32_t> wds_;
  std::vector<NodeId> dirs_;
  Index by_wd_;
  Index by_dir_;
};

}  // namespace holdfast
