// check() finds what is wrong, says where, and is silent where nothing is.
#include <algorithm>

#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

void write_some(TestStore& test) {
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{"one", "two"}, {random_text(1, 1000)}}, "0"));
  REQUIRE_OK(test.write({{std::string(1000, 'x')}}, "1"));
}

bool any_has(const std::vector<std::string>& findings, const std::string& words) {
  return std::any_of(findings.begin(), findings.end(), [&](const std::string& finding) {
    return finding.find(words) != std::string::npos;
  });
}

}  // namespace

TEST_CASE("every flipped byte of a pack is found", "[check]") {
  TestStore test;
  write_some(test);
  const std::string whole = test.pack_bytes(1);
  for (size_t at = 0; at < whole.size(); ++at) {
    INFO("flipped byte " << at);
    test.pack_bytes(1)[at] = static_cast<char>(~whole[at]);
    const auto findings = test.findings(true);
    REQUIRE_FALSE(findings.empty());
    REQUIRE(any_has(findings, "memory-1"));
    static_cast<void>(test.findings(false));  // finds less, and must not fall over
    test.pack_bytes(1) = whole;
  }
  REQUIRE(test.findings(true).empty());
}

TEST_CASE("every truncation of a pack is found without reading the data", "[check]") {
  TestStore test;
  write_some(test);
  const std::string whole = test.pack_bytes(1);
  for (size_t size = 0; size < whole.size(); ++size) {
    test.pack_bytes(1) = whole.substr(0, size);
    REQUIRE(any_has(test.findings(false), "bytes where it had"));
  }
}

TEST_CASE("what is appended after the transaction began is no finding", "[check]") {
  TestStore test;
  test.pack_bytes_target = 30'000;
  write_some(test);
  auto txn = test.env->begin_read();
  REQUIRE_OK(test.write({{"later"}}, "2"));
  REQUIRE_OK(test.write({{random_text(2, 30'000)}}, "3"));  // the pack is sealed
  REQUIRE_OK(test.write({{"another pack"}}, "4"));
  size_t findings = 0;
  REQUIRE_OK(test.store->check(
      **txn, true, [&](const std::string&) { ++findings; },
      [](uint64_t, uint64_t) { return true; }));
  REQUIRE(findings == 0);
}

TEST_CASE("the progress comes to its end", "[check]") {
  TestStore test;
  test.pack_bytes_target = 12 << 20;
  write_some(test);
  std::vector<std::vector<std::string>> frames;
  for (uint64_t i = 0; i < 13; ++i) frames.push_back({random_text(i, 4 << 20)});
  REQUIRE_OK(test.write(frames, "2"));
  REQUIRE_OK(test.write({{"another pack"}}, "3"));
  auto txn = test.env->begin_read();
  uint64_t done = 0;
  uint64_t total = 0;
  size_t calls = 0;
  const auto progress = [&](uint64_t now, uint64_t all) {
    REQUIRE(now >= done);
    REQUIRE(now <= all);
    done = now;
    total = all;
    ++calls;
    return true;
  };
  REQUIRE_OK(test.store->check(
      **txn, true, [](const std::string&) {}, progress));
  REQUIRE(done == total);
  REQUIRE(total == test.pack_bytes(1).size() + test.pack_bytes(2).size());
  REQUIRE(calls > 10);
}

TEST_CASE("findings come in the order of the packs, however many workers read", "[check]") {
  TestStore test;
  test.pack_bytes_target = 300'000;
  REQUIRE_OK(test.open());
  for (uint64_t i = 0; i < 40; ++i) {
    // Of very different lengths, so that workers overtake each other.
    REQUIRE_OK(test.write({{random_text(i, i % 4 == 0 ? 200'000 : 500)}}, std::to_string(i)));
  }
  std::vector<std::string> expected;
  for (auto& [pack, file] : test.disk->files) {
    std::string& bytes = file.bytes;
    for (size_t at = kPackHeaderBytes; at + kFrameHeaderBytes < bytes.size();) {
      const auto header = decode_frame_header(std::string_view(bytes).substr(at));
      if (!header.ok()) break;
      if (header->type == FrameType::kData) {
        bytes[at + header->frame_bytes() - 1] ^= 1;
        expected.push_back("the pack memory-" + std::to_string(pack) + " at offset " +
                           std::to_string(at) +
                           ": 1 chunks are lost: the frame's checksum does not fit its bytes");
      }
      at += header->frame_bytes();
    }
  }
  REQUIRE(expected.size() == 40);
  REQUIRE(test.disk->files.size() > 5);
  for (int i = 0; i < 5; ++i) {
    std::vector<std::string> findings = test.findings(true);
    // Each pack ends with the chunks that it lacks, the store with those that the index has too
    // many.
    std::erase_if(findings, [](const std::string& text) {
      return text.find("not where the index says") != std::string::npos;
    });
    REQUIRE(findings == expected);
  }
}

TEST_CASE("a check that is stopped says so, and does not go on", "[check]") {
  TestStore test;
  test.pack_bytes_target = 12 << 20;
  REQUIRE_OK(test.open());
  for (uint64_t i = 0; i < 20; ++i) {
    REQUIRE_OK(test.write({{random_text(i, 2 << 20)}}, std::to_string(i)));
  }
  auto txn = test.env->begin_read();
  int calls = 0;
  const auto status = test.store->check(
      **txn, true, [](const std::string& text) { FAIL_CHECK(text); },
      [&](uint64_t, uint64_t) { return ++calls < 3; });
  REQUIRE_FALSE(status.ok());
  REQUIRE(status.error().code == ErrorCode::kInterrupted);
  REQUIRE(calls == 3);
}

TEST_CASE("an index that contradicts the packs is found", "[check]") {
  TestStore test;
  write_some(test);
  const Dbi chunks = *test.env->table("chunks");
  const ChunkId two = chunk_id(test.info.key, "two");
  auto txn = test.env->begin_write();
  SECTION("an entry too few") {
    REQUIRE_OK((*txn)->remove(chunks, chunk_index_key(two)));
    REQUIRE_OK((*txn)->commit());
    REQUIRE(any_has(test.findings(false), "the index lacks 1 chunks of memory-1, the first is " +
                                              to_hex(two.bytes.data(), two.bytes.size())));
  }
  SECTION("an entry too many") {
    const ChunkId none = chunk_id(test.info.key, "never stored");
    REQUIRE_OK((*txn)->put(chunks, chunk_index_key(none), encode_location({1, 128, 200, 0})));
    REQUIRE_OK((*txn)->commit());
    REQUIRE(any_has(test.findings(false), "1 chunks are not where the index says, in memory-1"));
    REQUIRE(test.read("never stored").find("damaged") == std::string::npos);
    REQUIRE(test.read("never stored").starts_with("error"));
  }
  SECTION("an entry that leads to another chunk") {
    auto location = decode_location(**(*txn)->get(chunks, chunk_index_key(two)));
    REQUIRE_OK(location);
    location->index = 0;
    REQUIRE_OK((*txn)->put(chunks, chunk_index_key(two), encode_location(*location)));
    REQUIRE_OK((*txn)->commit());
    REQUIRE(any_has(test.findings(false), "1 chunks are not where the index says"));
    REQUIRE(test.read("two").find("does not hold chunk") != std::string::npos);
  }
  SECTION("an entry that leads nowhere") {
    const ChunkLocation nowhere =
        GENERATE(ChunkLocation{1, 4'000'000'000, 100, 0}, ChunkLocation{9, 128, 100, 0},
                 ChunkLocation{1, 128, UINT32_MAX, 0}, ChunkLocation{1, 128, 3, 0});
    REQUIRE_OK((*txn)->put(chunks, chunk_index_key(two), encode_location(nowhere)));
    REQUIRE_OK((*txn)->commit());
    REQUIRE(any_has(test.findings(false), "1 chunks are not where the index says"));
    REQUIRE(test.read("two").starts_with("error"));
  }
  SECTION("an entry of the wrong size") {
    REQUIRE_OK((*txn)->put(chunks, chunk_index_key(two), "short"));
    REQUIRE_OK((*txn)->commit());
    REQUIRE(any_has(test.findings(false), "rebuild"));
    REQUIRE(test.read("two").starts_with("error"));
  }
}

TEST_CASE("a chunk whose bytes are not those of its id is found", "[check]") {
  TestStore test;
  REQUIRE_OK(test.open());
  NewFrame frame = make_frame(test.info.key, {"true"});
  Compressor compressor(1);
  frame.bytes = encode_frame(FrameType::kData, frame.chunks, "lies", compressor);
  {
    auto txn = test.env->begin_write();
    REQUIRE_OK(test.store->append(**txn, frame));
    REQUIRE_OK(test.store->close_batch(**txn, ""));
    REQUIRE_OK((*txn)->commit());
    REQUIRE_OK(test.store->after_commit());
  }
  REQUIRE(test.findings(false).empty());
  REQUIRE(any_has(test.findings(true), "are not those of its id"));
  REQUIRE(test.read("true").find("holds other bytes") != std::string::npos);
}

TEST_CASE("a disk that cannot be read is a finding", "[check]") {
  TestStore test;
  write_some(test);
  test.disk->fail_reads(EIO);
  REQUIRE(any_has(test.findings(true), "memory-1: Input/output error"));
  REQUIRE(test.read("two").find("Input/output error") != std::string::npos);
}

TEST_CASE("a pack that nobody knows is found", "[check]") {
  TestStore test;
  write_some(test);
  const Dbi packs = *test.env->table("packs");
  {
    auto txn = test.env->begin_write();
    REQUIRE_OK((*txn)->put(packs, pack_index_key(3), encode_pack_entry({200, false})));
    REQUIRE_OK((*txn)->commit());
  }
  test.disk->files[2].bytes = "stranger";
  test.disk->files[4].bytes = "perhaps just begun";
  const auto findings = test.findings(false);
  REQUIRE(any_has(findings, "does not know the pack memory-2"));
  REQUIRE(any_has(findings, "memory-3 is missing"));
  REQUIRE_FALSE(any_has(findings, "memory-4"));
}
