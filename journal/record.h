// Record: one journal entry, and its byte form (docs/formats/record.md).
//
// A record of a node is self-contained: it carries the node's whole metadata and content reference
// as of that moment, so "the newest record of a node at or below S" is the node's version at S. The
// journal's tables are a pure function of the records, which is what makes replay and rebuild
// possible. Values and pure functions; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace holdfast {

// Numbers are part of the format: add at the end, never renumber.
enum class RecordKind : uint8_t {
  kCreate = 1,
  kModify,
  kAttrib,
  kRename,
  kDelete,
  kGap,
  kClockStep,
  kClockSkew,
  kVolumeTimeShift,
  kVerify,
  kHeal,
  kAccept,
  kRestore,
  kSeed,
  kSnapshot,
  kDump,
  kService,
  kLink,  // one more name for a node that has one (JSON: "create" with the flag hard_link)
};
const char* record_kind_name(RecordKind kind);  // the JSON contract's word
std::optional<RecordKind> record_kind_of(std::string_view name);

// The verdicts of docs/verdicts.md. Numbers are part of the format.
enum class Verdict : uint8_t {
  kNone = 0,
  kOk,
  kReadError,
  kUnstable,
  kUnstableMedia,
  kAttrOnly,
  kTimeOnly,
  kReplacedSame,
  kModifiedNoStamp,
  kSuspect,
  kCorrupt,
  kCorruptMetadata,
  kCrashLoss,
  kMtimePreserved,
  kStealthModify,
  kRestoredOlder,
  kReplacedOlder,
  kRollbackSuspicious,
  kClockStepArtefact,
  kCtimeAnomaly,
  kModified,
  kModifiedUnseen,
  kModifiedOffline,
  kReplaced,
};
const char* verdict_name(Verdict verdict);  // "none" for kNone
std::optional<Verdict> verdict_of(std::string_view name);

// Bits of Record::flags. Numbers are part of the format.
enum RecordFlag : uint32_t {
  kFlagMtimeSet = 1u << 0,    // mtime != ctime: set by a program
  kFlagUnstable = 1u << 1,    // the file kept changing while it was read; content not stored
  kFlagRacy = 1u << 2,        // ctime too fresh to be a clean baseline
  kFlagUnreadable = 1u << 3,  // could not be read; note says why; content not stored
  kFlagOffline = 1u << 4,     // found by a reconcile, not announced by an event
  kFlagSparse = 1u << 5,      // has holes
  kFlagReplaced = 1u << 6,    // the name now leads to another file (rename over, delete + create)
  kFlagRootAdded = 1u << 7,   // service record: starts watching a root; note = its absolute path
  kFlagSnapshotRemoved = 1u << 8,
  kFlagWriter = 1u << 9,        // a program had it open for writing while it was read
  kFlagUnprobed = 1u << 10,     // whether a program had it open for writing could not be asked
  kFlagFutureMtime = 1u << 11,  // mtime was ahead of the file system's own clock
  kFlagOwn = 1u << 12,          // Holdfast's own write: a restore, a heal, a seed
  kFlagDamaged = 1u << 13,      // the content is the damaged one that a heal or accept found
  kFlagLost = 1u << 14,         // gap: a repair could not save records, or contents (journal.h)
  kFlagRejected = 1u << 15,     // dump: no good one; the version after it is the last good one
  // A SQLite database: the content is what SQLite shows, and not the file's own bytes. stat.size is
  // the content's.
  kFlagLive = 1u << 16,
  kFlagUnproven = 1u << 17,  // a SQLite database, read without its locks: it may be torn
  // Read and hashed, and the content is not stored, because the store had no room for it; note
  // says which bound it was at.
  kFlagNotKept = 1u << 18,
};
// What a record says of its content, and goes on saying while name and attributes change.
inline constexpr uint32_t kFlagsOfContent = kFlagSparse | kFlagUnstable | kFlagRacy |
                                            kFlagUnreadable | kFlagWriter | kFlagUnprobed |
                                            kFlagLive | kFlagUnproven | kFlagNotKept;
std::vector<std::string> record_flag_names(uint32_t flags);

// What statx says, as far as it is journaled. Times are nanoseconds since 1970, signed.
struct FileStat {
  uint32_t mode = 0;  // st_mode with its type bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 1;
  uint64_t rdev = 0;  // makedev() of char and block devices, else 0
  uint64_t size = 0;
  uint64_t inode = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  int64_t btime_ns = 0;  // 0 where the filesystem has none
  bool operator==(const FileStat&) const = default;
};

struct Xattr {
  std::string name;
  std::string value;
  bool operator==(const Xattr&) const = default;
};

struct Record {
  // Set by Journal::append().
  Sequence seq;
  int64_t time_ns = 0;  // hybrid logical time: strictly increasing with seq
  int64_t wall_ns = 0;
  int64_t boottime_ns = 0;
  uint32_t boot = 0;                // number of the boot id (Journal::boot_id)
  std::array<uint8_t, 16> chain{};  // keyed link to the record before: checksum and chain in one

  RecordKind kind = RecordKind::kService;
  Verdict verdict = Verdict::kNone;
  FileType type = FileType::kFile;  // of node records
  uint32_t flags = 0;
  NodeId root;  // the root directory's node; 0 for records about no root
  // Node records: create, modify, attrib, rename, delete, link (and later verify, heal, accept).
  NodeId node;  // 0: not a node record
  NodeId parent;
  std::string name;  // bytes; a root's node has its root's name and parent 0
  FileStat stat;
  uint64_t handle = 0;  // identity of a file: XXH3-64 of its file handle; 0 where there is none
  ContentHash hash;     // regular files; zero when not known
  ContentRef content;
  Sequence prev;       // the record this one supersedes (node's, or the replaced file's)
  NodeId from_parent;  // rename: where it was
  std::string from_name;
  std::string link_target;    // symlinks
  std::vector<Xattr> xattrs;  // sorted by name; ACLs are system.posix_acl_*
  std::string note;           // any record: words for a person, or a payload of its kind

  bool is_node_record() const { return node.value != 0; }
  bool operator==(const Record&) const = default;
};

// A fixed head, then numbers that take as few bytes as they need. encode() leaves room for the
// chain inside; the chain covers all other bytes.
inline constexpr uint8_t kRecordVersion = 2;
inline constexpr size_t kRecordBytesMin = 37;
inline constexpr size_t kRecordBytesMax = 1u << 20;  // larger is refused, both ways
// Fails where it would exceed kRecordBytesMax (a file with a megabyte of xattrs).
Result<std::string> encode_record(const Record& record);
// Checks structure and bounds of every field, names included (no '/', no NUL, not "." or
// "..", 1..255 bytes); does not check the chain.
Result<Record> decode_record(std::string_view bytes);
// The bytes a chain link covers (the encoded record with its chain zeroed), and where the chain
// stands.
inline constexpr size_t kRecordChainOffset = 9;
// Splits a batch (concatenated records) into views; fails on a bad size.
Result<std::vector<std::string_view>> split_records(std::string_view batch);
// Whether `name` can be one path component: the check that keeps "../" and "/" of a damaged record
// inside the target.
bool is_safe_name(std::string_view name);
// What the beginning of an encoded record says, without decoding the rest.
std::optional<Sequence> peek_sequence(std::string_view bytes);
std::optional<int64_t> peek_time(std::string_view bytes);
std::optional<int64_t> peek_wall(std::string_view bytes);
std::optional<std::pair<RecordKind, Verdict>> peek_kind(std::string_view bytes);

}  // namespace holdfast
