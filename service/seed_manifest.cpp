#include "service/seed_manifest.h"

#include <algorithm>
#include <climits>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/hash.h"
#include "journal/record.h"

namespace holdfast {

namespace {

constexpr uint32_t kManifestMagic = 0x4d534648;  // "HFSM"
constexpr uint16_t kManifestFormat = 1;
constexpr uint16_t kUnfinished = 1;
constexpr uint8_t kInImage = 1, kHasSeeded = 2, kHasReading = 4, kHasKept = 8;
constexpr size_t kEntryBytesMin = 6;  // what one entry takes at least

Error damaged_manifest(const std::string& what) {
  return make_error(ErrorCode::kDamaged, "the seed manifest is damaged: " + what);
}

bool is_type(uint8_t type) {
  return type >= static_cast<uint8_t>(FileType::kFile) &&
         type <= static_cast<uint8_t>(FileType::kBlock);
}

void put_hash(std::string& out, const ContentHash& hash) {
  out.append(reinterpret_cast<const char*>(hash.bytes.data()), hash.bytes.size());
}

void put_value(std::string& out, const SeedValue& value) {
  put_le(out, static_cast<uint8_t>(value.type));
  put_hash(out, value.hash);
}

SeedValue take_value(ByteReader& reader) {
  const auto type = reader.le<uint8_t>();
  SeedValue value;
  reader.copy_to(value.hash.bytes.data(), value.hash.bytes.size());
  if (!is_type(type)) {
    reader.fail();
    return value;
  }
  value.type = static_cast<FileType>(type);
  return value;
}

void put_reading(std::string& out, const SeedReading& reading) {
  put_le(out, reading.size);
  put_le(out, reading.mtime_ns);
  put_le(out, reading.ctime_ns);
  put_le(out, reading.inode);
  put_hash(out, reading.hash);
}

SeedReading take_reading(ByteReader& reader) {
  SeedReading reading;
  reading.size = reader.le<uint64_t>();
  reading.mtime_ns = reader.le<int64_t>();
  reading.ctime_ns = reader.le<int64_t>();
  reading.inode = reader.le<uint64_t>();
  reader.copy_to(reading.hash.bytes.data(), reading.hash.bytes.size());
  return reading;
}

size_t shared_bytes(std::string_view a, std::string_view b) {
  const size_t most = std::min(a.size(), b.size());
  size_t shared = 0;
  while (shared < most && a[shared] == b[shared]) ++shared;
  return shared;
}

void put_entry(std::string& out, const SeedEntry& entry, std::string_view before) {
  const size_t shared = shared_bytes(before, entry.path);
  put_le(out, static_cast<uint16_t>(shared));
  put_le(out, static_cast<uint16_t>(entry.path.size() - shared));
  out.append(entry.path, shared);
  uint8_t flags = 0;
  if (entry.in_image) flags |= kInImage;
  if (entry.seeded) flags |= kHasSeeded;
  if (entry.reading) flags |= kHasReading;
  if (entry.kept) flags |= kHasKept;
  put_le(out, flags);
  put_le(out, static_cast<uint8_t>(entry.earlier.size()));
  if (entry.seeded) {
    put_value(out, entry.seeded->value);
    put_le(out, entry.seeded->mode);
    put_le(out, entry.seeded->uid);
    put_le(out, entry.seeded->gid);
  }
  for (const SeedValue& value : entry.earlier) put_value(out, value);
  if (entry.reading) put_reading(out, *entry.reading);
  if (entry.kept) put_reading(out, *entry.kept);
}

// Everything that follows the path. False: not what an encoder writes.
bool take_rest(ByteReader& reader, SeedEntry& entry) {
  const auto flags = reader.le<uint8_t>();
  const auto earlier = reader.le<uint8_t>();
  if ((flags & ~(kInImage | kHasSeeded | kHasReading | kHasKept)) != 0 ||
      earlier > kSeedEarlierMax) {
    return false;
  }
  entry.in_image = (flags & kInImage) != 0;
  if ((flags & kHasSeeded) != 0) {
    Seeded seeded;
    seeded.value = take_value(reader);
    seeded.mode = reader.le<uint32_t>();
    seeded.uid = reader.le<uint32_t>();
    seeded.gid = reader.le<uint32_t>();
    if ((seeded.mode & ~kModeBits) != 0) return false;
    entry.seeded = seeded;
  }
  for (uint8_t i = 0; i < earlier && !reader.failed(); ++i) {
    const SeedValue value = take_value(reader);
    const bool double_one =
        std::find(entry.earlier.begin(), entry.earlier.end(), value) != entry.earlier.end();
    if (double_one || (entry.seeded && entry.seeded->value == value)) return false;
    entry.earlier.push_back(value);
  }
  if ((flags & kHasReading) != 0) {
    if (!entry.in_image) return false;
    entry.reading = take_reading(reader);
  }
  if ((flags & kHasKept) != 0) entry.kept = take_reading(reader);
  return !reader.failed();
}

}  // namespace

void remember_seen(SeedEntry& entry, const SeedValue& value) {
  if (entry.seeded && entry.seeded->value == value) return;
  if (std::find(entry.earlier.begin(), entry.earlier.end(), value) != entry.earlier.end()) return;
  entry.earlier.push_back(value);
  if (entry.earlier.size() > kSeedEarlierMax) entry.earlier.erase(entry.earlier.begin());
}

void remember_seeded(SeedEntry& entry, const Seeded& seeded) {
  const auto before = entry.seeded;
  entry.seeded = seeded;
  std::erase(entry.earlier, seeded.value);
  if (before) remember_seen(entry, before->value);
}

bool is_safe_relative_path(std::string_view path) {
  if (path.size() > UINT16_MAX) return false;
  for (size_t at = 0;;) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (!is_safe_name(path.substr(at, end - at))) return false;
    if (end == path.size()) return true;
    at = end + 1;
  }
}

std::string encode_seed_manifest(const SeedManifest& manifest) {
  std::string out;
  put_le(out, kManifestMagic);
  put_le(out, kManifestFormat);
  put_le(out, static_cast<uint16_t>(manifest.unfinished ? kUnfinished : 0));
  put_le(out, static_cast<uint64_t>(manifest.entries.size()));
  std::string_view before;
  for (const SeedEntry& entry : manifest.entries) {
    put_entry(out, entry, before);
    before = entry.path;
  }
  put_le(out, xxh3_64(out));
  return out;
}

Result<SeedManifest> decode_seed_manifest(std::string_view bytes) {
  constexpr size_t kSumBytes = 8;
  if (bytes.size() < kSumBytes) return damaged_manifest("it is too short");
  const std::string_view body = bytes.substr(0, bytes.size() - kSumBytes);
  ByteReader reader(body);
  if (reader.le<uint32_t>() != kManifestMagic) return damaged_manifest("it does not begin as one");
  if (const auto format = reader.le<uint16_t>(); format != kManifestFormat) {
    return make_error(ErrorCode::kUnsupported,
                      "the seed manifest has format " + std::to_string(format) +
                          ", this program knows 1; a newer holdfast wrote it");
  }
  if (get_le<uint64_t>(bytes.data() + body.size()) != xxh3_64(body)) {
    return damaged_manifest("its checksum does not fit");
  }
  SeedManifest manifest;
  const auto flags = reader.le<uint16_t>();
  const auto count = reader.le<uint64_t>();
  if ((flags & ~kUnfinished) != 0) return damaged_manifest("it has flags that nobody knows");
  if (count > reader.left() / kEntryBytesMin)
    return damaged_manifest("it is too short for its entries");
  manifest.unfinished = flags != 0;
  manifest.entries.reserve(count);
  std::string before;
  for (uint64_t i = 0; i < count; ++i) {
    SeedEntry entry;
    const auto shared = reader.le<uint16_t>();
    const auto rest = reader.bytes(reader.le<uint16_t>());
    if (reader.failed() || shared > before.size())
      return damaged_manifest("it ends inside an entry");
    entry.path = before.substr(0, shared);
    entry.path += rest;
    if (!is_safe_relative_path(entry.path)) return damaged_manifest("it has what is not a path");
    if ((i > 0 && entry.path <= before) || shared_bytes(before, entry.path) != shared) {
      return damaged_manifest("its paths are not in order");
    }
    if (!take_rest(reader, entry)) return damaged_manifest("an entry is not one");
    before = entry.path;
    manifest.entries.push_back(std::move(entry));
  }
  if (reader.failed() || reader.left() != 0) return damaged_manifest("it has bytes left over");
  return manifest;
}

}  // namespace holdfast
