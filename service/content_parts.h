// ContentParts: the parts of one content, in order, become what a record refers to: nothing, one
// chunk, or a recipe. One thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "journal/record.h"
#include "store/recipe.h"

namespace holdfast {

class ContentParts {
 public:
  // `store_block` stores a block of a recipe and returns its chunk id.
  explicit ContentParts(std::function<ChunkId(const std::string&)> store_block)
      : recipe_(std::move(store_block)) {}

  void add(const Part& part) {
    if (++parts_ == 1) {
      first_ = part;
      return;
    }
    if (parts_ == 2) recipe_.add(*first_);
    recipe_.add(part);
  }
  ContentRef finish() {
    if (parts_ == 0) return {ContentKind::kEmpty, {}};
    if (parts_ == 1 && first_->kind == PartKind::kData) return {ContentKind::kChunk, first_->id};
    if (parts_ == 1) recipe_.add(*first_);
    return {ContentKind::kRecipe, recipe_.finish()};
  }

 private:
  RecipeBuilder recipe_;
  std::optional<Part> first_;  // held back: a content of one chunk needs no recipe
  size_t parts_ = 0;
};

}  // namespace holdfast
