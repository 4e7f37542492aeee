#include "watcher/handle_cache.h"

namespace holdfast {

const HandleCache::Entry* HandleCache::find(std::string_view handle) {
  const auto found = by_handle_.find(handle);
  if (found == by_handle_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return &*found->second;
}

void HandleCache::put(std::string_view handle, std::optional<NodeId> dir) {
  if (const auto known = by_handle_.find(handle); known != by_handle_.end()) drop(known->second);
  if (dir) erase(*dir);
  entries_.push_front({std::string(handle), dir});
  by_handle_.emplace(entries_.front().handle, entries_.begin());
  if (dir) by_dir_.emplace(*dir, entries_.begin());
  if (entries_.size() > entries_max_) drop(std::prev(entries_.end()));
}

void HandleCache::erase(NodeId dir) {
  if (const auto known = by_dir_.find(dir); known != by_dir_.end()) drop(known->second);
}

void HandleCache::drop(Entries::iterator at) {
  if (at->dir) by_dir_.erase(*at->dir);
  by_handle_.erase(at->handle);
  entries_.erase(at);
}

}  // namespace holdfast
