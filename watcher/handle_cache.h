// HandleCache: which directory a file handle stands for, for the handles that were asked for last.
//
// Also remembers that a handle stands for none of ours, so that what happens elsewhere on the file
// system costs one look-up. Bounded: the entry that was not used for the longest goes. Pure; owns
// its memory; one thread. All operations O(1).
#pragma once

#include <cstddef>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/types.h"

namespace holdfast {

class HandleCache {
 public:
  explicit HandleCache(size_t entries_max) : entries_max_(entries_max) {}

  struct Entry {
    std::string handle;
    std::optional<NodeId> dir;  // nullopt: none of ours
  };
  // nullptr: not known here. Valid until the next change.
  const Entry* find(std::string_view handle);
  // An id has one handle: an earlier one of this id is forgotten.
  void put(std::string_view handle, std::optional<NodeId> dir);
  void erase(NodeId dir);
  bool contains(NodeId dir) const { return by_dir_.contains(dir); }
  size_t dir_count() const { return by_dir_.size(); }
  size_t size() const { return entries_.size(); }

 private:
  using Entries = std::list<Entry>;  // the one that was used last comes first
  void drop(Entries::iterator at);

  size_t entries_max_;
  Entries entries_;
  std::unordered_map<std::string_view, Entries::iterator> by_handle_;  // keys live in entries_
  std::unordered_map<NodeId, Entries::iterator, NodeIdHash> by_dir_;
};

}  // namespace holdfast
