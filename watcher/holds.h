// Holds: names that were captured a moment ago and must not be looked at again before a time.
//
// Bounded: when full, those that end first are forgotten first, which costs an early look and
// nothing else. Pure; owns its memory; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/types.h"

namespace holdfast {

class Holds {
 public:
  explicit Holds(size_t holds_max) : holds_max_(holds_max) {}
  void hold(NodeId dir, std::string_view name, int64_t until_ns);  // replaces an earlier hold
  std::optional<int64_t> until(NodeId dir, std::string_view name) const;
  void forget(NodeId dir);
  size_t size() const { return holds_.size(); }

 private:
  using Key = std::pair<NodeId, std::string>;
  using KeyView = std::pair<NodeId, std::string_view>;
  struct Less {
    using is_transparent = void;
    static KeyView view(const Key& key) { return {key.first, key.second}; }
    static KeyView view(const KeyView& key) { return key; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return view(a) < view(b);
    }
  };
  using Map = std::map<Key, int64_t, Less>;

  Map::iterator erase(Map::iterator at);

  size_t holds_max_;
  Map holds_;
  std::set<std::pair<int64_t, const Key*>> by_end_;  // keys live in holds_
};

}  // namespace holdfast
