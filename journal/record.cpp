#include "journal/record.h"

#include "base/bytes.h"

namespace holdfast {

namespace {

// The sections after the head, in the order of their bits. A section whose content would be the
// default is left out, and one that is there with the default is refused: each record has one
// encoding.
enum Section : uint32_t {
  kSectionWall = 1u << 0,
  kSectionRoot = 1u << 1,
  kSectionEntry = 1u << 2,
  kSectionStat = 1u << 3,
  kSectionNlink = 1u << 4,
  kSectionRdev = 1u << 5,
  kSectionHash = 1u << 6,
  kSectionContent = 1u << 7,
  kSectionPrev = 1u << 8,
  kSectionFrom = 1u << 9,
  kSectionLinkTarget = 1u << 10,
  kSectionXattrs = 1u << 11,
  kSectionNote = 1u << 12,
  kSectionHandle = 1u << 13,
  kSectionsKnown = (1u << 14) - 1,
};

// Offsets in the head, which has a fixed size. Three numbers follow it in every record, and flags.
constexpr size_t kKindOffset = 4;
constexpr size_t kSectionsOffset = 7;
constexpr size_t kTimeOffset = 25;
constexpr size_t kHeadBytes = 33;
static_assert(kRecordBytesMin == kHeadBytes + 4);
static_assert(kRecordBytesMax < 1u << 24);  // the size takes three bytes
constexpr auto kKindLast = static_cast<uint8_t>(RecordKind::kLink);
constexpr auto kVerdictLast = static_cast<uint8_t>(Verdict::kReplaced);
constexpr auto kTypeLast = static_cast<uint8_t>(FileType::kBlock);
constexpr auto kContentLast = static_cast<uint8_t>(ContentKind::kRecipe);

bool has_stat_basics(const FileStat& stat) {
  return stat.mode != 0 || stat.size != 0 || stat.mtime_ns != 0 || stat.ctime_ns != 0 ||
         stat.btime_ns != 0 || stat.inode != 0 || stat.uid != 0 || stat.gid != 0;
}

// The one rule for which sections a record has: the encoder writes by it, the decoder insists on
// it.
uint32_t sections_of(const Record& record) {
  uint32_t sections = 0;
  const auto add = [&](bool present, Section section) {
    sections |= present ? uint32_t{section} : 0u;
  };
  add(record.wall_ns != record.time_ns, kSectionWall);
  add(record.root.value != 0, kSectionRoot);
  add(record.node.value != 0 || record.parent.value != 0 || !record.name.empty(), kSectionEntry);
  add(has_stat_basics(record.stat), kSectionStat);
  add(record.stat.nlink != 1, kSectionNlink);
  add(record.stat.rdev != 0, kSectionRdev);
  add(record.hash != ContentHash{}, kSectionHash);
  add(record.content.kind != ContentKind::kNone, kSectionContent);
  add(record.prev.value != 0, kSectionPrev);
  add(record.from_parent.value != 0 || !record.from_name.empty(), kSectionFrom);
  add(!record.link_target.empty(), kSectionLinkTarget);
  add(!record.xattrs.empty(), kSectionXattrs);
  add(!record.note.empty(), kSectionNote);
  add(record.handle != 0, kSectionHandle);
  return sections;
}

// What is wrong with the values of a record, or nullptr. Both directions use it, so that nothing
// can be written that cannot be read, and nothing read that would be written otherwise.
const char* fault_of(const Record& record) {
  const auto number = [](auto value) { return static_cast<uint8_t>(value); };
  if (number(record.kind) == 0 || number(record.kind) > kKindLast) return "its kind is unknown";
  if (number(record.verdict) > kVerdictLast) return "its verdict is unknown";
  if (number(record.type) == 0 || number(record.type) > kTypeLast)
    return "its file type is unknown";
  if (!record.name.empty() && !is_safe_name(record.name)) return "its name is not a file name";
  if (record.is_node_record() && record.name.empty()) return "it is about a node but has no name";
  if (!record.from_name.empty() && !is_safe_name(record.from_name)) {
    return "its former name is not a file name";
  }
  if (number(record.content.kind) > kContentLast) return "its kind of content is unknown";
  const bool needs_id =
      record.content.kind == ContentKind::kChunk || record.content.kind == ContentKind::kRecipe;
  if (!needs_id && !record.content.id.is_zero()) return "it has a chunk id but no stored content";
  if (record.link_target.find('\0') != std::string::npos) return "its link target contains a NUL";
  const Xattr* before = nullptr;
  for (const Xattr& xattr : record.xattrs) {
    if (xattr.name.empty() || xattr.name.size() > UINT16_MAX ||
        xattr.name.find('\0') != std::string::npos) {
      return "the name of an extended attribute is not valid";
    }
    if (before && before->name >= xattr.name)
      return "its extended attributes are not sorted by name";
    before = &xattr;
  }
  return nullptr;
}

void put_name(std::string& out, std::string_view name) {
  put_le(out, static_cast<uint8_t>(name.size()));
  out += name;
}

void put_long(std::string& out, std::string_view bytes) {
  put_varint(out, bytes.size());
  out += bytes;
}

// The size and the version share four bytes; the size is put in when it is known.
uint32_t size_and_version(size_t size) {
  return static_cast<uint32_t>(size) | uint32_t{kRecordVersion} << 24;
}

void put_head(std::string& out, const Record& record, uint32_t sections) {
  put_le(out, size_and_version(0));
  put_le(out, static_cast<uint8_t>(record.kind));
  put_le(out, static_cast<uint8_t>(record.verdict));
  put_le(out, static_cast<uint8_t>(record.type));
  put_le(out, static_cast<uint16_t>(sections));
  out.append(reinterpret_cast<const char*>(record.chain.data()), record.chain.size());
  put_le(out, record.time_ns);
  put_varint(out, record.seq.value);
  put_varint(out, distance_of(record.boottime_ns, 0));
  put_varint(out, record.boot);
  put_varint(out, record.flags);
}

// The times lie near each other: a change is journaled soon after it, and one that sets no mtime
// leaves it where the ctime is.
void put_stat(std::string& out, const FileStat& stat, int64_t time_ns) {
  put_varint(out, stat.mode);
  put_varint(out, stat.size);
  put_varint(out, distance_of(stat.ctime_ns, time_ns));
  put_varint(out, distance_of(stat.mtime_ns, stat.ctime_ns));
  put_varint(out, distance_of(stat.btime_ns, stat.ctime_ns));
  put_varint(out, stat.inode);
  put_varint(out, stat.uid);
  put_varint(out, stat.gid);
}

void put_xattrs(std::string& out, const std::vector<Xattr>& xattrs) {
  put_varint(out, xattrs.size());
  for (const Xattr& xattr : xattrs) {
    put_long(out, xattr.name);
    put_long(out, xattr.value);
  }
}

void put_sections(std::string& out, const Record& record, uint32_t sections) {
  const auto bytes_of = [](const auto& array) {
    return std::string_view(reinterpret_cast<const char*>(array.data()), array.size());
  };
  if (sections & kSectionWall) put_varint(out, distance_of(record.wall_ns, record.time_ns));
  if (sections & kSectionRoot) put_varint(out, record.root.value);
  if (sections & kSectionEntry) {
    put_varint(out, record.node.value);
    put_varint(out, record.parent.value);
    put_name(out, record.name);
  }
  if (sections & kSectionStat) put_stat(out, record.stat, record.time_ns);
  if (sections & kSectionNlink) put_varint(out, record.stat.nlink);
  if (sections & kSectionRdev) put_varint(out, record.stat.rdev);
  if (sections & kSectionHash) out += bytes_of(record.hash.bytes);
  if (sections & kSectionContent) {
    put_le(out, static_cast<uint8_t>(record.content.kind));
    if (record.content.kind != ContentKind::kEmpty) out += bytes_of(record.content.id.bytes);
  }
  if (sections & kSectionPrev) put_varint(out, record.prev.value);
  if (sections & kSectionFrom) {
    put_varint(out, record.from_parent.value);
    put_name(out, record.from_name);
  }
  if (sections & kSectionLinkTarget) put_long(out, record.link_target);
  if (sections & kSectionXattrs) put_xattrs(out, record.xattrs);
  if (sections & kSectionNote) put_long(out, record.note);
  if (sections & kSectionHandle) put_le(out, record.handle);
}

// An upper bound of the encoded size: refuses what is too large before anything is copied, and
// saves the buffer from growing in steps.
size_t size_bound(const Record& record) {
  size_t size = 256 + record.name.size() + record.from_name.size() + record.link_target.size() +
                record.note.size();
  for (const Xattr& xattr : record.xattrs) size += 8 + xattr.name.size() + xattr.value.size();
  return size;
}

uint32_t read_u32(ByteReader& in) { return static_cast<uint32_t>(in.varint(UINT32_MAX)); }

// Returns which sections follow.
uint32_t read_head(ByteReader& in, Record& record) {
  record.kind = static_cast<RecordKind>(in.le<uint8_t>());
  record.verdict = static_cast<Verdict>(in.le<uint8_t>());
  record.type = static_cast<FileType>(in.le<uint8_t>());
  const auto sections = in.le<uint16_t>();
  in.copy_to(record.chain.data(), record.chain.size());
  record.time_ns = in.le<int64_t>();
  record.seq.value = in.varint();
  record.boottime_ns = at_distance(in.varint(), 0);
  record.boot = read_u32(in);
  record.flags = read_u32(in);
  return sections;
}

std::string read_name(ByteReader& in) { return std::string(in.bytes(in.le<uint8_t>())); }
std::string read_long(ByteReader& in) { return std::string(in.bytes(in.varint())); }

void read_stat(ByteReader& in, FileStat& stat, int64_t time_ns) {
  stat.mode = read_u32(in);
  stat.size = in.varint();
  stat.ctime_ns = at_distance(in.varint(), time_ns);
  stat.mtime_ns = at_distance(in.varint(), stat.ctime_ns);
  stat.btime_ns = at_distance(in.varint(), stat.ctime_ns);
  stat.inode = in.varint();
  stat.uid = read_u32(in);
  stat.gid = read_u32(in);
}

void read_xattrs(ByteReader& in, std::vector<Xattr>& xattrs) {
  const uint64_t count = in.varint();
  // The count is not trusted with memory: the loop ends with the bytes.
  for (uint64_t i = 0; i < count && !in.failed(); ++i) {
    Xattr xattr;
    xattr.name = read_long(in);
    xattr.value = read_long(in);
    xattrs.push_back(std::move(xattr));
  }
}

int64_t read_wall(ByteReader& in, uint32_t sections, int64_t time_ns) {
  return sections & kSectionWall ? at_distance(in.varint(), time_ns) : time_ns;
}

void read_sections(ByteReader& in, uint32_t sections, Record& record) {
  record.wall_ns = read_wall(in, sections, record.time_ns);
  if (sections & kSectionRoot) record.root.value = in.varint();
  if (sections & kSectionEntry) {
    record.node.value = in.varint();
    record.parent.value = in.varint();
    record.name = read_name(in);
  }
  if (sections & kSectionStat) read_stat(in, record.stat, record.time_ns);
  if (sections & kSectionNlink) record.stat.nlink = read_u32(in);
  if (sections & kSectionRdev) record.stat.rdev = in.varint();
  if (sections & kSectionHash) in.copy_to(record.hash.bytes.data(), record.hash.bytes.size());
  if (sections & kSectionContent) {
    record.content.kind = static_cast<ContentKind>(in.le<uint8_t>());
    if (record.content.kind != ContentKind::kEmpty) {
      in.copy_to(record.content.id.bytes.data(), record.content.id.bytes.size());
    }
  }
  if (sections & kSectionPrev) record.prev.value = in.varint();
  if (sections & kSectionFrom) {
    record.from_parent.value = in.varint();
    record.from_name = read_name(in);
  }
  if (sections & kSectionLinkTarget) record.link_target = read_long(in);
  if (sections & kSectionXattrs) read_xattrs(in, record.xattrs);
  if (sections & kSectionNote) record.note = read_long(in);
  if (sections & kSectionHandle) record.handle = in.le<uint64_t>();
}

Error damaged(const std::string& why) {
  return make_error(ErrorCode::kDamaged, "a journal record is damaged: " + why);
}

}  // namespace

bool is_safe_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name == "." || name == "..") return false;
  return name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

Result<std::string> encode_record(const Record& record) {
  if (const char* fault = fault_of(record)) {
    return make_error(ErrorCode::kUsage,
                      "cannot journal a record of '" + record.name + "': " + fault);
  }
  const size_t bound = size_bound(record);
  std::string out;
  if (bound <= kRecordBytesMax + 256) {
    const uint32_t sections = sections_of(record);
    out.reserve(bound);
    put_head(out, record, sections);
    put_sections(out, record, sections);
  }
  if (out.empty() || out.size() > kRecordBytesMax) {
    return make_error(ErrorCode::kUsage,
                      "cannot journal a record of '" + record.name + "': it would take about " +
                          std::to_string(bound) + " bytes where " +
                          std::to_string(kRecordBytesMax) +
                          " are allowed; its extended attributes or note are too large");
  }
  set_le(out.data(), size_and_version(out.size()));
  return out;
}

Result<Record> decode_record(std::string_view bytes) {
  if (bytes.size() < kRecordBytesMin) return damaged("it is shorter than its head");
  if (bytes.size() > kRecordBytesMax) return damaged("it is larger than any record may be");
  ByteReader in(bytes);
  const auto stated = in.le<uint32_t>();
  if (const uint32_t version = stated >> 24; version != kRecordVersion) {
    return make_error(ErrorCode::kUnsupported,
                      "a journal record has format version " + std::to_string(version) +
                          ", this program reads version " + std::to_string(kRecordVersion) +
                          "; it is damaged, or another version of holdfast wrote it");
  }
  if (stated != size_and_version(bytes.size())) {
    return damaged("its size is not the size it states");
  }
  Record record;
  const uint32_t sections = read_head(in, record);
  if (sections & ~kSectionsKnown) return damaged("it has sections that do not exist");
  read_sections(in, sections, record);
  if (in.failed()) return damaged("it ends inside a section");
  if (in.left() != 0) return damaged("bytes follow its last section");
  if (sections_of(record) != sections)
    return damaged("a section holds what it should have left out");
  if (const char* fault = fault_of(record)) return damaged(fault);
  return record;
}

std::optional<Sequence> peek_sequence(std::string_view bytes) {
  if (bytes.size() < kRecordBytesMin) return std::nullopt;
  ByteReader in(bytes.substr(kHeadBytes));
  const Sequence seq{in.varint()};
  return in.failed() ? std::nullopt : std::optional(seq);
}

std::optional<int64_t> peek_time(std::string_view bytes) {
  if (bytes.size() < kRecordBytesMin) return std::nullopt;
  return get_le<int64_t>(bytes.data() + kTimeOffset);
}

std::optional<int64_t> peek_wall(std::string_view bytes) {
  const auto time_ns = peek_time(bytes);
  if (!time_ns) return std::nullopt;
  const uint32_t sections = get_le<uint16_t>(bytes.data() + kSectionsOffset);
  ByteReader in(bytes.substr(kHeadBytes));
  for (int i = 0; i < 4; ++i) in.varint();  // sequence, boottime, boot, flags
  const int64_t wall_ns = read_wall(in, sections, *time_ns);
  return in.failed() ? std::nullopt : std::optional(wall_ns);
}

std::optional<std::pair<RecordKind, Verdict>> peek_kind(std::string_view bytes) {
  if (bytes.size() < kRecordBytesMin) return std::nullopt;
  const auto kind = static_cast<uint8_t>(bytes[kKindOffset]);
  const auto verdict = static_cast<uint8_t>(bytes[kKindOffset + 1]);
  if (kind == 0 || kind > kKindLast || verdict > kVerdictLast) return std::nullopt;
  return std::pair(static_cast<RecordKind>(kind), static_cast<Verdict>(verdict));
}

Result<std::vector<std::string_view>> split_records(std::string_view batch) {
  std::vector<std::string_view> records;
  while (!batch.empty()) {
    size_t size = batch.size() < kRecordBytesMin ? 0 : get_le<uint32_t>(batch.data());
    size &= 0xffffff;  // the version is above it
    if (size < kRecordBytesMin || size > kRecordBytesMax || size > batch.size()) {
      return make_error(ErrorCode::kDamaged, "a journal batch is damaged: record " +
                                                 std::to_string(records.size() + 1) +
                                                 " has a size that does not fit");
    }
    records.push_back(batch.substr(0, size));
    batch.remove_prefix(size);
  }
  return records;
}

}  // namespace holdfast
