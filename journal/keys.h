// The keys and small values of the journal's tables (docs/formats/journal.md), private to this
// folder. Builders write into a buffer on the stack; parsers refuse what no builder writes. Pure.
#pragma once

#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/types.h"
#include "journal/record.h"

namespace holdfast {

// A number as keys have it (docs/formats/journal.md): as many bits set at the top of the first byte
// as bytes follow it, then the number, big-endian. 1 to 9 bytes, as few as it takes; the bytes sort
// as the numbers do, and no number's bytes begin another's.
inline constexpr size_t kNumberBytesMax = 9;
inline size_t put_number(char* at, uint64_t value) {
  size_t more = 0;
  while (more < 8 && value >> (7 * (more + 1)) != 0) ++more;
  char bytes[8];
  set_le(bytes, __builtin_bswap64(value));
  at[0] = static_cast<char>(0xff00u >> more);
  if (more == 8) {
    std::memcpy(at + 1, bytes, 8);
    return 9;
  }
  const char first = at[0];
  std::memcpy(at, bytes + 7 - more, more + 1);
  at[0] = static_cast<char>(at[0] | first);
  return more + 1;
}
// Takes a number from the front of `bytes`; nullopt where there is none, or it is longer than it
// has to be.
inline std::optional<uint64_t> take_number(std::string_view& bytes) {
  if (bytes.empty()) return std::nullopt;
  const auto first = static_cast<uint8_t>(bytes[0]);
  const auto more = static_cast<size_t>(std::countl_one(first));
  if (bytes.size() <= more) return std::nullopt;
  uint64_t value = first & (0x7fu >> more);
  for (size_t i = 1; i <= more; ++i) value = value << 8 | static_cast<uint8_t>(bytes[i]);
  if (more > 0 && value >> (7 * more) == 0) return std::nullopt;
  bytes.remove_prefix(more + 1);
  return value;
}

// A key under construction. Large enough for the longest: an entry's (9 + 255 + 1 + 9).
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
  Key& number(uint64_t value) {
    size_ += put_number(data_ + size_, value);
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

inline Key record_key(Sequence seq) { return Key().number(seq.value); }
inline std::optional<Sequence> parse_record_key(std::string_view key) {
  const auto seq = take_number(key);
  return seq && key.empty() ? std::optional(Sequence{*seq}) : std::nullopt;
}
inline Key version_key(NodeId node, Sequence seq) {
  return Key().number(node.value).number(seq.value);
}
inline Key inode_key(NodeId root, uint64_t inode) { return Key().number(root.value).number(inode); }
inline Key time_key(int64_t time_ns) { return Key().i64(time_ns); }
// What all keys of one name start with; names hold no NUL, so nothing else starts with it.
inline Key directory_prefix(NodeId parent) { return Key().number(parent.value); }
inline Key name_prefix(NodeId parent, std::string_view name) {
  return directory_prefix(parent).bytes(name).byte('\0');
}
inline Key entry_key(NodeId parent, std::string_view name, Sequence seq) {
  return name_prefix(parent, name).number(seq.value);
}
// Above every key of this name, at or below every key of the next.
inline Key after_name(NodeId parent, std::string_view name) {
  return directory_prefix(parent).bytes(name).byte('\1');
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
  const auto parent = take_number(key);
  const size_t name_size = parent ? key.find('\0') : std::string_view::npos;
  if (name_size == std::string_view::npos) return std::nullopt;
  const std::string_view name = key.substr(0, name_size);
  key.remove_prefix(name_size + 1);
  const auto seq = take_number(key);
  if (!seq || !key.empty() || !is_safe_name(name)) return std::nullopt;
  return EntryKey{NodeId{*parent}, name, Sequence{*seq}};
}

struct EntryValue {
  NodeId node;  // 0: the name ended here
  FileType type = FileType::kFile;
  bool operator==(const EntryValue&) const = default;
};
// The bytes of a row's value under construction.
class RowValue {
 public:
  RowValue& number(uint64_t value) {
    size_ += put_number(data_ + size_, value);
    return *this;
  }
  RowValue& byte(uint8_t value) {
    data_[size_++] = static_cast<char>(value);
    return *this;
  }
  std::string_view view() const { return {data_, size_}; }
  operator std::string_view() const { return view(); }

 private:
  char data_[2 * kNumberBytesMax];
  size_t size_ = 0;
};
inline RowValue entry_value(const EntryValue& value) {
  const bool leads = value.node.value != 0;
  return RowValue().number(value.node.value).byte(leads ? static_cast<uint8_t>(value.type) : 0);
}
inline std::optional<EntryValue> parse_entry_value(std::string_view bytes) {
  const auto node = take_number(bytes);
  if (!node || bytes.size() != 1) return std::nullopt;
  const auto type = static_cast<uint8_t>(bytes[0]);
  EntryValue value;
  value.node.value = *node;
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
  const auto node = take_number(key);
  const auto seq = node ? take_number(key) : std::nullopt;
  if (!seq || !key.empty()) return std::nullopt;
  return VersionKey{NodeId{*node}, Sequence{*seq}};
}

struct InodeKey {
  NodeId root;
  uint64_t inode = 0;
};
inline std::optional<InodeKey> parse_inode_key(std::string_view key) {
  const auto root = take_number(key);
  const auto inode = root ? take_number(key) : std::nullopt;
  if (!inode || !key.empty()) return std::nullopt;
  return InodeKey{NodeId{*root}, *inode};
}
struct InodeValue {
  NodeId node;
  uint32_t names = 0;
};
inline RowValue inode_value(const InodeValue& value) {
  return RowValue().number(value.node.value).number(value.names);
}
inline std::optional<InodeValue> parse_inode_value(std::string_view bytes) {
  const auto node = take_number(bytes);
  const auto names = node ? take_number(bytes) : std::nullopt;
  if (!names || *names > UINT32_MAX || !bytes.empty()) return std::nullopt;
  return InodeValue{NodeId{*node}, static_cast<uint32_t>(*names)};
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
inline constexpr uint32_t kJournalFormat = 2;

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
