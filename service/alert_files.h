// AlertFiles: which files that are there now are larger than [alerts] file_above, and which could
// not be read. Looks through the journal once, in steps, and from then on at new records only. One
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "service/health.h"
#include "service/state.h"

namespace holdfast {

class AlertFiles {
 public:
  // Without a bound no file is too large.
  AlertFiles(State& state, std::optional<uint64_t> above_bytes)
      : state_(state), above_bytes_(above_bytes) {}
  // Reads a bounded part of the journal, in a transaction of its own. True: there was no more.
  Result<bool> step();
  bool complete() const { return complete_; }  // since when findings() knows of all
  // Of the roots of these names, those that are as they were found, in the order of their nodes.
  Result<std::vector<Finding>> findings(const std::set<std::string>& watched) const;

 private:
  static constexpr size_t kStepRows = 20'000;
  static constexpr size_t kFilesMax = 2000;  // that are remembered; the others are not told

  bool is_wanted(const Record& record) const;
  void take(const Record& record);
  Result<bool> step_nodes(const LmdbTxn& txn);
  Result<bool> step_records(const LmdbTxn& txn, Sequence head);
  Status read_roots(const LmdbTxn& txn);

  State& state_;
  const std::optional<uint64_t> above_bytes_;
  std::optional<Sequence> begun_;  // the head when the nodes began to be looked through
  NodeId next_node_;
  Sequence next_;  // record to look at
  bool nodes_done_ = false, complete_ = false;
  std::set<NodeId> virtual_roots_;  // what programs gave has the size that it has
  std::set<NodeId> nodes_;          // that may be wanted
};

}  // namespace holdfast
