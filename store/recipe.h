// Recipe: the parts that make up a content longer than one chunk (docs/formats/recipe.md).
//
// A recipe is itself stored as a chunk (ChunkKind::kRecipe). A content of very many parts becomes a
// tree: level 0 recipes list data chunks and holes, level n+1 recipes list recipes of level n.
// Blocks are cut by content, so that an edit in the middle of a long file writes few new blocks.
// Pure; one builder a thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace holdfast {

enum class PartKind : uint8_t { kData = 0, kHole = 1, kRecipe = 2 };

struct Part {
  PartKind kind = PartKind::kData;
  uint64_t bytes = 0;  // of content that it covers
  ChunkId id;          // none for a hole
  bool operator==(const Part&) const = default;
};

struct Recipe {
  uint8_t level = 0;
  std::vector<Part> parts;
};

inline constexpr size_t kRecipePartsAverage =
    1024;  // of a block; at least a quarter, at most four times that

std::string encode_recipe(const Recipe& recipe);
// Bounds: part kinds fit the level (data and holes at 0, recipes above), sizes > 0 and their sum <
// 2^63, at most 4 * kRecipePartsAverage parts, level <= 8.
Result<Recipe> decode_recipe(std::string_view bytes);

// Takes parts in order; emits blocks as they fill up, so memory stays bounded. `emit` stores a
// block and returns its chunk id. finish() returns the top recipe's id.
class RecipeBuilder {
 public:
  explicit RecipeBuilder(std::function<ChunkId(std::string block)> emit);
  void add(const Part& part);  // adjacent holes are merged
  ChunkId finish();

 private:
  void cut(size_t level);
  std::function<ChunkId(std::string)> emit_;
  std::vector<std::vector<Part>> levels_;
};

}  // namespace holdfast
