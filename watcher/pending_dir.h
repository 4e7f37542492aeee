// PendingDir: what the dirty set holds of one directory: names, and marks for all of it.
//
// A mark that is due no later than a name covers it: the name is then not stored, only its epoch
// is. Names that are due earlier than the mark stay beside it, so that a look planned for later
// neither delays them nor is pulled forward by them.
// Counts itself in the DirtyTotals it was given, which must outlive it. Pure; one thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/types.h"
#include "watcher/dirty_set.h"

namespace holdfast {

using DirtyRank = std::pair<int64_t, uint64_t>;  // due time, then order of arrival

struct DirtyItem {
  int64_t due_ns = 0;
  uint64_t arrival = 0;  // among items due at the same time, the first to arrive comes first
  uint64_t epoch = 0;
  bool ignores_hold = false;
  // What events said of it, from the least to the most.
  enum class Told : uint8_t { kNothing, kAttributes, kContent };
  Told told = Told::kContent;

  DirtyRank rank() const { return {due_ns, arrival}; }
  void merge(const DirtyItem& other);  // the earlier rank, the lower epoch
};

// Over all directories of a set.
struct DirtyTotals {
  size_t names = 0;
  size_t marks = 0;
  size_t recursive = 0;               // how many of the marks are recursive
  std::map<uint64_t, size_t> epochs;  // how many items have it

  void count_epoch(uint64_t epoch) { ++epochs[epoch]; }
  void uncount_epoch(uint64_t epoch);
};

class PendingDir {
 public:
  enum Mark : uint8_t { kAll, kRecursive, kSelf };
  static constexpr size_t kMarks = 3;

  PendingDir(NodeId dir, DirtyTotals& totals) : dir_(dir), totals_(totals) {}
  ~PendingDir();
  PendingDir(const PendingDir&) = delete;
  PendingDir& operator=(const PendingDir&) = delete;

  NodeId dir() const { return dir_; }
  bool empty() const {
    return names_.empty() && !marks_[kAll] && !marks_[kRecursive] && !marks_[kSelf];
  }
  size_t name_count() const { return names_.size(); }
  bool recursive() const { return marks_[kRecursive].has_value(); }
  DirtyRank rank() const;     // of its earliest item; not when empty
  DirtyItem summary() const;  // all items merged; not when empty

  void put_name(std::string_view name, const DirtyItem& item);
  void put_mark(Mark mark, const DirtyItem& item);
  void collapse_names();  // into the mark kAll
  void postpone_name(std::string_view name, int64_t due_ns);
  // Moves what is due at `now_ns` into the result, which is empty (`epoch` 0, no flag) when nothing
  // is.
  DirtyDir take_due(int64_t now_ns);

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
  };
  using Names = std::unordered_map<std::string, DirtyItem, Hash, std::equal_to<>>;

  bool covered(const DirtyItem& item);
  void set(DirtyItem& stored, const DirtyItem& value);
  void absorb_names(const DirtyItem& mark, DirtyItem& into);
  std::string take_name(Names::iterator at);
  DirtyItem clear_mark(Mark mark);

  NodeId dir_;
  DirtyTotals& totals_;
  std::array<std::optional<DirtyItem>, kMarks> marks_;
  Names names_;
  std::set<std::pair<DirtyRank, const std::string*>> by_due_;  // keys live in names_
};

}  // namespace holdfast
