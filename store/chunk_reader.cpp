#include <algorithm>
#include <utility>

#include "store/store.h"

namespace holdfast {

namespace {

struct CachedFrame {
  uint32_t pack = 0;
  uint32_t offset = 0;
  DecodedFrame frame;
  std::vector<uint32_t> starts;  // of each chunk in frame.raw
};

std::string hex(const ChunkId& id) { return to_hex(id.bytes.data(), id.bytes.size()); }

}  // namespace

// A handful of frames, the one used last in front. So few that a walk finds one faster than a map.
struct ChunkReader::Cache {
  explicit Cache(size_t count) : frames_max(std::max<size_t>(count, 1)) {}

  Result<const CachedFrame*> frame(const Store& store, const ChunkLocation& location) {
    const auto found = std::find_if(frames.begin(), frames.end(), [&](const auto& cached) {
      return cached->pack == location.pack && cached->offset == location.offset;
    });
    if (found != frames.end()) {
      std::rotate(frames.begin(), found, found + 1);
      return frames.front().get();
    }
    TRY_ASSIGN(const std::string bytes,
               store.read_frame(location.pack, location.offset, location.frame_bytes));
    auto decoded = decode_frame(bytes, decompressor);
    if (!decoded.ok()) {
      return decoded.error().in("the frame at offset " + std::to_string(location.offset) + " of " +
                                store.storage().name(location.pack));
    }
    if (frames.size() == frames_max) frames.pop_back();
    auto cached = std::make_unique<CachedFrame>();
    cached->pack = location.pack;
    cached->offset = location.offset;
    cached->frame = std::move(*decoded);
    uint32_t start = 0;
    for (const ChunkInFrame& chunk : cached->frame.chunks) {
      cached->starts.push_back(start);
      start += chunk.bytes;
    }
    frames.insert(frames.begin(), std::move(cached));
    return frames.front().get();
  }

  const size_t frames_max;
  Decompressor decompressor;
  std::vector<std::unique_ptr<CachedFrame>> frames;
};

ChunkReader::ChunkReader(const Store& store, const LmdbTxn& txn, size_t cached_frames)
    : store_(store), txn_(txn), cache_(std::make_unique<Cache>(cached_frames)) {}
ChunkReader::~ChunkReader() = default;

Result<std::string_view> ChunkReader::chunk(const ChunkId& id, bool verify_id) {
  return find(id, std::nullopt, verify_id);
}

Result<std::string_view> ChunkReader::find(const ChunkId& id, std::optional<ChunkKind> kind,
                                           bool verify_id) {
  TRY_ASSIGN(const auto location, store_.locate(txn_, id));
  if (!location) {
    return make_error(ErrorCode::kNotFound, "the store has no chunk " + hex(id) +
                                                " (any more): what needed it was pruned, or is "
                                                "lost, which holdfast check tells");
  }
  TRY_ASSIGN(const CachedFrame* cached, cache_->frame(store_, *location));
  const auto damaged = [&](const std::string& why) {
    return make_error(ErrorCode::kDamaged, "the frame at offset " +
                                               std::to_string(location->offset) + " of " +
                                               store_.storage().name(location->pack) + " " + why);
  };
  const size_t index = location->index;
  // The index knows half the id; this is where the other half is confirmed.
  if (index >= cached->frame.chunks.size() || cached->frame.chunks[index].id != id) {
    return damaged("does not hold chunk " + hex(id) +
                   " where the index says: run `holdfast check`, or rebuild the index");
  }
  const ChunkInFrame& chunk = cached->frame.chunks[index];
  if (kind && chunk.kind != *kind) return damaged("holds chunk " + hex(id) + " as another kind");
  const std::string_view bytes =
      std::string_view(cached->frame.raw).substr(cached->starts[index], chunk.bytes);
  if (verify_id && chunk_id(store_.info().key, bytes) != id) {
    return damaged("holds other bytes than those of chunk " + hex(id));
  }
  return bytes;
}

namespace {

struct OpenRecipe {
  Recipe recipe;
  size_t next = 0;
};

uint64_t total_bytes(const Recipe& recipe) {
  uint64_t sum = 0;
  for (const Part& part : recipe.parts) sum += part.bytes;
  return sum;
}

}  // namespace

Status ChunkReader::content(const ContentRef& ref,
                            const std::function<Status(std::string_view)>& data,
                            const std::function<Status(uint64_t)>& hole) {
  if (ref.kind == ContentKind::kEmpty) return {};
  if (ref.kind == ContentKind::kChunk) {
    TRY_ASSIGN(const std::string_view bytes, find(ref.id, ChunkKind::kData, false));
    return data(bytes);
  }
  if (ref.kind != ContentKind::kRecipe) {
    return make_error(ErrorCode::kNotFound, "the content was never stored");
  }
  // Each recipe is one level below the one that names it, so the first level bounds the stack.
  std::vector<OpenRecipe> stack;
  TRY_ASSIGN(Recipe top, recipe(ref.id));
  stack.push_back({std::move(top), 0});
  while (!stack.empty()) {
    OpenRecipe& open = stack.back();
    if (open.next == open.recipe.parts.size()) {
      stack.pop_back();
      continue;
    }
    const Part part = open.recipe.parts[open.next++];
    if (part.kind == PartKind::kHole) {
      TRY(hole(part.bytes));
    } else if (part.kind == PartKind::kData) {
      TRY(data_part(part, data));
    } else {
      const uint8_t level = open.recipe.level;
      TRY_ASSIGN(Recipe below, recipe(part.id));
      if (below.level + 1 != level || total_bytes(below) != part.bytes) {
        return make_error(ErrorCode::kDamaged,
                          "the recipe " + hex(part.id) + " does not fit the one that names it");
      }
      stack.push_back({std::move(below), 0});
    }
  }
  return {};
}

Status ChunkReader::chunks(const ContentRef& ref,
                           const std::function<Result<bool>(const ChunkId&, ChunkKind)>& visit) {
  if (ref.kind != ContentKind::kChunk && ref.kind != ContentKind::kRecipe) return {};
  const bool is_recipe = ref.kind == ContentKind::kRecipe;
  TRY_ASSIGN(const bool wanted, visit(ref.id, is_recipe ? ChunkKind::kRecipe : ChunkKind::kData));
  if (!is_recipe || !wanted) return {};
  std::vector<ChunkId> recipes{ref.id};
  while (!recipes.empty()) {
    const ChunkId id = recipes.back();
    recipes.pop_back();
    TRY_ASSIGN(const Recipe open, recipe(id));
    for (const Part& part : open.parts) {
      if (part.kind == PartKind::kHole) continue;
      const bool deeper = part.kind == PartKind::kRecipe;
      TRY_ASSIGN(const bool descend,
                 visit(part.id, deeper ? ChunkKind::kRecipe : ChunkKind::kData));
      if (deeper && descend) recipes.push_back(part.id);
    }
  }
  return {};
}

Result<Recipe> ChunkReader::recipe(const ChunkId& id) {
  TRY_ASSIGN(const std::string_view bytes, find(id, ChunkKind::kRecipe, false));
  auto decoded = decode_recipe(bytes);
  if (!decoded.ok()) return decoded.error().in("the recipe " + hex(id));
  return decoded;
}

Status ChunkReader::data_part(const Part& part,
                              const std::function<Status(std::string_view)>& data) {
  TRY_ASSIGN(const std::string_view bytes, find(part.id, ChunkKind::kData, false));
  if (bytes.size() != part.bytes) {
    return make_error(ErrorCode::kDamaged,
                      "chunk " + hex(part.id) + " has " + std::to_string(bytes.size()) +
                          " bytes where its recipe says " + std::to_string(part.bytes));
  }
  return data(bytes);
}

}  // namespace holdfast
