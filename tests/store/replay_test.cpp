// What a replay makes of packs that are not as they should be: what nobody was promised is cut off,
// and what may have been promised is never cut off in silence.
#include <algorithm>

#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

std::string content_of(size_t batch) {
  return batch % 2 ? random_text(batch, 700) : std::string(700, static_cast<char>('a' + batch));
}

// Batches 0 to count - 1, and the offset in pack 1 where each of them ends.
std::vector<uint64_t> write_batches(TestStore& test, size_t count) {
  REQUIRE_OK(test.open());
  std::vector<uint64_t> ends;
  for (size_t i = 0; i < count; ++i) {
    REQUIRE_OK(test.write({{content_of(i)}, {"second " + std::to_string(i)}}, std::to_string(i)));
    ends.push_back(test.store->end().offset);
  }
  return ends;
}

void require_batches(TestStore& test, size_t count) {
  const std::vector<std::string> batches = test.batches();
  REQUIRE(batches.size() == count);
  for (size_t i = 0; i < count; ++i) {
    REQUIRE(batches[i] == std::to_string(i));
    REQUIRE(test.read(content_of(i)) == content_of(i));
    REQUIRE(test.read("second " + std::to_string(i)) == "second " + std::to_string(i));
  }
  REQUIRE(test.findings(true).empty());
}

constexpr uint64_t kSmallPackBytes = 30'000;

// Ends a pack of kSmallPackBytes, so that the next batch begins another.
void fill_pack(TestStore& test, const std::string& records) {
  REQUIRE_OK(test.write({{random_text(1000, kSmallPackBytes)},
                         {content_of(std::stoul(records))},
                         {"second " + records}},
                        records));
}

void require_damaged(const Status& status, const std::string& words) {
  REQUIRE_FALSE(status.ok());
  INFO(status.error().message);
  REQUIRE(status.error().code == ErrorCode::kDamaged);
  REQUIRE(status.error().message.find(words) != std::string::npos);
}

}  // namespace

TEST_CASE("an index that lags is brought up to date", "[replay]") {
  TestStore test;
  write_batches(test, 3);
  test.close();
  test.save_index();
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{content_of(3)}, {"second 3"}}, "3"));
  test.restore_index();
  REQUIRE_OK(test.open());
  REQUIRE(test.replayed == 1);
  REQUIRE(test.store->replay_notes().empty());
  require_batches(test, 4);
}

TEST_CASE("a last batch that is cut short anywhere is cut off", "[replay]") {
  const bool rebuild = GENERATE(true, false);
  TestStore test;
  std::vector<uint64_t> ends = write_batches(test, 3);
  test.close();
  test.save_index();
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{content_of(3)}, {"second 3"}}, "3"));
  ends.push_back(test.store->end().offset);
  const std::string whole = test.pack_bytes(1);
  const uint64_t step = rebuild ? 13 : 1;  // a rebuild is the slower of the two
  for (uint64_t size = ends[2]; size <= ends[3]; size += size + step > ends[3] ? 1 : step) {
    INFO("cut at " << size);
    rebuild ? test.lose_index() : test.restore_index();
    test.pack_bytes(1) = whole.substr(0, size);
    REQUIRE_OK(test.open());
    const size_t left = size == ends[3] ? 4 : 3;
    REQUIRE(test.store->end() == Position{1, ends[left - 1]});
    REQUIRE(test.pack_bytes(1).size() == ends[left - 1]);
    REQUIRE(test.store->replay_notes().size() == (size > ends[2] && left == 3 ? 1 : 0));
    if (size % 64 != 0 && left == 3) continue;  // the rest is the same each time
    require_batches(test, left);
    REQUIRE_OK(
        test.write({{content_of(left)}, {"second " + std::to_string(left)}}, std::to_string(left)));
    require_batches(test, left + 1);
  }
}

TEST_CASE("a first batch that is cut short anywhere leaves nothing", "[replay]") {
  TestStore test;
  const uint64_t end = write_batches(test, 1).back();
  const std::string whole = test.pack_bytes(1);
  for (uint64_t size = 0; size < end; ++size) {
    test.lose_index();
    test.disk->files[1].bytes = whole.substr(0, size);
    REQUIRE_OK(test.open());
    REQUIRE(test.disk->files.empty());
    REQUIRE(test.store->end() == Position{1, kPackHeaderBytes});
  }
  REQUIRE_OK(test.write({{content_of(0)}, {"second 0"}}, "0"));
  require_batches(test, 1);
}

TEST_CASE("garbage after the last batch is cut off", "[replay]") {
  const bool rebuild = GENERATE(false, true);
  TestStore test;
  const uint64_t end = write_batches(test, 2).back();
  const std::string whole = test.pack_bytes(1);
  for (const std::string& tail :
       {std::string("x"), std::string(100'000, '\0'), random_text(1, 3'000'000),
        make_frame(test.info.key, {"a frame of no batch"}).bytes,
        // A copy of an earlier batch, journal frame and all, is no batch in another place.
        whole.substr(kPackHeaderBytes), "x" + whole.substr(kPackHeaderBytes)}) {
    test.close();
    test.pack_bytes(1) = whole + tail;
    if (rebuild) test.lose_index();
    REQUIRE_OK(test.open());
    REQUIRE(test.pack_bytes(1) == whole);
    REQUIRE(test.store->end().offset == end);
    require_batches(test, 2);
  }
}

TEST_CASE("damage before a complete batch is never cut off", "[replay]") {
  TestStore test;
  const std::vector<uint64_t> ends = write_batches(test, 3);
  const std::string whole = test.pack_bytes(1);
  for (uint64_t at = 0; at < ends[1]; ++at) {
    INFO("flipped byte " << at);
    test.lose_index();
    test.pack_bytes(1) = whole;
    test.pack_bytes(1)[at] = static_cast<char>(~whole[at]);
    require_damaged(test.open(), "memory-1");
    REQUIRE(test.pack_bytes(1).size() == whole.size());  // nothing was cut off
    REQUIRE_FALSE(test.store->roll_back().ok());         // and nothing can be written
  }
}

TEST_CASE("damage within a last batch is not cut off in a rebuild", "[replay]") {
  TestStore test;
  const std::vector<uint64_t> ends = write_batches(test, 2);
  test.lose_index();
  test.pack_bytes(1)[ends[0] + 60] ^= 1;  // a data frame; the journal frame after it is sound
  require_damaged(test.open(), "offset " + std::to_string(ends[0]));
}

TEST_CASE("a half written last batch is cut off where the index lags at most one commit",
          "[replay]") {
  TestStore test;
  write_batches(test, 2);
  test.close();
  test.save_index();
  REQUIRE_OK(test.open());
  const bool one_before = GENERATE(false, true);
  if (one_before) REQUIRE_OK(test.write({{content_of(2)}, {"second 2"}}, "2"));
  const Position start = test.store->end();
  REQUIRE_OK(test.write({{"torn", random_text(9, 9000)}}, "torn"));
  test.restore_index();
  const size_t at = start.offset + GENERATE(size_t{0}, size_t{60}, size_t{5000});
  std::string& bytes = test.pack_bytes(1);
  std::fill_n(bytes.begin() + static_cast<long>(at), 100, '\0');
  REQUIRE_OK(test.open());
  REQUIRE(test.store->end() == start);
  REQUIRE(test.store->replay_notes().size() == 2);
  REQUIRE_FALSE(test.has("torn"));
  require_batches(test, one_before ? 3 : 2);
}

TEST_CASE("the last batch is not cut off where others were replayed before it", "[replay]") {
  TestStore test;
  write_batches(test, 1);
  test.close();
  test.save_index();
  REQUIRE_OK(test.open());
  for (const char* records : {"1", "2"}) REQUIRE_OK(test.write({{records}}, records));
  const uint64_t start = test.store->end().offset;
  REQUIRE_OK(test.write({{"3"}}, "3"));
  test.restore_index();
  test.pack_bytes(1)[start + 60] ^= 1;
  require_damaged(test.open(), "complete batch after it");
}

TEST_CASE("content that looks like a batch is not taken for one", "[replay]") {
  // An uploader stores copies of frames, with good checksums; then a batch of theirs is torn.
  TestStore test;
  write_batches(test, 1);
  Compressor compressor(1);
  std::string crafted = random_text(3, 100'000);  // keeps the frame from being compressed
  for (int i = 0; i < 50; ++i) {
    crafted += encode_frame(FrameType::kJournal, {}, random_text(i, 200), compressor);
    crafted += encode_frame(FrameType::kFooter, {}, random_text(i, 200), compressor);
    crafted += test.pack_bytes(1);
  }
  const uint64_t start = test.store->end().offset;
  test.close();
  test.save_index();
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{crafted}}, "crafted"));
  const std::string whole = test.pack_bytes(1);
  for (const bool header_survives : {true, false}) {
    test.restore_index();
    test.pack_bytes(1) = whole.substr(0, whole.size() - 100);
    if (!header_survives)
      std::fill_n(test.pack_bytes(1).begin() + static_cast<long>(start), 60, '\0');
    REQUIRE_OK(test.open());
    require_batches(test, 1);
  }
}

TEST_CASE("a pack that lost bytes which the index knows is damaged", "[replay]") {
  TestStore test;
  const std::vector<uint64_t> ends = write_batches(test, 2);
  test.close();
  test.pack_bytes(1).resize(ends[1] - 1);
  require_damaged(test.open(),
                  "the index knows of batches up to offset " + std::to_string(ends[1]));
  test.disk->files.clear();
  require_damaged(test.open(), "memory-1 is missing");
}

TEST_CASE("several packs", "[replay]") {
  TestStore test;
  test.pack_bytes_target = kSmallPackBytes;
  REQUIRE_OK(test.open());
  for (size_t i = 0; i < 3; ++i) fill_pack(test, std::to_string(i));
  REQUIRE_OK(test.write({{content_of(3)}, {"second 3"}}, "3"));
  REQUIRE(test.disk->files.size() == 4);
  test.close();
  auto& files = test.disk->files;

  SECTION("rebuild") {
    test.lose_index();
    REQUIRE_OK(test.open());
    REQUIRE(test.replayed == 4);
    require_batches(test, 4);
  }
  SECTION("a missing pack stops a rebuild") {
    const uint32_t gone = GENERATE(1u, 2u, 3u);
    files.erase(gone);
    test.lose_index();
    require_damaged(test.open(), "memory-" + std::to_string(gone) + " is missing");
  }
  SECTION("a missing pack that the index knows is a finding") {
    files.erase(GENERATE(1u, 2u, 3u));
    REQUIRE_OK(test.open());
    REQUIRE(test.replayed == 0);
    REQUIRE(test.findings(false).size() == 2);
    REQUIRE_OK(test.write({{"goes on"}}, "4"));
  }
  SECTION("the last pack is missing") {
    files.erase(4);
    require_damaged(test.open(), "memory-4 is missing");
  }
  SECTION("packs that were swapped") {
    std::swap(files[2].bytes, files[3].bytes);
    REQUIRE_OK(test.open());  // the index knows them; a check tells
    const std::vector<std::string> findings = test.findings(false);
    REQUIRE(std::any_of(findings.begin(), findings.end(), [](const std::string& text) {
      return text.find("under the name of pack 2") != std::string::npos;
    }));
    test.lose_index();
    require_damaged(test.open(), "holds pack 3 under the name of pack 2");
  }
  SECTION("a pack of another repository") {
    TestStore other;
    other.info = test_repository(99);
    REQUIRE_OK(other.open());
    REQUIRE_OK(other.write({{"other"}}, "other"));
    files[4].bytes = other.pack_bytes(1);
    files[4].bytes.resize(200'000);
    require_damaged(test.open(), "another repository");
  }
  SECTION("a footer that was lost") {
    files[2].bytes.resize(files[2].bytes.size() - 1);
    test.lose_index();
    require_damaged(test.open(), "memory-2");
  }
  SECTION("a footer that was damaged") {
    const size_t back = GENERATE(1, 10, 16, 17, 60, 150);
    files[2].bytes[files[2].bytes.size() - back] ^= 1;
    test.lose_index();
    require_damaged(test.open(), "memory-2");
  }
  SECTION("an empty pack in the middle") {
    files[3].bytes.clear();
    test.lose_index();
    require_damaged(test.open(), "memory-3");
  }
}

TEST_CASE("the last journal frame of a sealed pack cannot be cut off", "[replay]") {
  TestStore test;
  test.pack_bytes_target = kSmallPackBytes;
  REQUIRE_OK(test.open());
  fill_pack(test, "0");
  const auto txn_position = [&] {
    auto txn = test.env->begin_read();
    auto location = test.store->locate(**txn, chunk_id(test.info.key, "second 0"));
    return **location;
  }();
  test.lose_index();
  test.pack_bytes(1)[txn_position.offset + txn_position.frame_bytes + 50] ^=
      1;  // the journal frame
  require_damaged(test.open(), "complete batch after it");
}

TEST_CASE("a torn footer is cut off and the pack sealed later", "[replay]") {
  const bool rebuild = GENERATE(false, true);
  TestStore test;
  test.pack_bytes_target = kSmallPackBytes;
  REQUIRE_OK(test.open());
  fill_pack(test, "0");
  const std::string whole = test.pack_bytes(1);
  for (const size_t lost : {1, 16, 17, 50, 80, 100}) {
    test.close();
    if (rebuild) test.lose_index();
    test.pack_bytes(1) = whole.substr(0, whole.size() - lost);
    REQUIRE_OK(test.open());
    REQUIRE(test.store->end().pack == 1);
  }
  REQUIRE_OK(test.write({{content_of(1)}, {"second 1"}}, "1"));
  REQUIRE_OK(test.write({{content_of(2)}, {"second 2"}}, "2"));
  REQUIRE(test.disk->files.size() == 2);  // sealed before batch 1 was begun
  require_batches(test, 3);
}

TEST_CASE("a pack of a newer format is refused and left alone", "[replay]") {
  TestStore test;
  write_batches(test, 2);
  std::string& bytes = test.pack_bytes(1);
  const std::string whole = bytes;
  SECTION("pack") {
    bytes[8] = 2;
    set_le<uint64_t>(bytes.data() + 120, xxh3_64(std::string_view(bytes).substr(0, 120)));
  }
  SECTION("frame") {
    bytes[kPackHeaderBytes + 6] = 2;
    set_le<uint64_t>(bytes.data() + kPackHeaderBytes + 40,
                     xxh3_64(std::string_view(bytes).substr(kPackHeaderBytes, 40)));
  }
  const std::string newer = bytes;
  test.lose_index();
  const Status status = test.open();
  REQUIRE_FALSE(status.ok());
  REQUIRE(status.error().code == ErrorCode::kUnsupported);
  REQUIRE(status.error().message.find("format 2") != std::string::npos);
  REQUIRE(test.pack_bytes(1) == newer);
}

TEST_CASE("a disk that cannot be read is not taken for damage", "[replay]") {
  TestStore test;
  write_batches(test, 2);
  const std::string whole = test.pack_bytes(1);
  test.lose_index();
  test.disk->fail_reads(EIO);
  const Status status = test.open();
  REQUIRE_FALSE(status.ok());
  REQUIRE(status.error().sys_errno == EIO);
  REQUIRE(test.pack_bytes(1) == whole);
  test.disk->fail_reads(0);
  REQUIRE_OK(test.open());
  require_batches(test, 2);
}

TEST_CASE("a batch that the journal refuses stops the replay", "[replay]") {
  TestStore test;
  write_batches(test, 3);
  test.lose_index();
  REQUIRE_OK(test.open_unreplayed());
  size_t calls = 0;
  const auto result = test.store->replay([&](WriteTxn&, std::string_view records) -> Status {
    ++calls;
    if (records == "1") return make_error(ErrorCode::kDamaged, "the chain does not fit");
    return {};
  });
  REQUIRE_FALSE(result.ok());
  REQUIRE(result.error().message == "the chain does not fit");
  REQUIRE(calls == 2);
  REQUIRE(test.has("second 0"));
  REQUIRE_FALSE(test.has("second 1"));
}
