// Recipes have no checksum of their own: what decodes must encode to the same bytes.
#include <cstdint>
#include <string_view>

#include "store/recipe.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto recipe = decode_recipe(bytes);
  if (!recipe.ok()) return 0;
  uint64_t sum = 0;
  for (const Part& part : recipe->parts) {
    CHECK(part.bytes > 0);
    sum += part.bytes;
    CHECK(sum < uint64_t{1} << 63);
  }
  CHECK(recipe->parts.size() <= 4 * kRecipePartsAverage);
  CHECK(recipe->level <= 8);
  CHECK(encode_recipe(*recipe) == bytes);
  return 0;
}
