// The parts of a pack that are not frames: every byte counts, and so does the place.
#include "store/pack_format.h"
#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

PackHeader make_header() {
  const RepositoryInfo info = test_repository();
  return {kPackFormat, 77, info.id, info.created_ns, info.key};
}
const ChunkKey kKey = test_repository().key;

void fix_checksum(std::string& header) {
  set_le<uint64_t>(header.data() + 120, xxh3_64(std::string_view(header).substr(0, 120)));
}

}  // namespace

TEST_CASE("pack headers come back", "[format]") {
  const std::string bytes = encode_pack_header(make_header());
  REQUIRE(bytes.size() == kPackHeaderBytes);
  const auto header = decode_pack_header(bytes);
  REQUIRE_OK(header);
  REQUIRE(header->pack == 77);
  REQUIRE(header->repository_id == make_header().repository_id);
  REQUIRE(header->key == make_header().key);
  REQUIRE(header->repository_created_ns == make_header().repository_created_ns);
  REQUIRE_OK(check_pack_identity(*header, make_header()));
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string bad = bytes;
    bad[at] ^= 1;
    REQUIRE(decode_pack_header(bad).error().code == ErrorCode::kDamaged);
    REQUIRE(decode_pack_header(bytes.substr(0, at)).error().code == ErrorCode::kDamaged);
  }
}

TEST_CASE("pack headers of the future are refused", "[format]") {
  std::string bytes = encode_pack_header(make_header());
  const size_t at = GENERATE(8u, 72u, 73u, 74u, 75u);  // the format, and each algorithm
  bytes[at] = 9;
  fix_checksum(bytes);
  REQUIRE(decode_pack_header(bytes).error().code == ErrorCode::kUnsupported);
}

TEST_CASE("pack headers of others are refused in words", "[format]") {
  PackHeader other = make_header();
  std::string words;
  SECTION("repository") {
    other.repository_id[0] ^= 1;
    words = "another repository";
  }
  SECTION("number") {
    other.pack = 78;
    words = "holds pack 78 under the name of pack 77";
  }
  SECTION("key") {
    other.key[0] ^= 1;
    words = "another key";
  }
  const Status status = check_pack_identity(other, make_header());
  REQUIRE(status.error().code == ErrorCode::kDamaged);
  REQUIRE(status.error().message.find(words) != std::string::npos);
}

TEST_CASE("footers are bound to their place", "[format]") {
  const std::vector<FrameInPack> frames{{128, 100, FrameType::kData},
                                        {228, 60, FrameType::kJournal}};
  const std::string bytes = encode_footer(kKey, 3, 288, frames);
  REQUIRE(*decode_footer(kKey, 3, 288, bytes) == frames);
  REQUIRE_FALSE(decode_footer(kKey, 4, 288, bytes).ok());
  REQUIRE_FALSE(decode_footer(kKey, 3, 289, bytes).ok());
  REQUIRE_FALSE(decode_footer(test_repository(2).key, 3, 288, bytes).ok());
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string bad = bytes;
    bad[at] ^= 1;
    REQUIRE(decode_footer(kKey, 3, 288, bad).error().code == ErrorCode::kDamaged);
    REQUIRE_FALSE(decode_footer(kKey, 3, 288, bytes.substr(0, at)).ok());
  }
}

TEST_CASE("footers that make no sense are refused", "[format]") {
  using Frames = std::vector<FrameInPack>;
  const Frames bad = GENERATE(
      Frames{{127, 100, FrameType::kData}}, Frames{{128, 47, FrameType::kData}},
      Frames{{128, 100, FrameType::kFooter}},
      Frames{{128, 100, FrameType::kData}, {227, 60, FrameType::kData}},
      Frames{{128, 1000, FrameType::kData}}, Frames{{UINT32_MAX, UINT32_MAX, FrameType::kData}});
  REQUIRE_FALSE(decode_footer(kKey, 1, 1000, encode_footer(kKey, 1, 1000, bad)).ok());
}

TEST_CASE("trailers lead to the footer", "[format]") {
  const std::string bytes = encode_pack_trailer(1000);
  REQUIRE(bytes.size() == kPackTrailerBytes);
  REQUIRE(*decode_pack_trailer(bytes) == 1000);
  REQUIRE_FALSE(decode_pack_trailer(encode_pack_trailer(127)).ok());
  REQUIRE_FALSE(decode_pack_trailer(encode_pack_trailer(1ull << 32)).ok());
  REQUIRE_FALSE(decode_pack_trailer(bytes + "x").ok());
  REQUIRE_FALSE(decode_pack_trailer("x" + bytes.substr(1)).ok());
  REQUIRE_FALSE(decode_pack_trailer("").ok());
}

TEST_CASE("batches are bound to their place", "[format]") {
  const std::string bytes = encode_batch(kKey, 3, 500, {200, "records"});
  const auto batch = decode_batch(kKey, 3, 500, bytes);
  REQUIRE_OK(batch);
  REQUIRE(batch->first_offset == 200);
  REQUIRE(batch->records == "records");
  REQUIRE_FALSE(decode_batch(kKey, 4, 500, bytes).ok());
  REQUIRE_FALSE(decode_batch(kKey, 3, 501, bytes).ok());
  REQUIRE_FALSE(decode_batch(test_repository(2).key, 3, 500, bytes).ok());
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string bad = bytes;
    bad[at] ^= 1;
    REQUIRE_FALSE(decode_batch(kKey, 3, 500, bad).ok());
    REQUIRE_FALSE(decode_batch(kKey, 3, 500, bytes.substr(0, at)).ok());
  }
  REQUIRE_FALSE(decode_batch(kKey, 3, 500, encode_batch(kKey, 3, 500, {501, ""})).ok());
  REQUIRE_FALSE(decode_batch(kKey, 3, 500, encode_batch(kKey, 3, 500, {127, ""})).ok());
  REQUIRE(decode_batch(kKey, 3, 500, encode_batch(kKey, 3, 500, {500, ""}))->records.empty());
}
