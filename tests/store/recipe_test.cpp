// Recipes: bytes, bounds, and the tree of blocks.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "base/bytes.h"
#include "store/recipe.h"
#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

Part data_part(uint64_t number, uint64_t bytes = 1000) {
  return {PartKind::kData, bytes, chunk_id({}, std::to_string(number))};
}
Part hole(uint64_t bytes) { return {PartKind::kHole, bytes, {}}; }

// Blocks by id, as a store would keep them.
struct Blocks {
  std::map<ChunkId, std::string> by_id;
  ChunkId emit(std::string block) {
    const ChunkId id = chunk_id({}, block);
    by_id[id] = std::move(block);
    return id;
  }
  ChunkId build(const std::vector<Part>& parts) {
    RecipeBuilder builder([this](std::string block) { return emit(std::move(block)); });
    for (const Part& part : parts) builder.add(part);
    return builder.finish();
  }
  // All parts of level 0 below `id`, with every rule of the tree checked on the way.
  std::vector<Part> leaves(const ChunkId& id) const {
    const auto recipe = decode_recipe(by_id.at(id));
    REQUIRE_OK(recipe);
    if (recipe->level == 0) return recipe->parts;
    std::vector<Part> all;
    for (const Part& part : recipe->parts) {
      uint64_t sum = 0;
      REQUIRE(decode_recipe(by_id.at(part.id))->level + 1 == recipe->level);
      for (const Part& leaf : leaves(part.id)) {
        sum += leaf.bytes;
        all.push_back(leaf);
      }
      REQUIRE(sum == part.bytes);
    }
    return all;
  }
};

}  // namespace

TEST_CASE("recipes come back", "[recipe]") {
  const Recipe recipe{0, {data_part(1), hole(1ull << 62), data_part(2, 1)}};
  const auto decoded = decode_recipe(encode_recipe(recipe));
  REQUIRE_OK(decoded);
  REQUIRE(decoded->level == 0);
  REQUIRE(decoded->parts == recipe.parts);
  Part above = data_part(3);
  above.kind = PartKind::kRecipe;
  REQUIRE(decode_recipe(encode_recipe({8, {above}}))->parts == std::vector<Part>{above});
}

TEST_CASE("recipes that break a rule are rejected", "[recipe]") {
  Part recipe = data_part(1);
  recipe.kind = PartKind::kRecipe;
  Part unknown = data_part(1);
  unknown.kind = static_cast<PartKind>(3);
  const std::vector<Recipe> bad{
      {0, {recipe}},
      {1, {data_part(1)}},
      {1, {hole(1)}},
      {0, {unknown}},
      {9, {recipe}},
      {0, {data_part(1, 0)}},
      {0, {hole(0)}},
      {0, {hole((1ull << 63) - 1), data_part(1, 1)}},
      {0, {hole(UINT64_MAX), data_part(1, 2)}},
      {0, std::vector<Part>(4 * kRecipePartsAverage + 1, data_part(1))},
  };
  for (const Recipe& one : bad) {
    REQUIRE(decode_recipe(encode_recipe(one)).error().code == ErrorCode::kDamaged);
  }
  REQUIRE_OK(decode_recipe(encode_recipe({0, {hole((1ull << 63) - 1)}})));
  REQUIRE_OK(
      decode_recipe(encode_recipe({0, std::vector<Part>(4 * kRecipePartsAverage, data_part(1))})));
}

TEST_CASE("every truncation of a recipe is rejected", "[recipe]") {
  const std::string good = encode_recipe({0, {data_part(1), hole(5), data_part(2)}});
  for (size_t size = 0; size < good.size(); ++size) {
    REQUIRE_FALSE(decode_recipe(std::string_view(good).substr(0, size)).ok());
  }
  REQUIRE_FALSE(decode_recipe(good + 'x').ok());
  std::string newer = good;
  newer[4] = 2;
  REQUIRE(decode_recipe(newer).error().code == ErrorCode::kUnsupported);
  std::string many = good;
  set_le<uint32_t>(many.data() + 8, UINT32_MAX);
  REQUIRE_FALSE(decode_recipe(many).ok());
}

TEST_CASE("a short content has one recipe", "[recipe]") {
  Blocks blocks;
  const std::vector<Part> parts{data_part(1), hole(7), data_part(2)};
  REQUIRE(blocks.leaves(blocks.build(parts)) == parts);
  REQUIRE(blocks.by_id.size() == 1);
}

TEST_CASE("adjacent holes are one", "[recipe]") {
  Blocks blocks;
  const ChunkId id = blocks.build({hole(1), hole(2), data_part(1), hole(3), hole(4), hole(5)});
  REQUIRE(blocks.leaves(id) == std::vector<Part>{hole(3), data_part(1), hole(12)});
  std::vector<Part> many;  // also where a block would end at its largest size
  for (uint64_t i = 0; i < 10'000; ++i) many.push_back(i % 2 ? hole(1) : data_part(0));
  for (uint64_t i = 0; i < 10'000; ++i) many.push_back(hole(1));
  const std::vector<Part> leaves = blocks.leaves(blocks.build(many));
  REQUIRE(leaves.size() == 10'000);
  REQUIRE(leaves.back() == hole(10'001));
}

TEST_CASE("a content of more than a million parts is a tree", "[recipe]") {
  constexpr uint64_t kParts = 1'100'000;
  const bool cuts_early = GENERATE(false, true);  // ids that end a block as soon as one may end
  std::vector<Part> parts;
  for (uint64_t i = 0; i < kParts; ++i) {
    Part part = data_part(0, i % 1000 + 1);
    const uint64_t random = i * 0x9e3779b97f4a7c15;
    const uint64_t start = cuts_early ? random / 768 * 768 : random;
    set_le<uint64_t>(reinterpret_cast<char*>(part.id.bytes.data()), start);
    parts.push_back(part);
  }
  Blocks blocks;
  const ChunkId id = blocks.build(parts);
  REQUIRE(blocks.leaves(id) == parts);
  if (cuts_early) {
    REQUIRE(decode_recipe(blocks.by_id.at(id))->level == 2);
    REQUIRE(blocks.by_id.size() > kParts / (kRecipePartsAverage / 4));
  } else {
    REQUIRE(decode_recipe(blocks.by_id.at(id))->level >= 1);
    REQUIRE(blocks.by_id.size() > kParts / (2 * kRecipePartsAverage));
    REQUIRE(blocks.by_id.size() < 2 * kParts / kRecipePartsAverage);
  }
}

TEST_CASE("an edit of a long content makes few new blocks", "[recipe]") {
  std::vector<Part> parts;
  for (uint64_t i = 0; i < 100'000; ++i) parts.push_back(data_part(i));
  Blocks blocks;
  blocks.build(parts);
  const size_t before = blocks.by_id.size();
  parts.insert(parts.begin() + 50'000, data_part(1'000'000));
  parts.erase(parts.begin() + 20'000);
  REQUIRE(blocks.leaves(blocks.build(parts)) == parts);
  REQUIRE(blocks.by_id.size() <= before + 10);
}

TEST_CASE("the same part over and over still makes blocks", "[recipe]") {
  for (uint64_t number = 0; number < 3; ++number) {
    Blocks blocks;
    const std::vector<Part> parts(50'000, data_part(number));
    REQUIRE(blocks.leaves(blocks.build(parts)) == parts);
    REQUIRE(blocks.by_id.size() <= 4);
  }
}
