// What is saved of a pack with any byte flipped, or cut anywhere: every frame that is sound, no
// other, and a pack made of it that is whole.
#include "service/salvage.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>

#include "journal/record.h"
#include "service/damaged_dir.h"
#include "store/compaction.h"
#include "tests/store/store_fixture.h"

namespace holdfast {
namespace {

using test::random_text;

std::string record_bytes(uint64_t seq) {
  Record record;
  record.seq = Sequence{seq};
  record.kind = RecordKind::kService;
  record.note = "record " + std::to_string(seq);
  const auto encoded = encode_record(record);
  REQUIRE(encoded.ok());
  return *encoded;
}

// Log pack 1 with three batches of a data frame each, and its compacted form, on a real disk.
class Packs {
 public:
  Packs() {
    storage = open();
    REQUIRE(storage->create(1).ok());
    std::string bytes = encode_pack_header({kPackFormat, 1, info.id, info.created_ns, info.key});
    std::vector<FrameInPack> frames;
    Compressor compressor(1);
    const auto add = [&](FrameType type, const std::string& frame) {
      frames.push_back(
          {static_cast<uint32_t>(bytes.size()), static_cast<uint32_t>(frame.size()), type});
      bytes += frame;
    };
    auto writer = CompactedPackWriter::create(*storage, info, {kCompacted, 1, 1}, 1);
    REQUIRE(writer.ok());
    for (uint64_t i = 1; i <= 3; ++i) {
      const std::string raw = random_text(i, 300);
      const ChunkInFrame chunk{chunk_id(info.key, raw), 300, ChunkKind::kData};
      const size_t begin = bytes.size();
      add(FrameType::kData, encode_frame(FrameType::kData, {chunk}, raw, compressor));
      const std::string frame = bytes.substr(begin);
      REQUIRE(
          (*writer)
              ->add_stored(
                  {1, static_cast<uint32_t>(begin), static_cast<uint32_t>(frame.size()), 0}, frame)
              .ok());
      const std::string records = record_bytes(i);
      const std::string payload = encode_batch(info.key, 1, bytes.size(), {begin, records});
      add(FrameType::kJournal, encode_frame(FrameType::kJournal, {}, payload, compressor));
    }
    for (uint64_t i = 1; i <= 3; ++i) REQUIRE((*writer)->add_batch(record_bytes(i)).ok());
    REQUIRE((*writer)->finish().ok());
    const uint64_t end = bytes.size();
    const std::string payload = encode_footer(info.key, 1, end, frames);
    bytes += encode_frame(FrameType::kFooter, {}, payload, compressor) + encode_pack_trailer(end);
    put(1, bytes);
  }
  std::unique_ptr<DirectoryPackStorage> open() const {
    auto opened = DirectoryPackStorage::open(dir.path + "/packs", "test");
    REQUIRE(opened.ok());
    return std::move(*opened);
  }
  std::string get(uint32_t pack) const {
    std::ifstream in(storage->name(pack), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void put(uint32_t pack, const std::string& bytes) {
    std::ofstream(storage->name(pack), std::ios::binary | std::ios::trunc) << bytes;
    storage = open();
  }
  SalvagedPack salvage(uint32_t pack) const {
    auto saved = salvage_pack(*storage, info, pack, [](uint64_t) {});
    INFO((saved.ok() ? "" : saved.error().message));
    REQUIRE(saved.ok());
    return std::move(*saved);
  }

  static constexpr uint32_t kCompacted = kCompactedPackMin + 1;
  const RepositoryInfo info = test::test_repository();
  test::TempDir dir;
  std::unique_ptr<DirectoryPackStorage> storage;
};

// By offset. What is sound in a damaged pack is sound where it is in the good one.
std::map<uint64_t, uint64_t> frames_of(const SalvagedPack& pack) {
  std::map<uint64_t, uint64_t> frames;
  for (const SoundFrame& frame : pack.frames) frames[frame.offset] = frame.bytes;
  return frames;
}

size_t flaws(const SalvagedPack& pack) { return pack.damage.size() + pack.tail.size(); }

}  // namespace

TEST_CASE("all of a sound pack is saved", "[salvage]") {
  const Packs packs;
  for (const uint32_t pack : {1U, Packs::kCompacted}) {
    const SalvagedPack saved = packs.salvage(pack);
    REQUIRE(flaws(saved) == 0);
    REQUIRE(saved.sealed);
    REQUIRE_FALSE(saved.torn);
    REQUIRE(saved.range_first == 1);
    REQUIRE(saved.range_last == 1);
    REQUIRE(saved.first() == Sequence{1});
    REQUIRE(saved.last() == Sequence{3});
    REQUIRE(saved.frames.size() == (pack == 1 ? 6U : 4U));
  }
}

TEST_CASE("a flipped byte anywhere costs the frame that it is in, and is told", "[salvage]") {
  Packs packs;
  const uint32_t pack = GENERATE(1U, Packs::kCompacted);
  const std::string good = packs.get(pack);
  const auto all = frames_of(packs.salvage(pack));
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << at % 8));
    packs.put(pack, bad);
    INFO("byte " << at << " of " << good.size());
    // A header of a newer format is not for this program to judge.
    const auto looked = salvage_pack(*packs.storage, packs.info, pack, [](uint64_t) {});
    REQUIRE(looked.ok());
    REQUIRE(flaws(*looked) > 0);
    auto expected = all;
    for (const auto& [offset, bytes] : all) {
      if (offset <= at && at < offset + bytes) expected.erase(offset);
    }
    REQUIRE(frames_of(*looked) == expected);
  }
}

TEST_CASE("of a pack that was cut, what is before the cut is saved", "[salvage]") {
  Packs packs;
  const uint32_t pack = GENERATE(1U, Packs::kCompacted);
  const std::string good = packs.get(pack);
  const auto all = frames_of(packs.salvage(pack));
  for (size_t bytes = 0; bytes < good.size(); ++bytes) {
    packs.put(pack, good.substr(0, bytes));
    INFO("cut to " << bytes << " of " << good.size());
    const SalvagedPack saved = packs.salvage(pack);
    REQUIRE_FALSE(saved.sealed);
    auto expected = all;
    std::erase_if(expected, [&](const auto& frame) { return frame.first + frame.second > bytes; });
    REQUIRE(frames_of(saved) == expected);
  }
}

TEST_CASE("what is made of a damaged pack is whole, and the damaged one is kept", "[salvage]") {
  Packs packs;
  const uint32_t pack = GENERATE(1U, Packs::kCompacted);
  const std::string good = packs.get(pack);
  SalvagedPack saved = packs.salvage(pack);
  // The second data frame, and the records of the second batch where they are a frame.
  const uint64_t data = saved.frames[pack == 1 ? 2 : 1].offset;
  std::string bad = good;
  bad[data + 90] = static_cast<char>(bad[data + 90] ^ 4);
  const uint64_t records = saved.frames[3].offset;
  bad[records + 50] = static_cast<char>(bad[records + 50] ^ 4);
  packs.put(pack, bad);
  saved = packs.salvage(pack);
  REQUIRE(saved.frames.size() == (pack == 1 ? 4U : 2U));
  const std::vector<AddedBatch> added{{2, record_bytes(1) + record_bytes(2) + record_bytes(3)}};
  const std::vector<AddedBatch> second{{2, record_bytes(2)}};
  const DamagedDir kept(packs.dir.path);
  const Status replaced =
      replace_pack(*packs.storage, packs.info, kept, saved, pack == 1 ? second : added, true);
  INFO((replaced.ok() ? "" : replaced.error().message));
  REQUIRE(replaced.ok());
  packs.storage = packs.open();
  const SalvagedPack whole = packs.salvage(pack);
  REQUIRE(flaws(whole) == 0);
  REQUIRE(whole.sealed);
  REQUIRE(whole.range_last == 1);
  REQUIRE(whole.first() == Sequence{1});
  REQUIRE(whole.last() == Sequence{3});
  std::ifstream in(packs.dir.path + "/damaged/" +
                       std::filesystem::path(packs.storage->name(pack)).filename().string(),
                   std::ios::binary);
  REQUIRE((std::string{std::istreambuf_iterator<char>(in), {}} == bad));
}

}  // namespace holdfast
