// The worked examples of docs/formats/ are the bytes that the code writes.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

// The bytes of the hex dump that follows the line `<!-- example: name -->`: an offset, then bytes.
std::string example(const std::string& file, const std::string& name) {
  std::ifstream in(std::string(HOLDFAST_SOURCE_DIR "/docs/formats/") + file);
  REQUIRE(in.is_open());
  std::string line;
  while (std::getline(in, line) && line != "<!-- example: " + name + " -->") {
  }
  REQUIRE(in.good());
  std::getline(in, line);  // the opening fence
  std::string bytes;
  while (std::getline(in, line) && line != "```") {
    std::istringstream words(line);
    std::string word;
    words >> word;
    REQUIRE(std::stoul(word, nullptr, 16) == bytes.size());
    while (words >> word) bytes.push_back(static_cast<char>(std::stoul(word, nullptr, 16)));
  }
  return bytes;
}

std::string dump(std::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size(); ++at) {
    char part[32];
    if (at % 16 == 0) {
      std::snprintf(part, sizeof part, "%s%04zx ", at ? "\n" : "", at);
      text += part;
    }
    std::snprintf(part, sizeof part, " %02x", static_cast<unsigned char>(bytes[at]));
    text += part;
  }
  return text;
}

RepositoryInfo example_repository() {
  RepositoryInfo info;
  for (size_t i = 0; i < info.id.size(); ++i) info.id[i] = static_cast<uint8_t>(i);
  for (size_t i = 0; i < info.key.size(); ++i) info.key[i] = static_cast<uint8_t>(0x20 + i);
  info.created_ns = 1'700'000'000'000'000'000;
  return info;
}

}  // namespace

TEST_CASE("the example of pack.md is what a store writes", "[format]") {
  TestStore test;
  test.info = example_repository();
  test.pack_bytes_target = 1;  // sealed at once
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{"hello"}}, "records"));
  const std::string& pack = test.pack_bytes(1);
  INFO(dump(pack));
  REQUIRE(example("pack.md", "pack") == pack);
}

TEST_CASE("the example of pack.md is read", "[format]") {
  TestStore test;
  test.info = example_repository();
  test.disk->files[1].bytes = example("pack.md", "pack");
  REQUIRE_OK(test.open());
  REQUIRE(test.batches() == std::vector<std::string>{"records"});
  REQUIRE(test.read("hello") == "hello");
  REQUIRE(test.findings(true).empty());
}

TEST_CASE("the example of recipe.md is what the code writes and reads", "[format]") {
  const ChunkId id = chunk_id(example_repository().key, "hello");
  const Recipe recipe{0, {{PartKind::kData, 5, id}, {PartKind::kHole, 4096, {}}}};
  const std::string bytes = encode_recipe(recipe);
  INFO(dump(bytes));
  const std::string documented = example("recipe.md", "recipe");
  REQUIRE(documented == bytes);
  REQUIRE(decode_recipe(documented)->parts == recipe.parts);
}
