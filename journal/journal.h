// Journal: the LMDB tables over the records, and every question asked of them.
//
// Tables (docs/formats/journal.md), keys big-endian so that each query is one range:
//   records   seq                      -> the record's bytes
//   entries   parent, name, 0, seq     -> node (0: the name ended here), type
//   versions  node, seq                -> (empty) the node's record `seq` is its version from there
//   inodes    root, inode              -> node, number of live names
//   times     logical time             -> first seq, last seq, wall   one per batch
//   snapshots name                     -> seq, time, message, tags
//   standing  node                     -> seq of the record whose verdict is open, verdict
//   boots     number                   -> boot id
//   roots     node                     -> name, path
//   meta      word                     -> value
//
// Reading: any thread, with its own ReadTxn; or the writer with its WriteTxn, which sees its own
// uncommitted records. Writing: one thread. Journal itself holds no state but the table handles and
// the key; the head (last seq, time, chain) is read from the transaction.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lmdb.h"
#include "base/result.h"
#include "journal/record.h"
#include "journal/retention.h"

namespace holdfast {

// The last sequence that a record may have: what a signed number of 64 bits holds, such as those
// that programs which read our JSON have.
inline constexpr Sequence kSequenceMax{INT64_MAX};

struct Head {
  Sequence seq;
  int64_t time_ns = 0;  // logical time of `seq`
  int64_t wall_ns = 0;
  std::array<uint8_t, 16> chain{};
  uint64_t next_node = 1;
};

// A name in a directory at a moment.
struct Entry {
  std::string name;
  NodeId node;
  FileType type = FileType::kFile;
  Sequence since;  // the record that put the name there
};

struct Root {
  NodeId node;
  std::string name;
  std::string path;                   // absolute, bytes; "" for a virtual root
  std::vector<std::string> excludes;  // patterns, as the root was last watched with
  // No directory: it holds what programs gave (service/content_writer.h).
  bool is_virtual() const { return path.empty(); }
};
// The note of a record with kFlagRootAdded: what the row of the root is made from.
std::string root_note(const std::string& path, const std::vector<std::string>& excludes);

// What a root holds now: names of everything but directories, and the sizes of the regular files
// behind them, each counted for each of its names.
struct RootCounts {
  int64_t files = 0;
  int64_t bytes = 0;
  bool operator==(const RootCounts&) const = default;
};

// What verdicts have to know of the past: the last record of a clock that was set back, and the
// first record of the last start after the machine had gone down without a stop. 0: there is none.
struct Incidents {
  Sequence set_back;
  Sequence unclean_boot;
  bool operator==(const Incidents&) const = default;
};

struct Snapshot {
  std::string name;
  Sequence seq;  // the moment that is pinned
  int64_t time_ns = 0;
  std::string message;
  std::vector<std::pair<std::string, std::string>> tags;
};

// A verdict that nobody has answered yet (docs/verdicts.md).
struct Standing {
  NodeId node;
  Sequence since;  // the record that gave it
  Verdict verdict = Verdict::kNone;
};

struct InodeEntry {
  NodeId node;
  uint32_t names = 0;
};

// A path as the journal resolves it: root, then the node of each component.
struct Located {
  NodeId root;
  NodeId parent;
  std::string name;
  NodeId node;
  FileType type = FileType::kFile;
};

enum class Visit { kContinue, kStop };

class Journal {
 public:
  // Tables are created where missing. Fails on a journal of a newer format.
  static Result<std::unique_ptr<Journal>> open(LmdbEnv& env, const ChunkKey& key);

  // --- writing ---
  // Gives the record its sequence, times (from `clock`: time = max(wall, last + 1)), boot and
  // chain, and applies it to all tables. Returns its encoded bytes, which go into the pack's
  // journal frame. A snapshot record: note = snapshot name, 0, message, then 0 key=value for each
  // tag; prev = the pinned sequence; with kFlagSnapshotRemoved the snapshot named by note is
  // removed. A record with kFlagRootAdded registers the root (name, note = root_note()). A service
  // record may carry a boot id: see boot().
  Result<std::string> append(WriteTxn& txn, Record& record, const Clock& clock) const;
  // Applies a record read from a pack. Its sequence must be head + 1 and its chain must fit.
  Status replay(WriteTxn& txn, std::string_view record_bytes) const;
  // A gap record that stands for the lost records from the one after `before` to `last`, whose
  // sequence it has: its bytes, for a pack. What follows it is taken without its link of the chain,
  // and may speak of names that nothing tells of.
  static Result<std::string> hole(const ChunkKey& key, const Head& before, Sequence last);
  // Marks the end of a batch: one entry in `times` for records first..last. Records between the
  // batch before and `first` are counted to this one.
  Status end_batch(WriteTxn& txn, Sequence first, Sequence last) const;
  Result<NodeId> new_node(WriteTxn& txn) const;
  // The number of this boot id; a new one is given by appending a service record with note
  // "boot <id>" (this call does so, returning that record's bytes through `appended`).
  Result<uint32_t> boot(WriteTxn& txn, const Clock& clock, std::string& appended) const;
  Status put_meta(WriteTxn& txn, std::string_view word, std::string_view value) const;
  // Counts what every root holds by reading all of `entries`, for a journal of before this was
  // kept.
  Status recount(WriteTxn& txn) const;

  // --- reading ---
  Result<Head> head(const LmdbTxn& txn) const;
  Result<std::optional<std::string>> meta(const LmdbTxn& txn, std::string_view word) const;
  Result<Record> record(const LmdbTxn& txn, Sequence seq) const;  // kNotFound, kDamaged
  Result<std::string> boot_id(const LmdbTxn& txn, uint32_t boot) const;
  Result<std::vector<Root>> roots(const LmdbTxn& txn) const;
  Result<RootCounts> counts(const LmdbTxn& txn, NodeId root) const;
  Result<Incidents> incidents(const LmdbTxn& txn) const;
  // The record that says that a chunk is lost; nullopt: none does.
  Result<std::optional<Sequence>> lost_since(const LmdbTxn& txn, const ChunkId& id) const;
  Result<std::string> encoded(const LmdbTxn& txn, Sequence seq) const;  // a record's bytes
  Result<Sequence> batch_end(const LmdbTxn& txn, Sequence seq) const;   // of the batch with `seq`
  Result<std::vector<Snapshot>> snapshots(const LmdbTxn& txn) const;
  Result<std::vector<Standing>> standing(const LmdbTxn& txn) const;
  Result<std::optional<Standing>> standing_of(const LmdbTxn& txn, NodeId node) const;
  Result<std::optional<Snapshot>> snapshot(const LmdbTxn& txn, std::string_view name) const;

  // The entry `name` of directory `parent` at `at`; nullopt where there is none.
  Result<std::optional<Entry>> entry(const LmdbTxn& txn, NodeId parent, std::string_view name,
                                     Sequence at) const;
  // All entries of a directory at `at`, in byte order of their names. The callback may stop. With a
  // WriteTxn, the callbacks of this and the other loops may append records; they do not see them.
  Status for_each_entry(const LmdbTxn& txn, NodeId parent, Sequence at,
                        const std::function<Visit(const Entry&)>& visit) const;
  // The same from behind the name `after` on ("": from the first): a directory page by page.
  Status for_each_entry_after(const LmdbTxn& txn, NodeId parent, std::string_view after,
                              Sequence at, const std::function<Visit(const Entry&)>& visit) const;
  // The version of a node at `at`: its newest record at or below. nullopt: the node is younger.
  Result<std::optional<Record>> version(const LmdbTxn& txn, NodeId node, Sequence at) const;
  // Every record of a node, oldest first (or newest first).
  Status for_each_version(const LmdbTxn& txn, NodeId node, bool newest_first,
                          const std::function<Visit(const Record&)>& visit) const;
  // The version at `at` of each node from `from` on, in the order of nodes; a node that is younger
  // than `at` is left out.
  Status for_each_node(const LmdbTxn& txn, NodeId from, Sequence at,
                       const std::function<Visit(const Record&)>& visit) const;
  // All there ever was under (parent, name): newest first, the node and the span [since, until) it
  // was there; until = 0: still there.
  struct NameSpan {
    NodeId node;
    FileType type;
    Sequence since;
    Sequence until;
  };
  Result<std::vector<NameSpan>> name_spans(const LmdbTxn& txn, NodeId parent,
                                           std::string_view name) const;
  // All names that a directory ever had, in byte order, and of each name its spans, oldest first.
  Status for_each_span(
      const LmdbTxn& txn, NodeId parent,
      const std::function<Visit(std::string_view name, const NameSpan&)>& visit) const;
  // The sequences of a node's versions from `first` to `last`, without reading the records.
  Status for_each_version_between(const LmdbTxn& txn, NodeId node, Sequence first, Sequence last,
                                  const std::function<Visit(Sequence)>& visit) const;
  Result<std::optional<InodeEntry>> inode(const LmdbTxn& txn, NodeId root, uint64_t inode) const;
  // Where a directory node is at `at`, and from which to before which sequence it is there; until =
  // 0: it is there still.
  struct DirPlace {
    std::string path;  // components below the root, joined by '/'; "" for the root itself
    Sequence since;
    Sequence until;
  };
  Result<DirPlace> dir_place(const LmdbTxn& txn, NodeId dir, Sequence at) const;
  // Components below the root, joined by '/' ("" for the root itself), of a directory node at `at`.
  // Follows the newest record of each ancestor. kNotFound where the node is gone at `at`.
  Result<std::string> dir_path(const LmdbTxn& txn, NodeId dir, Sequence at) const;
  // Whether the directory node `dir` is `above` or lies below it now.
  Result<bool> is_within(const LmdbTxn& txn, NodeId dir, NodeId above) const;
  // Resolves root + relative path ("" or "a/b") at `at`. kNotFound: its first missing component.
  Result<Located> locate(const LmdbTxn& txn, NodeId root, std::string_view relative,
                         Sequence at) const;
  // Records from `from` on, in order (or back from it).
  Status for_each_record(const LmdbTxn& txn, Sequence from, bool backwards,
                         const std::function<Visit(const Record&)>& visit) const;
  // The records from `first` to `last`, either way, of those whose kind and verdict `wanted` takes
  // (without it, all): the others are not decoded.
  Status for_each_record_between(const LmdbTxn& txn, Sequence first, Sequence last, bool backwards,
                                 const std::function<bool(RecordKind, Verdict)>& wanted,
                                 const std::function<Visit(const Record&)>& visit) const;
  // The last sequence with logical time <= time_ns; 0 where the journal begins later.
  Result<Sequence> sequence_at(const LmdbTxn& txn, int64_t time_ns) const;
  // Spans of the journal whose *wall* clock showed `wall_ns` (more than one after a clock was set
  // back): the candidates of an ambiguous time, oldest first; each is the last sequence at or
  // before that wall time within its span. One element: unambiguous. None: the journal begins
  // later.
  Result<std::vector<Sequence>> wall_candidates(const LmdbTxn& txn, int64_t wall_ns) const;

  // --- retention (journal_live.cpp) ---
  // What the policy, the snapshots and the present keep, as of now.
  Result<Kept> kept(const LmdbTxn& txn, const RetentionPolicy& policy, int64_t now_ns) const;
  // Whether a kept moment sees this version of a file under any of its names. Slow: for the odd
  // record whose content is missing.
  Result<bool> is_seen(const LmdbTxn& txn, const Record& version, const Kept& kept) const;
  // Records of files whose content is kept, in the order of names; one may come more than once. A
  // walk in steps, so that no transaction lives long: `position` says where the last step ended (""
  // at first). False: that was the end. What is journaled meanwhile may be missing.
  Result<bool> visit_kept(const LmdbTxn& txn, const Kept& kept, std::string& position,
                          size_t rows_max, const std::function<Status(const Record&)>& visit) const;

  // Quick: the head and the newest record fit each other and the repository's key. kDamaged, where
  // this is not the journal of this repository, or its end is not what was written.
  Status check_end(const LmdbTxn& txn) const;
  // Verifies tables against records: dense sequence, chain, logical time increasing, each table
  // entry explained by a record and each record by its table entries. Each finding is one call.
  Status check(const LmdbTxn& txn, const std::function<void(const std::string&)>& finding) const;

 private:
  friend class NodeApply;
  friend class JournalCheck;
  struct HeadRow;
  struct EntryAt;

  Journal() = default;
  Status apply(WriteTxn& txn, const Record& record, std::string_view bytes) const;
  Status apply_snapshot(WriteTxn& txn, const Record& record) const;
  Status apply_root(WriteTxn& txn, const Record& record) const;
  Status apply_standing(WriteTxn& txn, const Record& record) const;
  Status apply_incidents(WriteTxn& txn, const Record& record) const;
  Status apply_lost(WriteTxn& txn, const Record& record) const;
  Status check_link(const LmdbTxn& txn, const HeadRow& head, const Record& record,
                    std::string_view bytes) const;
  Result<Sequence> last_hole(const LmdbTxn& txn) const;
  Status raise_next_node(WriteTxn& txn, const Record& record) const;
  static Status set_chain(const ChunkKey& key, const std::array<uint8_t, 16>& before,
                          Record& record, std::string& bytes);
  Result<HeadRow> head_row(const LmdbTxn& txn) const;
  Result<uint32_t> boot_number(const LmdbTxn& txn, std::string_view boot_id) const;
  Result<std::string_view> record_bytes(const LmdbTxn& txn, Sequence seq) const;
  Result<std::string_view> bytes_for_time(const LmdbTxn& txn, Sequence seq) const;
  Result<int64_t> time_of(const LmdbTxn& txn, Sequence seq) const;
  Result<int64_t> wall_of(const LmdbTxn& txn, Sequence seq) const;
  Result<int64_t> end_of_span(const LmdbTxn& txn, Sequence last, Sequence next) const;
  Result<std::optional<EntryAt>> entry_at(const LmdbTxn& txn, NodeId parent, std::string_view name,
                                          Sequence at) const;
  Result<std::optional<Sequence>> version_seq(const LmdbTxn& txn, NodeId node, Sequence at) const;
  struct NameRow;
  Status visit_name(const LmdbTxn& txn, const Kept& kept, const std::vector<NameRow>& rows,
                    const std::function<Status(const Record&)>& visit) const;
  Result<uint32_t> count_names(const LmdbTxn& txn, NodeId node) const;

  ChunkKey key_{};
  Dbi records_ = 0, entries_ = 0, versions_ = 0, inodes_ = 0, times_ = 0, snapshots_ = 0,
      boots_ = 0, roots_ = 0, standing_ = 0, meta_ = 0;
};

}  // namespace holdfast
