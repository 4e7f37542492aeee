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

constexpr size_t kHeadBytes = 64;
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
  put_le(out, static_cast<uint32_t>(bytes.size()));
  out += bytes;
}

void put_head(std::string& out, const Record& record, uint32_t sections) {
  put_le(out, uint32_t{0});  // the size, when it is known
  put_le(out, kRecordVersion);
  put_le(out, static_cast<uint8_t>(record.kind));
  put_le(out, static_cast<uint8_t>(record.verdict));
  put_le(out, static_cast<uint8_t>(record.type));
  put_le(out, sections);
  put_le(out, record.flags);
  put_le(out, record.seq.value);
  put_le(out, record.time_ns);
  put_le(out, record.boottime_ns);
  put_le(out, record.boot);
  put_le(out, uint32_t{0});
  out.append(reinterpret_cast<const char*>(record.chain.data()), record.chain.size());
}

void put_stat(std::string& out, const FileStat& stat) {
  put_le(out, stat.mode);
  put_le(out, stat.size);
  put_le(out, stat.mtime_ns);
  put_le(out, stat.ctime_ns);
  put_le(out, stat.btime_ns);
  put_le(out, stat.inode);
  put_le(out, stat.uid);
  put_le(out, stat.gid);
}

void put_xattrs(std::string& out, const std::vector<Xattr>& xattrs) {
  put_le(out, static_cast<uint32_t>(xattrs.size()));
  for (const Xattr& xattr : xattrs) {
    put_le(out, static_cast<uint16_t>(xattr.name.size()));
    out += xattr.name;
    put_long(out, xattr.value);
  }
}

void put_sections(std::string& out, const Record& record, uint32_t sections) {
  const auto bytes_of = [](const auto& array) {
    return std::string_view(reinterpret_cast<const char*>(array.data()), array.size());
  };
  if (sections & kSectionWall) put_le(out, record.wall_ns);
  if (sections & kSectionRoot) put_le(out, record.root.value);
  if (sections & kSectionEntry) {
    put_le(out, record.node.value);
    put_le(out, record.parent.value);
    put_name(out, record.name);
  }
  if (sections & kSectionStat) put_stat(out, record.stat);
  if (sections & kSectionNlink) put_le(out, record.stat.nlink);
  if (sections & kSectionRdev) put_le(out, record.stat.rdev);
  if (sections & kSectionHash) out += bytes_of(record.hash.bytes);
  if (sections & kSectionContent) {
    put_le(out, static_cast<uint8_t>(record.content.kind));
    if (record.content.kind != ContentKind::kEmpty) out += bytes_of(record.content.id.bytes);
  }
  if (sections & kSectionPrev) put_le(out, record.prev.value);
  if (sections & kSectionFrom) {
    put_le(out, record.from_parent.value);
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
  for (const Xattr& xattr : record.xattrs) size += 6 + xattr.name.size() + xattr.value.size();
  return size;
}

void read_head(ByteReader& in, Record& record) {
  record.kind = static_cast<RecordKind>(in.le<uint8_t>());
  record.verdict = static_cast<Verdict>(in.le<uint8_t>());
  record.type = static_cast<FileType>(in.le<uint8_t>());
}

std::string read_name(ByteReader& in) { return std::string(in.bytes(in.le<uint8_t>())); }
std::string read_long(ByteReader& in) { return std::string(in.bytes(in.le<uint32_t>())); }

void read_stat(ByteReader& in, FileStat& stat) {
  stat.mode = in.le<uint32_t>();
  stat.size = in.le<uint64_t>();
  stat.mtime_ns = in.le<int64_t>();
  stat.ctime_ns = in.le<int64_t>();
  stat.btime_ns = in.le<int64_t>();
  stat.inode = in.le<uint64_t>();
  stat.uid = in.le<uint32_t>();
  stat.gid = in.le<uint32_t>();
}

void read_xattrs(ByteReader& in, std::vector<Xattr>& xattrs) {
  const auto count = in.le<uint32_t>();
  // The count is not trusted with memory: the loop ends with the bytes.
  for (uint32_t i = 0; i < count && !in.failed(); ++i) {
    Xattr xattr;
    xattr.name = in.bytes(in.le<uint16_t>());
    xattr.value = read_long(in);
    xattrs.push_back(std::move(xattr));
  }
}

void read_sections(ByteReader& in, uint32_t sections, Record& record) {
  record.wall_ns = sections & kSectionWall ? in.le<int64_t>() : record.time_ns;
  if (sections & kSectionRoot) record.root.value = in.le<uint64_t>();
  if (sections & kSectionEntry) {
    record.node.value = in.le<uint64_t>();
    record.parent.value = in.le<uint64_t>();
    record.name = read_name(in);
  }
  if (sections & kSectionStat) read_stat(in, record.stat);
  if (sections & kSectionNlink) record.stat.nlink = in.le<uint32_t>();
  if (sections & kSectionRdev) record.stat.rdev = in.le<uint64_t>();
  if (sections & kSectionHash) in.copy_to(record.hash.bytes.data(), record.hash.bytes.size());
  if (sections & kSectionContent) {
    record.content.kind = static_cast<ContentKind>(in.le<uint8_t>());
    if (record.content.kind != ContentKind::kEmpty) {
      in.copy_to(record.content.id.bytes.data(), record.content.id.bytes.size());
    }
  }
  if (sections & kSectionPrev) record.prev.value = in.le<uint64_t>();
  if (sections & kSectionFrom) {
    record.from_parent.value = in.le<uint64_t>();
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
  set_le(out.data(), static_cast<uint32_t>(out.size()));
  return out;
}

Result<Record> decode_record(std::string_view bytes) {
  if (bytes.size() < kHeadBytes) return damaged("it is shorter than its head");
  if (bytes.size() > kRecordBytesMax) return damaged("it is larger than any record may be");
  ByteReader in(bytes);
  if (in.le<uint32_t>() != bytes.size()) return damaged("its size is not the size it states");
  if (const auto version = in.le<uint8_t>(); version != kRecordVersion) {
    return make_error(ErrorCode::kUnsupported,
                      "a journal record has format version " + std::to_string(version) +
                          ", this program reads version " + std::to_string(kRecordVersion) +
                          "; it is damaged, or a newer holdfast wrote it");
  }
  Record record;
  read_head(in, record);
  const auto sections = in.le<uint32_t>();
  if (sections & ~kSectionsKnown) return damaged("it has sections that do not exist");
  record.flags = in.le<uint32_t>();
  record.seq.value = in.le<uint64_t>();
  record.time_ns = in.le<int64_t>();
  record.boottime_ns = in.le<int64_t>();
  record.boot = in.le<uint32_t>();
  if (in.le<uint32_t>() != 0) return damaged("its reserved bytes are not zero");
  in.copy_to(record.chain.data(), record.chain.size());
  read_sections(in, sections, record);
  if (in.failed()) return damaged("it ends inside a section");
  if (in.left() != 0) return damaged("bytes follow its last section");
  if (sections_of(record) != sections)
    return damaged("a section holds what it should have left out");
  if (const char* fault = fault_of(record)) return damaged(fault);
  return record;
}

Result<std::vector<std::string_view>> split_records(std::string_view batch) {
  std::vector<std::string_view> records;
  while (!batch.empty()) {
    const size_t size = batch.size() < kHeadBytes ? 0 : get_le<uint32_t>(batch.data());
    if (size < kHeadBytes || size > kRecordBytesMax || size > batch.size()) {
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
