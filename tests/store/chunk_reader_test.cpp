// ChunkReader: contents of every kind, and every way in which a recipe can be wrong.
#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

struct Contents {
  TestStore test;
  std::vector<NewFrame> frames;

  ChunkId store_chunk(const std::string& bytes, ChunkKind kind = ChunkKind::kData) {
    frames.push_back(make_frame(test.info.key, {bytes}, kind));
    return frames.back().chunks.front().id;
  }
  ChunkId store_recipe(const Recipe& recipe) {
    return store_chunk(encode_recipe(recipe), ChunkKind::kRecipe);
  }
  void commit() {
    REQUIRE_OK(test.open());
    auto txn = test.env->begin_write();
    for (const NewFrame& frame : frames) REQUIRE_OK(test.store->append(**txn, frame));
    REQUIRE_OK(test.store->close_batch(**txn, ""));
    REQUIRE_OK((*txn)->commit());
    REQUIRE_OK(test.store->after_commit());
  }
  // The content with zeros for its holes.
  Result<std::string> read(const ContentRef& ref, size_t cached_frames = 2) {
    auto txn = test.env->begin_read();
    ChunkReader reader(*test.store, **txn, cached_frames);
    std::string all;
    TRY(reader.content(
        ref,
        [&](std::string_view bytes) {
          all += bytes;
          return Status();
        },
        [&](uint64_t size) {
          all.append(size, '\0');
          return Status();
        }));
    return all;
  }
};

}  // namespace

TEST_CASE("contents of every kind come back", "[reader]") {
  Contents contents;
  const std::string a = random_text(1, 5000);
  const std::string b(3000, 'b');
  const ChunkId id_a = contents.store_chunk(a);
  const ChunkId id_b = contents.store_chunk(b);
  const Part part_a{PartKind::kData, a.size(), id_a};
  const Part part_b{PartKind::kData, b.size(), id_b};
  const ChunkId flat =
      contents.store_recipe({0, {part_a, {PartKind::kHole, 10, {}}, part_b, part_a}});
  const uint64_t flat_bytes = 2 * a.size() + b.size() + 10;
  const std::string flat_text = a + std::string(10, '\0') + b + a;
  const Part part_flat{PartKind::kRecipe, flat_bytes, flat};
  const ChunkId tree = contents.store_recipe({1, {part_flat, part_flat}});
  const ChunkId empty = contents.store_recipe({0, {}});
  contents.commit();
  for (const size_t cached : {0, 1, 2, 8}) {
    REQUIRE(*contents.read({ContentKind::kEmpty, {}}, cached) == "");
    REQUIRE(*contents.read({ContentKind::kChunk, id_a}, cached) == a);
    REQUIRE(*contents.read({ContentKind::kRecipe, flat}, cached) == flat_text);
    REQUIRE(*contents.read({ContentKind::kRecipe, tree}, cached) == flat_text + flat_text);
    REQUIRE(*contents.read({ContentKind::kRecipe, empty}, cached) == "");
  }
  REQUIRE(contents.read({ContentKind::kNone, {}}).error().code == ErrorCode::kNotFound);
}

TEST_CASE("a deep tree comes back", "[reader]") {
  Contents contents;
  const ChunkId leaf = contents.store_chunk("leaf");
  Part part{PartKind::kData, 4, leaf};
  for (uint8_t level = 0; level <= 8; ++level) {
    const Recipe recipe{level, {part, part}};
    part = {PartKind::kRecipe, part.bytes * 2, contents.store_recipe(recipe)};
  }
  contents.commit();
  const auto text = contents.read({ContentKind::kRecipe, part.id});
  REQUIRE_OK(text);
  REQUIRE(text->size() == 4 * 512);
}

TEST_CASE("recipes that do not fit are damage", "[reader]") {
  Contents contents;
  const ChunkId data = contents.store_chunk("data");
  const ChunkId flat = contents.store_recipe({0, {{PartKind::kData, 4, data}}});
  const ChunkId tree = contents.store_recipe({1, {{PartKind::kRecipe, 4, flat}}});
  const std::vector<ChunkId> bad{
      contents.store_recipe({0, {{PartKind::kData, 5, data}}}),    // the chunk is shorter
      contents.store_recipe({0, {{PartKind::kData, 3, data}}}),    // and longer
      contents.store_recipe({0, {{PartKind::kData, 4, flat}}}),    // a recipe as data
      contents.store_recipe({1, {{PartKind::kRecipe, 4, data}}}),  // data as a recipe
      contents.store_recipe({1, {{PartKind::kRecipe, 5, flat}}}),  // covers another size
      contents.store_recipe({2, {{PartKind::kRecipe, 4, flat}}}),  // skips a level
      contents.store_recipe({1, {{PartKind::kRecipe, 4, tree}}}),  // stays on its level
      contents.store_chunk("not a recipe", ChunkKind::kRecipe),   data,
  };
  contents.commit();
  for (const ChunkId& id : bad) {
    REQUIRE(contents.read({ContentKind::kRecipe, id}).error().code == ErrorCode::kDamaged);
  }
  REQUIRE(contents.read({ContentKind::kChunk, flat}).error().code == ErrorCode::kDamaged);
}

TEST_CASE("what is missing or damaged is named", "[reader]") {
  Contents contents;
  const std::string text = random_text(1, 1000);
  const ChunkId id = contents.store_chunk(text);
  const ChunkId missing = chunk_id(contents.test.info.key, "missing");
  const ChunkId recipe = contents.store_recipe({0, {{PartKind::kData, 7, missing}}});
  contents.commit();
  const std::string hex = to_hex(missing.bytes.data(), missing.bytes.size());
  for (const ContentRef& ref : {ContentRef{ContentKind::kChunk, missing},
                                {ContentKind::kRecipe, missing},
                                {ContentKind::kRecipe, recipe}}) {
    const auto text_of = contents.read(ref);
    REQUIRE(text_of.error().code == ErrorCode::kNotFound);
    REQUIRE(text_of.error().message.find(hex) != std::string::npos);
  }
  contents.test.pack_bytes(1)[kPackHeaderBytes + 200] ^= 1;
  const auto damaged = contents.read({ContentKind::kChunk, id});
  REQUIRE(damaged.error().code == ErrorCode::kDamaged);
  REQUIRE(damaged.error().message.find("offset 128 of memory-1") != std::string::npos);
}

TEST_CASE("the callbacks' errors stop the reading", "[reader]") {
  Contents contents;
  const ChunkId data = contents.store_chunk("data");
  const ChunkId flat =
      contents.store_recipe({0, {{PartKind::kData, 4, data}, {PartKind::kHole, 4, {}}}});
  contents.commit();
  auto txn = contents.test.env->begin_read();
  ChunkReader reader(*contents.test.store, **txn);
  const auto fail = [](auto) -> Status { return make_error(ErrorCode::kInterrupted, "stop"); };
  const auto pass = [](auto) -> Status { return {}; };
  const ContentRef ref{ContentKind::kRecipe, flat};
  REQUIRE(reader.content(ref, fail, pass).error().message == "stop");
  REQUIRE(reader.content(ref, pass, fail).error().message == "stop");
  REQUIRE_OK(reader.content(ref, pass, pass));
}
