// SeedManifest: what is remembered of one directory that is seeded, and its bytes
// (docs/formats/seed-manifest.md). Values and pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "service/seed_rules.h"

namespace holdfast {

// What the image had when it was seeded.
struct Seeded {
  SeedValue value;
  uint32_t mode = 0, uid = 0, gid = 0;  // mode without type bits
  bool operator==(const Seeded&) const = default;
};

// A file as it was read: while its stamps are these, so is its content.
struct SeedReading {
  uint64_t size = 0;
  int64_t mtime_ns = 0, ctime_ns = 0;
  uint64_t inode = 0;
  ContentHash hash;
  bool operator==(const SeedReading&) const = default;
};

struct SeedEntry {
  std::string path;       // relative, bytes
  bool in_image = false;  // in the last run
  std::optional<Seeded> seeded;
  std::vector<SeedValue> earlier;      // oldest first, no doubles, without the seeded one
  std::optional<SeedReading> reading;  // of regular files that the image has
  std::optional<SeedReading> kept;     // of regular files of the volume, as the journal had them
  bool operator==(const SeedEntry&) const = default;
};

inline constexpr size_t kSeedEarlierMax = 64;

struct SeedManifest {
  bool unfinished = false;         // the run that wrote it had not ended
  std::vector<SeedEntry> entries;  // in byte order of their paths
  bool operator==(const SeedManifest&) const = default;
};

// The image has `value` here, and it becomes what was last seeded, or does not.
void remember_seeded(SeedEntry& entry, const Seeded& seeded);
void remember_seen(SeedEntry& entry, const SeedValue& value);

// Whether `path` can be a relative path: what keeps a damaged manifest inside DEST.
bool is_safe_relative_path(std::string_view path);

std::string encode_seed_manifest(const SeedManifest& manifest);
Result<SeedManifest> decode_seed_manifest(std::string_view bytes);  // kDamaged, kUnsupported

}  // namespace holdfast
