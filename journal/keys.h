// The keys and small values of the journal's tables (docs/formats/journal.md), private to this
// folder. Builders write into a buffer on the stack; parsers refuse what no builder writes. Pure.
#pragma once

#include <array>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/types.h"
#include "journal/record.h"

namespace holdfast {

// A key under construction. Large enough for the longest: an entry's (8 + 255 + 1 + 8).
class Key {
 public:
  Key& u64(uint64_t value) {
    set_le(data_ + size_, __builtin_bswap64(value));
    size_ += sizeof value;
    return *this;
  }
  Key& u32(uint32_t value) {
    set_le(data_ + size_, __builtin_bswap32(value));
    size_ += sizeof value;
    return *this;
  }
  // Signed numbers sort when their sign bit is turned over.
  Key& i64(int64_t value) { return u64(static_cast<uint64_t>(value) ^ (uint64_t{1} << 63)); }
  Key& bytes(std::string_view text) {
    CHECK(size_ + text.size() <= sizeof data_ - 16);
    std::memcpy(data_ + size_, text.data(), text.size());
    size_ += text.size();
    return *this;
  }
  Key& byte(char value) {
    data_[size_++] = value;
    return *this;
  }
  std::string_view view() const { return {data_, size_}; }
  operator std::string_view() const { return view(); }

 private:
  char data_[304];
  size_t size_ = 0;
};

inline Key record_key(Sequence seq) { return Key().u64(seq.value); }
inline Key version_key(NodeId node, Sequence seq) { return Key().u64(node.value).u64(seq.value); }
inline Key inode_key(NodeId root, uint64_t inode) { return Key().u64(root.value).u64(inode); }
inline Key time_key(int64_t time_ns) { return Key().i64(time_ns); }
// What all keys of one name start with; names hold no NUL, so nothing else starts with it.
inline Key name_prefix(NodeId parent, std::string_view name) {
  return Key().u64(parent.value).bytes(name).byte('\0');
}
inline Key entry_key(NodeId parent, std::string_view name, Sequence seq) {
  return name_prefix(parent, name).u64(seq.value);
}
// Above every key of this name, at or below every key of the next.
inline Key after_name(NodeId parent, std::string_view name) {
  return Key().u64(parent.value).bytes(name).byte('\1');
}

inline int64_t get_time(const char* at) {
  return static_cast<int64_t>(get_be64(at) ^ (uint64_t{1} << 63));
}

struct EntryKey {
  NodeId parent;
  std::string_view name;  // into the key
  Sequence seq;
};
inline std::optional<EntryKey> parse_entry_key(std::string_view key) {
  if (key.size() < 8 + 1 + 1 + 8) return std::nullopt;
  const size_t name_size = key.size() - 17;
  EntryKey entry{NodeId{get_be64(key.data())}, key.substr(8, name_size),
                 Sequence{get_be64(key.data() + 9 + name_size)}};
  if (key[8 + name_size] != '\0' || !is_safe_name(entry.name)) return std::nullopt;
  return entry;
}

struct EntryValue {
  NodeId node;  // 0: the name ended here
  FileType type = FileType::kFile;
  bool operator==(const EntryValue&) const = default;
};
inline constexpr size_t kEntryValueBytes = 9;
inline std::array<char, kEntryValueBytes> entry_value(const EntryValue& value) {
  std::array<char, kEntryValueBytes> bytes;
  set_le(bytes.data(), value.node.value);
  bytes[8] = static_cast<char>(value.node.value == 0 ? 0 : static_cast<uint8_t>(value.type));
  return bytes;
}
inline std::optional<EntryValue> parse_entry_value(std::string_view bytes) {
  if (bytes.size() != kEntryValueBytes) return std::nullopt;
  EntryValue value;
  value.node.value = get_le<uint64_t>(bytes.data());
  const auto type = static_cast<uint8_t>(bytes[8]);
  if (value.node.value == 0) return type == 0 ? std::optional(value) : std::nullopt;
  if (type == 0 || type > static_cast<uint8_t>(FileType::kBlock)) return std::nullopt;
  value.type = static_cast<FileType>(type);
  return value;
}

struct VersionKey {
  NodeId node;
  Sequence seq;
};
inline std::optional<VersionKey> parse_version_key(std::string_view key) {
  if (key.size() != 16) return std::nullopt;
  return VersionKey{NodeId{get_be64(key.data())}, Sequence{get_be64(key.data() + 8)}};
}

struct InodeValue {
  NodeId node;
  uint32_t names = 0;
};
inline constexpr size_t kInodeValueBytes = 12;
inline std::array<char, kInodeValueBytes> inode_value(const InodeValue& value) {
  std::array<char, kInodeValueBytes> bytes;
  set_le(bytes.data(), value.node.value);
  set_le(bytes.data() + 8, value.names);
  return bytes;
}
inline std::optional<InodeValue> parse_inode_value(std::string_view bytes) {
  if (bytes.size() != kInodeValueBytes) return std::nullopt;
  return InodeValue{NodeId{get_le<uint64_t>(bytes.data())}, get_le<uint32_t>(bytes.data() + 8)};
}

// One row of `times`.
struct Batch {
  int64_t time_ns = 0;  // the key: logical time of `last`
  Sequence first;
  Sequence last;
  int64_t wall_ns = 0;  // of `last`
};
inline constexpr size_t kBatchValueBytes = 24;
inline std::array<char, kBatchValueBytes> batch_value(const Batch& batch) {
  std::array<char, kBatchValueBytes> bytes;
  set_le(bytes.data(), batch.first.value);
  set_le(bytes.data() + 8, batch.last.value);
  set_le(bytes.data() + 16, batch.wall_ns);
  return bytes;
}
inline std::optional<Batch> parse_batch(std::string_view key, std::string_view value) {
  if (key.size() != 8 || value.size() != kBatchValueBytes) return std::nullopt;
  return Batch{get_time(key.data()), Sequence{get_le<uint64_t>(value.data())},
               Sequence{get_le<uint64_t>(value.data() + 8)}, get_le<int64_t>(value.data() + 16)};
}

// Words of `meta`.
inline constexpr std::string_view kMetaFormat = "format";
inline constexpr std::string_view kMetaHead = "head";
inline constexpr std::string_view kMetaNextNode = "next_node";
inline constexpr std::string_view kMetaBatched = "batched";  // last record of the last ended batch
// "step", 0, logical time of a batch whose wall clock was behind that of the batch before it. The
// NUL keeps it apart from the words of put_meta()'s callers.
inline constexpr std::string_view kMetaStep("step\0", 5);
inline Key step_key(int64_t time_ns) { return Key().bytes(kMetaStep).i64(time_ns); }
// "counts", 0, node of a root -> what it holds.
inline constexpr std::string_view kMetaCounts("counts\0", 7);
inline Key counts_key(NodeId root) { return Key().bytes(kMetaCounts).u64(root.value); }
inline constexpr std::string_view kMetaSetBack = "clock_set_back";
inline constexpr std::string_view kMetaUncleanBoot = "unclean_boot";
inline constexpr std::string_view kMetaHole = "hole";  // the last record that stands for lost ones
// "lost", 0, chunk id -> the record that says so.
inline constexpr std::string_view kMetaLost("lost\0", 5);
inline Key lost_key(const ChunkId& id) {
  return Key().bytes(kMetaLost).bytes(
      {reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()});
}
inline constexpr uint32_t kJournalFormat = 1;

template <size_t N>
std::string_view view_of(const std::array<char, N>& bytes) {
  return {bytes.data(), bytes.size()};
}

// Words about a record that several files need.
// Whether the record is a version of its node. Records about a node that do not describe it (a gap
// below a directory, a service's remark) carry the node only as a reference.
inline bool is_version(const Record& record) {
  if (!record.is_node_record()) return false;
  switch (record.kind) {
    case RecordKind::kGap:
    case RecordKind::kClockStep:
    case RecordKind::kClockSkew:
    case RecordKind::kVolumeTimeShift:
    case RecordKind::kSnapshot: return false;
    case RecordKind::kService: return (record.flags & kFlagRootAdded) != 0;
    default: return true;
  }
}
// Whether it is the first version of what a program gave; with a prev it is the next one.
inline bool begins_content(const Record& record) {
  return (record.kind == RecordKind::kDump || record.kind == RecordKind::kSeed) &&
         record.prev.value == 0;
}
// Whether it puts a name where there may have been none.
inline bool makes_name(const Record& record) {
  return is_version(record) &&
         (begins_content(record) || record.kind == RecordKind::kCreate ||
          record.kind == RecordKind::kLink || record.kind == RecordKind::kRename ||
          record.kind == RecordKind::kService);
}
// Whether a name of its own ends with it, and which.
inline bool ends_name(const Record& record) {
  return is_version(record) &&
         (record.kind == RecordKind::kDelete || record.kind == RecordKind::kRename);
}
inline NodeId ended_parent(const Record& record) {
  return record.kind == RecordKind::kRename ? record.from_parent : record.parent;
}
inline const std::string& ended_name(const Record& record) {
  return record.kind == RecordKind::kRename ? record.from_name : record.name;
}
// "boot <id>" of a service record registers a boot; "" where the note is something else.
inline std::string_view boot_id_of(const Record& record) {
  constexpr std::string_view kPrefix = "boot ";
  if (record.kind != RecordKind::kService || record.is_node_record()) return {};
  const std::string_view note = record.note;
  if (!note.starts_with(kPrefix) || note.size() > kPrefix.size() + 64) return {};
  const std::string_view id = note.substr(kPrefix.size());
  return id.find(' ') == std::string_view::npos ? id : std::string_view();
}

}  // namespace holdfast
