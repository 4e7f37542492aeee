#include "watcher/holds.h"

namespace holdfast {

void Holds::hold(NodeId dir, std::string_view name, int64_t until_ns) {
  if (holds_max_ == 0) return;
  if (const auto old = holds_.find(KeyView(dir, name)); old != holds_.end()) erase(old);
  if (holds_.size() >= holds_max_) erase(holds_.find(*by_end_.begin()->second));
  const auto [at, added] = holds_.emplace(Key(dir, std::string(name)), until_ns);
  by_end_.emplace(until_ns, &at->first);
}

std::optional<int64_t> Holds::until(NodeId dir, std::string_view name) const {
  const auto at = holds_.find(KeyView(dir, name));
  if (at == holds_.end()) return std::nullopt;
  return at->second;
}

void Holds::forget(NodeId dir) {
  auto at = holds_.lower_bound(KeyView(dir, std::string_view()));
  while (at != holds_.end() && at->first.first == dir) at = erase(at);
}

Holds::Map::iterator Holds::erase(Map::iterator at) {
  by_end_.erase({at->second, &at->first});
  return holds_.erase(at);
}

}  // namespace holdfast
