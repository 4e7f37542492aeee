// MissingNames: names that are gone from where they were, waiting a moment for their node to turn
// up elsewhere (a rename) before they are journaled as deleted. Values only; the engine's thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/types.h"

namespace holdfast {

struct MissingName {
  size_t root = 0;
  NodeId parent;
  std::string name;
  NodeId node;
  FileType type = FileType::kFile;
  uint64_t epoch = 0;
  bool offline = false;
  int64_t since_ns = 0;
  bool walked_past = false;  // a walk was due or under way, and cannot have looked into it
};

class MissingNames {
 public:
  bool empty() const { return by_name_.empty(); }
  bool contains(NodeId parent, const std::string& name) const {
    return by_name_.contains({parent, name});
  }
  void walk_past(NodeId parent, const std::string& name) {
    if (const auto at = by_name_.find({parent, name}); at != by_name_.end()) {
      at->second.walked_past = true;
    }
  }
  void add(MissingName missing) {
    Key key{missing.parent, missing.name};
    by_node_.emplace(missing.node, key);
    ++epochs_[missing.epoch];
    if (by_name_.empty() || missing.since_ns < oldest_ns_) oldest_ns_ = missing.since_ns;
    by_name_.insert_or_assign(std::move(key), std::move(missing));
  }
  // The names that led to the node. They stay: what becomes of the node may take a while to be
  // known.
  std::vector<MissingName> of_node(NodeId node) const {
    std::vector<MissingName> names;
    const auto [first, last] = by_node_.equal_range(node);
    for (auto at = first; at != last; ++at) names.push_back(by_name_.at(at->second));
    return names;
  }
  // Takes out those that `due` names, in the order of parents and names.
  template <class Predicate>
  std::vector<MissingName> take_if(const Predicate& due) {
    std::vector<MissingName> taken;
    int64_t oldest = INT64_MAX;
    for (auto at = by_name_.begin(); at != by_name_.end();) {
      const auto here = at++;
      if (due(here->second)) {
        taken.push_back(take(here));
      } else if (here->second.since_ns < oldest) {
        oldest = here->second.since_ns;
      }
    }
    oldest_ns_ = oldest;
    return taken;
  }
  void clear() { *this = MissingNames(); }
  std::optional<uint64_t> lowest_epoch() const {
    if (epochs_.empty()) return std::nullopt;
    return epochs_.begin()->first;
  }
  int64_t oldest_ns() const { return oldest_ns_; }  // a lower bound; of an empty set nothing

 private:
  using Key = std::pair<NodeId, std::string>;
  MissingName take(std::map<Key, MissingName>::iterator at) {
    MissingName missing = std::move(at->second);
    const auto [first, last] = by_node_.equal_range(missing.node);
    for (auto node = first; node != last; ++node) {
      if (node->second == at->first) {
        by_node_.erase(node);
        break;
      }
    }
    const auto epoch = epochs_.find(missing.epoch);
    if (--epoch->second == 0) epochs_.erase(epoch);
    by_name_.erase(at);
    return missing;
  }

  std::map<Key, MissingName> by_name_;
  std::multimap<NodeId, Key> by_node_;
  std::map<uint64_t, size_t> epochs_;
  int64_t oldest_ns_ = 0;
};

}  // namespace holdfast
