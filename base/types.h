// The shared nouns: small strong types that every folder uses. Values only; no ownership, no I/O.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

namespace holdfast {

// A position in the journal: dense, increasing, starting at 1. 0 means "none".
struct Sequence {
  uint64_t value = 0;
  auto operator<=>(const Sequence&) const = default;
};
inline constexpr Sequence kLatest{UINT64_MAX};  // after all that there is, and will be

// One filesystem object over its life, through renames and hard links. 0 means "none"; the parent
// of every root directory is node 0.
struct NodeId {
  uint64_t value = 0;
  auto operator<=>(const NodeId&) const = default;
};

// Keyed BLAKE2b-256 of a chunk's bytes. All zero means "none".
struct ChunkId {
  std::array<uint8_t, 32> bytes{};
  auto operator<=>(const ChunkId&) const = default;
  bool is_zero() const { return *this == ChunkId{}; }
};

// XXH3-128 (seed 0) of a whole content, in the byte order that xxh128sum prints (canonical,
// big-endian).
struct ContentHash {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const ContentHash&) const = default;
};

// How a version's content is found in the store.
enum class ContentKind : uint8_t {
  kNone = 0,    // no content is stored (not a regular file, or it could not be captured)
  kEmpty = 1,   // zero bytes
  kChunk = 2,   // `id` is the one data chunk that holds all bytes
  kRecipe = 3,  // `id` is a recipe chunk (docs/formats/recipe.md)
};

struct ContentRef {
  ContentKind kind = ContentKind::kNone;
  ChunkId id;
  bool operator==(const ContentRef&) const = default;
  bool stored() const { return kind != ContentKind::kNone; }
};

enum class FileType : uint8_t { kFile = 1, kDir, kSymlink, kFifo, kSocket, kChar, kBlock };
const char* file_type_name(FileType type);     // "file", "dir", ... as the JSON contract has them
FileType file_type_of_mode(uint32_t st_mode);  // from S_IFMT bits

struct ChunkIdHash {
  size_t operator()(const ChunkId& id) const {
    size_t value;  // the id is a keyed hash already: any eight bytes are uniform
    std::memcpy(&value, id.bytes.data(), sizeof value);
    return value;
  }
};
struct NodeIdHash {
  size_t operator()(const NodeId& id) const { return std::hash<uint64_t>{}(id.value); }
};

std::string to_hex(const uint8_t* bytes, size_t size);

}  // namespace holdfast
