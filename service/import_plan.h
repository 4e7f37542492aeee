// ImportPlan: the records that make a virtual root what an archive holds (docs/import.md). Reads
// the journal and changes nothing: the engine journals them (service/engine_import.cpp).
//
// First names go, children before their directory, then names come and change, a directory before
// what is in it. A name that is the same already has no record. Nodes that do not exist yet have
// numbers from kNewNodes on, dense, in the order of the records that make them. `prev` of anything
// but a create is left to the engine. One thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "journal/journal.h"
#include "service/import_tree.h"

namespace holdfast {

inline constexpr uint64_t kNewNodes = 1ull << 63;

// Notes of the root's own record. Between the two, what the root shows is a part of an archive.
inline constexpr const char* kImportBegun = "import begun";
inline constexpr const char* kImported = "imported";
// Whether a root is one that imports made, which the next one may change.
bool is_import_note(std::string_view note);

struct ImportCounts {
  uint64_t files = 0, dirs = 0, bytes = 0;  // in the tree; files: names of all but directories
  uint64_t created = 0, changed = 0, deleted = 0;
};

class ImportPlan {
 public:
  using Take = std::function<Status(Record)>;
  // `now_ns` is the time of what the archive says nothing of. All references outlive it.
  ImportPlan(const Journal& journal, const LmdbTxn& txn, const ImportTree& tree,
             std::string root_name, int64_t now_ns);

  // The record that makes the root; nullopt: it is there.
  Result<std::optional<Record>> begin();
  Status run(const Take& take);
  // The root's own record with this note. `needed` false: only where it says something new.
  Result<std::optional<Record>> root_record(const std::string& note, bool needed);
  const ImportCounts& counts() const { return counts_; }

 private:
  Status remove_gone(const Take& take);
  Status remove_tree(const Take& take, NodeId dir, const Entry& entry);
  Result<NodeId> directory(const Take& take, NodeId above, const std::string& name,
                           const ImportTree::Dir& dir);
  Status file(const Take& take, NodeId above, const std::string& name, ImportTree::Id id);
  Record make(RecordKind kind, NodeId above, const std::string& name, NodeId node,
              const ImportItem& item) const;
  ImportItem self_of(const ImportTree::Dir& dir) const;
  Result<std::optional<Entry>> old_entry(NodeId above, const std::string& name,
                                         bool will_be_dir) const;
  NodeId new_node() { return NodeId{kNewNodes + made_++}; }

  const Journal& journal_;
  const LmdbTxn& txn_;
  const ImportTree& tree_;
  const std::string root_name_;
  const int64_t now_ns_;
  NodeId root_;
  uint64_t made_ = 0;
  ImportCounts counts_;
  // Of files with several names, here or in the journal.
  std::unordered_map<ImportTree::Id, NodeId> nodes_;
  std::unordered_set<NodeId, NodeIdHash> claimed_;
};

}  // namespace holdfast
