// Frames: what goes in comes out, and nothing else does.
#include <catch2/catch.hpp>

#include "base/bytes.h"
#include "store/frame.h"
#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

const ChunkKey kKey = test_repository().key;

// Puts the right checksum under a header that was changed.
void fix_header(std::string& frame) {
  set_le<uint64_t>(frame.data() + 40, xxh3_64(std::string_view(frame).substr(0, 40)));
}
void fix_body(std::string& frame) {
  set_le<uint64_t>(frame.data() + 24, xxh3_64(std::string_view(frame).substr(kFrameHeaderBytes)));
  fix_header(frame);
}

ErrorCode decode_error(const std::string& frame) {
  Decompressor decompressor;
  const auto decoded = decode_frame(frame, decompressor);
  const auto table = decode_frame_table(frame);
  REQUIRE_FALSE(decoded.ok());
  if (!table.ok()) REQUIRE(table.error().code == decoded.error().code);
  return decoded.error().code;
}

}  // namespace

TEST_CASE("frames come back", "[frame]") {
  Compressor compressor(1);
  Decompressor decompressor;
  const std::string text =
      GENERATE(std::string(), std::string("a"), std::string(100'000, 'b'), random_text(1, 300'000),
               std::string(200'000, 'c') + random_text(2, 100));
  SECTION("data") {
    const std::string other(1000, 'o');
    const std::vector<ChunkInFrame> chunks{
        {chunk_id(kKey, text), static_cast<uint32_t>(text.size()), ChunkKind::kData},
        {chunk_id(kKey, other), 1000, ChunkKind::kRecipe}};
    const std::string bytes = encode_frame(FrameType::kData, chunks, text + other, compressor);
    const auto frame = decode_frame(bytes, decompressor);
    REQUIRE_OK(frame);
    REQUIRE(frame->raw == text + other);
    REQUIRE(frame->header.entries == 2);
    REQUIRE(frame->header.frame_bytes() == bytes.size());
    const auto table = decode_frame_table(bytes);
    REQUIRE_OK(table);
    for (size_t i = 0; i < chunks.size(); ++i) {
      for (const auto& decoded : {frame->chunks[i], (*table)[i]}) {
        REQUIRE(decoded.id == chunks[i].id);
        REQUIRE(decoded.bytes == chunks[i].bytes);
        REQUIRE(decoded.kind == chunks[i].kind);
      }
    }
  }
  SECTION("journal and footer") {
    for (const FrameType type : {FrameType::kJournal, FrameType::kFooter}) {
      const std::string bytes = encode_frame(type, {}, text, compressor);
      const auto frame = decode_frame(bytes, decompressor);
      REQUIRE_OK(frame);
      REQUIRE(frame->header.type == type);
      REQUIRE(frame->raw == text);
      REQUIRE(frame->chunks.empty());
    }
  }
}

TEST_CASE("only what compresses is compressed", "[frame]") {
  Compressor compressor(1);
  std::string out = "untouched";
  REQUIRE_FALSE(compressor.compress(random_text(1, 10'000), out));
  REQUIRE_FALSE(compressor.compress(random_text(1, 1'000'000), out));
  REQUIRE_FALSE(compressor.compress("", out));
  // The first 64 KiB speak for the rest.
  REQUIRE_FALSE(compressor.compress(random_text(1, 64 * 1024) + std::string(1'000'000, 'x'), out));
  // Just too little is saved: 2 % of compressible bytes among random ones.
  REQUIRE_FALSE(compressor.compress(random_text(2, 49'000) + std::string(1000, 'x'), out));
  REQUIRE(out == "untouched");
  REQUIRE(compressor.compress(random_text(2, 47'000) + std::string(3000, 'x'), out));
  REQUIRE(compressor.compress(std::string(1'000'000, 'x'), out));
  REQUIRE(out.size() < 1000);
  Decompressor decompressor;
  REQUIRE(*decompressor.decompress(out, 1'000'000) == std::string(1'000'000, 'x'));
  REQUIRE_FALSE(decompressor.decompress(out, 999'999).ok());
  REQUIRE_FALSE(decompressor.decompress(out, 1'000'001).ok());
  REQUIRE_FALSE(decompressor.decompress(out + out, 1'000'000).ok());
  REQUIRE_FALSE(decompressor.decompress("", 0).ok());
}

TEST_CASE("every flipped byte of a frame is noticed", "[frame]") {
  const NewFrame compressed = make_frame(kKey, {std::string(500, 'x'), "abc"});
  const NewFrame raw = make_frame(kKey, {random_text(1, 100), "abc"});
  for (const std::string& good : {compressed.bytes, raw.bytes}) {
    for (size_t at = 0; at < good.size(); ++at) {
      for (const int flip : {0x01, 0x80, 0xff}) {
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ flip);
        REQUIRE(decode_error(bad) == ErrorCode::kDamaged);
      }
    }
  }
}

TEST_CASE("every truncation and extension of a frame is noticed", "[frame]") {
  const std::string good = make_frame(kKey, {std::string(500, 'x'), "abc"}).bytes;
  for (size_t size = 0; size < good.size(); ++size) {
    REQUIRE(decode_error(good.substr(0, size)) == ErrorCode::kDamaged);
  }
  REQUIRE(decode_error(good + '\0') == ErrorCode::kDamaged);
}

TEST_CASE("frames that lie with good checksums are rejected", "[frame]") {
  const std::string good = make_frame(kKey, {std::string(500, 'x'), "abc"}).bytes;
  std::string bad = good;
  struct Lie {
    const char* what;
    size_t at;
    uint32_t value;
  };
  const Lie lie =
      GENERATE(Lie{"raw_bytes beyond the bound", 8, kFrameRawBytesMax + 1},
               Lie{"raw_bytes too large", 8, 504}, Lie{"raw_bytes too small", 8, 502},
               Lie{"stored larger than raw", 12, 5000}, Lie{"no entries", 16, 0},
               Lie{"too many entries", 16, 65536}, Lie{"huge entries", 16, UINT32_MAX},
               Lie{"reserved", 20, 1}, Lie{"reserved", 32, 1}, Lie{"size of a chunk", 48 + 32, 501},
               Lie{"size of a chunk", 48 + 32, UINT32_MAX}, Lie{"kind of a chunk", 48 + 36, 2},
               Lie{"reserved of a chunk", 48 + 36, 256});
  INFO(lie.what);
  set_le<uint32_t>(bad.data() + lie.at, lie.value);
  fix_body(bad);
  REQUIRE(decode_error(bad) == ErrorCode::kDamaged);
}

TEST_CASE("types and codecs that nobody knows are rejected", "[frame]") {
  const std::string good = make_frame(kKey, {std::string(500, 'x')}).bytes;
  for (const auto& [at, value] : {std::pair{4, 0}, {4, 4}, {4, 2}, {4, 3}, {5, 2}, {5, 0}}) {
    std::string bad = good;
    bad[static_cast<size_t>(at)] = static_cast<char>(value);
    fix_header(bad);
    REQUIRE(decode_error(bad) == ErrorCode::kDamaged);
  }
  std::string newer = good;
  newer[6] = 2;
  fix_header(newer);
  REQUIRE(decode_error(newer) == ErrorCode::kUnsupported);
}

TEST_CASE("a frame may have as many chunks as the index can count", "[frame]") {
  std::vector<ChunkInFrame> chunks(kFrameEntriesMax, ChunkInFrame{{}, 1, ChunkKind::kData});
  Compressor compressor(1);
  Decompressor decompressor;
  const std::string bytes =
      encode_frame(FrameType::kData, chunks, std::string(chunks.size(), 'x'), compressor);
  const auto frame = decode_frame(bytes, decompressor);
  REQUIRE_OK(frame);
  REQUIRE(frame->chunks.size() == kFrameEntriesMax);
}
