// The parts of Journal that its source files share and its callers do not need.
#pragma once

#include "journal/journal.h"
#include "journal/keys.h"

namespace holdfast {

// The row "head" of `meta`: what append() needs to know of the record before, in one read.
struct Journal::HeadRow {
  Sequence seq;
  int64_t time_ns = 0;
  int64_t wall_ns = 0;
  std::array<uint8_t, 16> chain{};
  uint32_t boot = 0;

  static constexpr size_t kBytes = 44;
  std::array<char, kBytes> encode() const;
  static std::optional<HeadRow> decode(std::string_view bytes);
  bool operator==(const HeadRow&) const = default;
};

// A row of `entries`: where a name leads, and since which record.
struct Journal::EntryAt {
  EntryValue value;
  Sequence since;
};

// The row of `snapshots` for a snapshot record; the row's key is the name.
struct SnapshotRow {
  Sequence pinned;
  int64_t time_ns = 0;
  Sequence record;        // the snapshot record that made it
  std::string_view rest;  // the note behind "name\0"
};
std::string_view snapshot_name(const Record& record);
std::string snapshot_value(const Record& record);
std::optional<SnapshotRow> parse_snapshot(std::string_view value);

// The node that a record with kFlagRootAdded registers, and its row in `roots`.
NodeId added_root(const Record& record);
std::string root_value(const Record& record);

// What a record does to the open verdict of its node, which is `now`.
enum class StandingChange { kNone, kOpen, kClose };
StandingChange standing_change(const Record& record, const std::optional<Standing>& now);
// An accept or restore that is about no node answers the verdict that the record `prev` gave.
bool answers_by_sequence(const Record& record);
std::string standing_value(Sequence since, Verdict verdict);

// Whether a record is the start of a service, or the orderly end of one.
bool is_start(const Record& record);
bool is_stop(const Record& record);
bool is_set_back(const Record& record);
// Whether a record stands for lost ones, from its prev to itself.
inline bool is_hole(const Record& record) {
  return record.kind == RecordKind::kGap && (record.flags & kFlagLost) != 0 &&
         record.prev.value != 0;
}
// The chunks that a record says are lost.
std::vector<ChunkId> lost_chunks(const Record& record);

// The row of a root in `meta`, and what a node adds to it with each of its names.
std::string counts_value(const RootCounts& counts);
std::optional<RootCounts> parse_counts(std::string_view value);
inline int64_t counted_bytes(const Record& record) {
  return record.type == FileType::kFile ? static_cast<int64_t>(record.stat.size) : 0;
}

// A damaged row, in words.
Error damaged_row(const char* table, const std::string& key);
Error damaged_record(Sequence seq, const Error& why);  // what the records table holds there
std::string at_seq(Sequence seq);                      // "@12"
std::string at_moment(Sequence seq);                   // "at @12", "now"
// A name as it may be shown: bytes outside printable ASCII as \xNN.
std::string printable(std::string_view name);

// What has to happen to the tables of nodes for one record: `versions`, `entries` and `inodes`.
class NodeApply {
 public:
  NodeApply(const Journal& journal, WriteTxn& txn, const Record& record)
      : journal_(journal), txn_(txn), record_(record) {}
  Status
  prepare();  // reads; refuses a record that contradicts the tables, before anything is written
  Status write();  // after the record itself has been written

 private:
  struct InodeRef {
    NodeId root;
    uint64_t inode = 0;
    bool operator==(const InodeRef&) const = default;
  };
  Status find_ended_name();
  Status prepare_counts();
  Status write_counts();
  Status refuse_ring();
  Result<std::optional<Record>> newest(NodeId node) const;
  Result<std::optional<InodeValue>> inode_row(const InodeRef& ref) const;
  Status put_inode_row(const InodeRef& ref, uint32_t names);
  Status drop_name(NodeId node);
  Status update_inode();

  const Journal& journal_;
  WriteTxn& txn_;
  const Record& record_;
  std::optional<InodeRef> before_;  // of the node's version before this record
  std::optional<Record> version_before_;
  RootCounts change_;  // of what the root holds
  NodeId victim_;      // the node that loses its name to this record's
  bool gains_name_ = false;
  bool loses_name_ = false;
  bool ends_unknown_name_ = false;  // behind a hole in the journal: nothing tells of that name
};

}  // namespace holdfast
