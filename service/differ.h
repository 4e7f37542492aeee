// Differ: what differs between two moments, name by name.
//
// By path: a path that is there at both moments is compared (modified, attrib, or nothing to tell);
// one that is there at one of them is added or removed. Where the same node, with one name, has a
// path at `a` that nothing has at `b`, and a path at `b` that nothing had at `a`, it is renamed:
// one line for both. What is in a renamed directory, under the same name as before, moved along and
// is only told of where it changed.
//
// Where few records lie between the moments, only what these are about is looked at, and the
// directories above it; else both trees are walked side by side. Neither holds more than one path
// and one page of names for each level of the tree.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "service/api.h"
#include "service/query.h"

namespace holdfast {

// Bounds the memory for what was touched to some 50 MB.
inline constexpr uint64_t kTouchedRecordsMax = 1'000'000;

// A directory at a moment, page by page, in the order of names.
class EntryPages {
 public:
  EntryPages(const Journal& journal, const LmdbTxn& txn, NodeId dir, Sequence at)
      : journal_(&journal), txn_(&txn), dir_(dir), at_(at) {}
  Result<const Entry*> peek();  // nullptr: there are no more
  void next() { ++here_; }

 private:
  const Journal* journal_;
  const LmdbTxn* txn_;
  NodeId dir_;
  Sequence at_;
  std::vector<Entry> page_;
  size_t here_ = 0;
  bool last_page_ = false;
};

// The names that records between two moments are about, and those of the directories above them at
// both. 16 bytes for each.
class TouchedNames {
 public:
  TouchedNames(const Journal& journal, const LmdbTxn& txn) : journal_(journal), txn_(txn) {}
  // False: more than `records_max` records lie in between, and nothing is known.
  Result<bool> collect(Sequence a, Sequence b, uint64_t records_max);
  bool any(NodeId dir) const;
  // In order; nullopt: too many to hold.
  Result<std::optional<std::vector<std::string>>> names(NodeId dir) const;

 private:
  struct Touch {
    NodeId dir;
    uint64_t name;  // of that record; the lowest bit: its former name
    auto operator<=>(const Touch&) const = default;
  };
  Status add_other_names(NodeId node, Sequence b);
  Status add_above(const std::vector<Touch>& touched, Sequence at);
  std::pair<std::vector<Touch>::const_iterator, std::vector<Touch>::const_iterator> of(
      NodeId dir) const;

  const Journal& journal_;
  const LmdbTxn& txn_;
  std::vector<Touch> touches_;  // sorted after collect()
};

class Differ {
 public:
  Differ(const Journal& journal, const LmdbTxn& txn, Query& query, ApiSink& sink, Sequence a,
         Sequence b)
      : journal_(journal),
        txn_(txn),
        query_(query),
        sink_(sink),
        touched_(journal, txn),
        a_(a),
        b_(b) {}
  // Where at most `records_max` records lie between the moments, only what they are about is looked
  // at; with more, both trees are.
  Status prepare(uint64_t records_max = kTouchedRecordsMax);
  // What differs at the path and below it. A rename into it or out of it is one too.
  Status compare(const UserPath& path);

 private:
  enum class Side { kBoth, kBefore, kAfter, kRenamed };
  struct Level {
    Side side;
    std::string before, after;  // the directory's path at each moment
    std::optional<NodeId> was, is;
    std::optional<EntryPages> was_pages, is_pages;
    std::optional<std::vector<std::string>> names;  // only these, and not the pages
    size_t name = 0;
  };
  struct Pair {
    std::string name;
    std::optional<Entry> was, is;
  };
  struct Place {
    Record version;
    std::string path;
  };

  Status open(Side side, std::string before, std::string after, std::optional<NodeId> was,
              std::optional<NodeId> is);
  Result<bool> next(Level& level, Pair& pair);
  Status visit(Side side, const std::string& before, const std::string& after, const Pair& pair);
  Status both(const std::string& path, const Entry& was, const Entry& is);
  Status only_before(const std::string& path, const Entry& was);
  Status only_after(const std::string& path, const Entry& is);
  Status moved_along(const std::string& before, const std::string& after, const Entry& entry);
  Result<std::optional<Place>> only_place(NodeId node, Sequence at);
  Result<std::optional<std::pair<NodeId, std::string>>> name_of(const Record& version, Sequence at);
  Result<bool> is_there(const std::string& path, Sequence at);
  Result<std::optional<std::string>> renamed_from(const Entry& is, const std::string& path);
  Result<std::optional<std::string>> renamed_to(const Entry& was, const std::string& path);
  bool within(const std::string& path) const;
  Status show(const char* change, const std::string& path, const std::string* from,
              const std::optional<Record>& was, const std::optional<Record>& is);

  const Journal& journal_;
  const LmdbTxn& txn_;
  Query& query_;
  ApiSink& sink_;
  TouchedNames touched_;
  bool use_touched_ = false;
  const Sequence a_, b_;
  Root root_;          // of the path that is compared
  std::string asked_;  // that path
  std::vector<Level> stack_;
};

}  // namespace holdfast
