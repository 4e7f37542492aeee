#include "store/recipe.h"

#include <utility>

#include "base/bytes.h"

namespace holdfast {

namespace {

constexpr uint32_t kRecipeMagic = 0x43524648;  // "HFRC" in file order
constexpr uint16_t kRecipeFormat = 1;
constexpr size_t kRecipeHeaderBytes = 24;
constexpr size_t kHolePartBytes = 9;    // kind, bytes
constexpr size_t kChunkPartBytes = 41;  // kind, bytes, id
constexpr size_t kPartsMin = kRecipePartsAverage / 4;
constexpr size_t kPartsMax = kRecipePartsAverage * 4;
constexpr uint8_t kLevelMax = 8;
constexpr uint64_t kContentBytesMax = (uint64_t{1} << 63) - 1;

Error damaged_recipe(const char* why) { return make_error(ErrorCode::kDamaged, why); }

// Whether a block ends after this part. The id is a keyed hash, so any of its bits are random; with
// the least size this makes the average.
bool ends_block(const Part& part) {
  if (part.kind == PartKind::kHole) return false;
  return get_le<uint64_t>(reinterpret_cast<const char*>(part.id.bytes.data())) %
             (kRecipePartsAverage - kPartsMin) ==
         0;
}

bool block_is_full(const std::vector<Part>& parts) {
  if (parts.size() < kPartsMin) return false;
  return parts.size() >= kPartsMax || ends_block(parts.back());
}

uint64_t bytes_of(const std::vector<Part>& parts) {
  uint64_t sum = 0;
  for (const Part& part : parts) sum += part.bytes;
  return sum;
}

}  // namespace

std::string encode_recipe(const Recipe& recipe) {
  std::string out;
  out.reserve(kRecipeHeaderBytes + recipe.parts.size() * kChunkPartBytes);
  put_le<uint32_t>(out, kRecipeMagic);
  put_le<uint16_t>(out, kRecipeFormat);
  put_le<uint8_t>(out, recipe.level);
  put_le<uint8_t>(out, 0);
  put_le<uint32_t>(out, static_cast<uint32_t>(recipe.parts.size()));
  put_le<uint32_t>(out, 0);
  put_le<uint64_t>(out, bytes_of(recipe.parts));
  for (const Part& part : recipe.parts) {
    put_le<uint8_t>(out, static_cast<uint8_t>(part.kind));
    put_le<uint64_t>(out, part.bytes);
    if (part.kind == PartKind::kHole) continue;
    out.append(reinterpret_cast<const char*>(part.id.bytes.data()), part.id.bytes.size());
  }
  return out;
}

namespace {

Result<Part> decode_part(ByteReader& in, uint8_t level) {
  Part part;
  const uint8_t kind = in.le<uint8_t>();
  part.bytes = in.le<uint64_t>();
  if (kind > static_cast<uint8_t>(PartKind::kRecipe)) {
    return damaged_recipe("the recipe has a part of an unknown kind");
  }
  part.kind = static_cast<PartKind>(kind);
  if ((part.kind == PartKind::kRecipe) != (level > 0)) {
    return damaged_recipe("the recipe has a part that does not belong at its level");
  }
  if (part.kind != PartKind::kHole) in.copy_to(part.id.bytes.data(), part.id.bytes.size());
  if (in.failed()) return damaged_recipe("the recipe ends too soon");
  if (part.bytes == 0) return damaged_recipe("the recipe has an empty part");
  return part;
}

}  // namespace

Result<Recipe> decode_recipe(std::string_view bytes) {
  ByteReader in(bytes);
  if (in.le<uint32_t>() != kRecipeMagic) return damaged_recipe("this is not a recipe");
  if (const uint16_t format = in.le<uint16_t>(); format != kRecipeFormat) {
    return make_error(ErrorCode::kUnsupported, "the recipe has format " + std::to_string(format) +
                                                   "; this version of holdfast knows format 1");
  }
  Recipe recipe;
  recipe.level = in.le<uint8_t>();
  const uint8_t reserved = in.le<uint8_t>();
  const uint32_t count = in.le<uint32_t>();
  const uint32_t more_reserved = in.le<uint32_t>();
  const uint64_t total = in.le<uint64_t>();
  if (in.failed()) return damaged_recipe("the recipe ends within its header");
  if (reserved != 0 || more_reserved != 0) return damaged_recipe("reserved bytes are in use");
  if (recipe.level > kLevelMax) return damaged_recipe("the recipe's tree is too deep");
  if (count > kPartsMax) return damaged_recipe("the recipe claims to have too many parts");
  if (uint64_t{count} * kHolePartBytes > in.left())
    return damaged_recipe("the recipe ends too soon");
  recipe.parts.reserve(count);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) {
    TRY_ASSIGN(const Part part, decode_part(in, recipe.level));
    if (part.bytes > kContentBytesMax - sum)
      return damaged_recipe("the recipe's content is too long");
    sum += part.bytes;
    recipe.parts.push_back(part);
  }
  if (in.left() != 0) return damaged_recipe("the recipe has bytes after its last part");
  if (sum != total) return damaged_recipe("the recipe's parts do not add up to its size");
  return recipe;
}

RecipeBuilder::RecipeBuilder(std::function<ChunkId(std::string block)> emit)
    : emit_(std::move(emit)), levels_(1) {}

// A block is cut when the next part comes and not before: only then is the last hole complete.
void RecipeBuilder::add(const Part& part) {
  std::vector<Part>& parts = levels_[0];
  if (part.kind == PartKind::kHole && !parts.empty() && parts.back().kind == PartKind::kHole) {
    parts.back().bytes += part.bytes;
    return;
  }
  if (block_is_full(parts)) cut(0);
  levels_[0].push_back(part);
}

// Emits the block of `level` and enters it one level above, where that may fill a block in turn.
void RecipeBuilder::cut(size_t level) {
  Recipe recipe{static_cast<uint8_t>(level), std::move(levels_[level])};
  levels_[level].clear();
  const Part block{PartKind::kRecipe, bytes_of(recipe.parts), emit_(encode_recipe(recipe))};
  if (levels_.size() == level + 1) levels_.emplace_back();
  if (block_is_full(levels_[level + 1])) cut(level + 1);
  levels_[level + 1].push_back(block);
}

ChunkId RecipeBuilder::finish() {
  for (size_t level = 0;; ++level) {
    if (level + 1 < levels_.size()) {
      cut(level);
      continue;
    }
    if (level > 0 && levels_[level].size() == 1) return levels_[level].front().id;
    return emit_(encode_recipe({static_cast<uint8_t>(level), std::move(levels_[level])}));
  }
}

}  // namespace holdfast
