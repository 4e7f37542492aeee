// Compacted packs: which packs a rebuild takes, and that nothing is lost whenever it is
// interrupted.
#include "store/compaction.h"

#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

namespace {

constexpr uint32_t kC = kCompactedPackMin;

std::vector<uint32_t> chosen(std::vector<PackRange> ranges) {
  std::vector<uint32_t> packs;
  for (const PackRange& range : choose_packs(std::move(ranges))) packs.push_back(range.pack);
  return packs;
}

// Packs of one batch each; the batch `i` has the chunks "<i>a" and "<i>b" and the records "batch
// i".
struct Compacting : TestStore {
  explicit Compacting(uint32_t packs) {
    pack_bytes_target = 1;
    REQUIRE(open().ok());
    for (uint32_t i = 1; i <= packs; ++i) {
      REQUIRE(write({{part(i, 'a'), part(i, 'b')}}, "batch " + std::to_string(i)).ok());
    }
  }
  static std::string part(uint32_t i, char which) {
    return random_text(i * 256 + static_cast<unsigned char>(which), 500);
  }
  ChunkId id(uint32_t i, char which) const { return chunk_id(info.key, part(i, which)); }

  // Writes [first, last] anew with their chunks 'a' alone.
  CompactedPackWriter& compact(uint32_t pack, uint32_t first, uint32_t last, bool finish = true) {
    auto made = CompactedPackWriter::create(store->storage(), info, {pack, first, last}, 3);
    REQUIRE(made.ok());
    writers.push_back(std::move(*made));
    CompactedPackWriter& writer = *writers.back();
    for (uint32_t i = first; i <= last; ++i) {
      const ChunkInFrame chunk{id(i, 'a'), 500, ChunkKind::kData};
      REQUIRE(writer.add_chunk(chunk, {i, kPackHeaderBytes, 0, 0}, part(i, 'a')).ok());
    }
    for (uint32_t i = first; i <= last; ++i) {
      REQUIRE(writer.add_batch("batch " + std::to_string(i)).ok());
    }
    if (finish) REQUIRE(writer.finish().ok());
    return writer;
  }
  bool has(const ChunkId& chunk) {
    auto txn = env->begin_read();
    REQUIRE(txn.ok());
    return store->has(**txn, chunk);
  }
  std::vector<std::unique_ptr<CompactedPackWriter>> writers;
};

}  // namespace

TEST_CASE("of packs that stand for the same, the pieces are chosen", "[compaction]") {
  REQUIRE(chosen({}).empty());
  REQUIRE(chosen({{2, 2, 2}}).empty());
  REQUIRE(chosen({{1, 1, 1}, {2, 2, 2}, {4, 4, 4}}) == std::vector<uint32_t>{1, 2});
  // All pieces are there.
  REQUIRE(chosen({{1, 1, 1}, {2, 2, 2}, {3, 3, 3}, {kC + 1, 1, 2}}) ==
          std::vector<uint32_t>{1, 2, 3});
  // One is gone: then the whole.
  REQUIRE(chosen({{2, 2, 2}, {3, 3, 3}, {kC + 1, 1, 2}}) == std::vector<uint32_t>{kC + 1, 3});
  REQUIRE(chosen({{1, 1, 1}, {3, 3, 3}, {kC + 1, 1, 2}}) == std::vector<uint32_t>{kC + 1, 3});
  // A whole of wholes and pieces.
  REQUIRE(chosen({{kC + 1, 1, 2}, {3, 3, 3}, {kC + 2, 1, 3}, {4, 4, 4}}) ==
          std::vector<uint32_t>{kC + 1, 3, 4});
  REQUIRE(chosen({{kC + 1, 1, 2}, {kC + 2, 1, 3}, {4, 4, 4}}) == std::vector<uint32_t>{kC + 2, 4});
  REQUIRE(chosen({{1, 1, 1}, {2, 2, 2}, {kC + 1, 2, 4}, {kC + 2, 1, 5}, {6, 6, 6}}) ==
          std::vector<uint32_t>{kC + 2, 6});
}

TEST_CASE("a rebuild takes compacted packs in the place of those that are gone", "[compaction]") {
  Compacting t(6);
  t.compact(kC + 1, 2, 4);
  std::vector<std::string> expected;
  for (uint32_t i = 1; i <= 6; ++i) expected.push_back("batch " + std::to_string(i));
  SECTION("the pieces are there") {}
  SECTION("some of them are gone") { REQUIRE(t.store->storage().remove(3).ok()); }
  SECTION("all are gone") {
    for (const uint32_t pack : {2u, 3u, 4u}) REQUIRE(t.store->storage().remove(pack).ok());
  }
  const bool pieces = t.disk->files.contains(3);
  t.lose_index();
  auto opened = t.open();
  INFO((opened.ok() ? "" : opened.error().message));
  REQUIRE(opened.ok());
  REQUIRE(t.batches() == expected);
  for (uint32_t i = 1; i <= 6; ++i) {
    REQUIRE(t.has(t.id(i, 'a')));
    REQUIRE(t.has(t.id(i, 'b')) == (pieces || i < 2 || i > 4));
  }
  REQUIRE(t.write({{"more"}}, "batch 7").ok());
}

TEST_CASE("a compacted pack that was not finished is removed, one that is needed is not",
          "[compaction]") {
  Compacting t(4);
  SECTION("cut short") {
    t.compact(kC + 1, 1, 2);
    auto& bytes = t.disk->files.at(kC + 1).bytes;
    bytes.resize(bytes.size() - 1);
    REQUIRE(t.store->remove_unfinished().ok());
    REQUIRE_FALSE(t.disk->files.contains(kC + 1));
  }
  SECTION("complete, but the index was not moved to it") {
    t.compact(kC + 1, 1, 2);
    REQUIRE(t.store->remove_unfinished().ok());
    REQUIRE_FALSE(t.disk->files.contains(kC + 1));
  }
  SECTION("the only one that has a part of the log") {
    t.compact(kC + 1, 1, 2);
    REQUIRE(t.store->storage().remove(2).ok());
    REQUIRE(t.store->remove_unfinished().ok());
    REQUIRE(t.disk->files.contains(kC + 1));
    REQUIRE(t.store->replay_notes().back().find("rebuild") != std::string::npos);
  }
  SECTION("and its writer removes what it did not finish") {
    t.compact(kC + 1, 1, 2, false);
    t.writers.clear();
    REQUIRE_FALSE(t.disk->files.contains(kC + 1));
  }
}

TEST_CASE("what is in a pack that leaves is stored anew", "[compaction]") {
  Compacting t(4);
  t.store->set_leaving({2});
  REQUIRE_FALSE(t.has(t.id(2, 'a')));
  REQUIRE(t.has(t.id(3, 'a')));
  REQUIRE(t.write({{Compacting::part(2, 'a'), Compacting::part(3, 'a')}}, "batch 5").ok());
  auto txn = t.env->begin_write();
  REQUIRE(txn.ok());
  REQUIRE((*t.store->locate(**txn, t.id(2, 'a')))->pack == 5);
  REQUIRE((*t.store->locate(**txn, t.id(3, 'a')))->pack == 3);
  // The place that a compaction knows is not where it is any more.
  const ChunkLocation old{2, kPackHeaderBytes, 0, 0};
  REQUIRE(t.store->move_chunk(**txn, {t.id(2, 'a'), old, {kC + 1, 200, 600, 0}}).ok());
  REQUIRE(t.store->drop_chunk(**txn, t.id(2, 'a'), old).ok());
  REQUIRE((*t.store->locate(**txn, t.id(2, 'a')))->pack == 5);
  const ChunkLocation place = **t.store->locate(**txn, t.id(2, 'b'));
  ChunkLocation elsewhere = place;  // in the same pack
  ++elsewhere.index;
  REQUIRE(t.store->drop_chunk(**txn, t.id(2, 'b'), elsewhere).ok());
  REQUIRE((*t.store->locate(**txn, t.id(2, 'b'))).has_value());
  REQUIRE(t.store->drop_chunk(**txn, t.id(2, 'b'), place).ok());
  REQUIRE_FALSE((*t.store->locate(**txn, t.id(2, 'b'))).has_value());
  REQUIRE(t.store->condemn(**txn, 2).ok());
  REQUIRE((*txn)->commit().ok());
  t.store->set_leaving({});
  REQUIRE_FALSE(t.has(t.id(2, 'b')));
  REQUIRE(t.open().ok());  // a restart knows it, too
  auto again = t.env->begin_read();
  REQUIRE(again.ok());
  REQUIRE(t.store->packs(**again)->at(2).condemned);
}

TEST_CASE("a visit of a pack names the place of its damage", "[compaction]") {
  Compacting t(2);
  std::string& bytes = t.disk->files.at(1).bytes;
  PackVisitor visitor;
  size_t tables = 0, batches = 0;
  visitor.table = [&](const ChunkLocation&, const FrameHeader&,
                      const std::vector<ChunkInFrame>& chunks) -> Result<Wanted> {
    tables += chunks.size();
    return Wanted::kDecoded;
  };
  visitor.decoded = [](const ChunkLocation&, const DecodedFrame&) { return Status(); };
  visitor.batch = [&](std::string_view) {
    ++batches;
    return Status();
  };
  REQUIRE(visit_pack(t.store->storage(), t.info, 1, bytes.size(), visitor).ok());
  REQUIRE(tables == 2);
  REQUIRE(batches == 1);
  bytes[kPackHeaderBytes + kFrameHeaderBytes + 100] ^= 1;
  const auto damaged = visit_pack(t.store->storage(), t.info, 1, bytes.size(), visitor);
  REQUIRE(damaged.error().code == ErrorCode::kDamaged);
  REQUIRE(damaged.error().message.find("offset 128") != std::string::npos);
}

TEST_CASE("a frame that is copied as it is stands beside those that are made anew",
          "[compaction]") {
  Compacting t(4);
  const auto frame_of = [&](uint32_t pack) {
    auto txn = t.env->begin_read();
    REQUIRE(txn.ok());
    const auto location = t.store->locate(**txn, t.id(pack, 'a'));
    REQUIRE((location.ok() && location->has_value()));
    auto bytes = t.store->storage().read(pack, (*location)->offset, (*location)->frame_bytes);
    REQUIRE(bytes.ok());
    return std::pair(**location, *bytes);
  };
  auto made = CompactedPackWriter::create(t.store->storage(), t.info, {kC + 1, 1, 3}, 3);
  REQUIRE(made.ok());
  CompactedPackWriter& writer = **made;
  // A chunk waits for more of them while a whole frame comes.
  const auto [first, first_bytes] = frame_of(1);
  REQUIRE(writer.add_chunk({t.id(1, 'a'), 500, ChunkKind::kData}, first, t.part(1, 'a')).ok());
  const auto [second, second_bytes] = frame_of(2);
  REQUIRE(writer.add_stored(second, second_bytes).ok());
  auto [third, damaged] = frame_of(3);
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  const auto refused = writer.add_stored(third, damaged);
  REQUIRE(refused.error().code == ErrorCode::kDamaged);
  REQUIRE(refused.error().message.find(t.store->storage().name(3)) != std::string::npos);
  REQUIRE(writer.add_batch("batch 1").ok());
  REQUIRE(writer.finish().ok());
  REQUIRE(t.disk->files.at(kC + 1).bytes.find(second_bytes) == kPackHeaderBytes);

  auto txn = t.env->begin_write();
  REQUIRE(txn.ok());
  REQUIRE(t.store->adopt(**txn, kC + 1, writer.entry()).ok());
  REQUIRE(writer.moves().size() == 3);
  for (const Store::Move& move : writer.moves()) REQUIRE(t.store->move_chunk(**txn, move).ok());
  for (const auto& [pack, which] : {std::pair(1u, 'a'), {2u, 'a'}, {2u, 'b'}}) {
    REQUIRE((*t.store->locate(**txn, t.id(pack, which)))->pack == kC + 1);
  }
  REQUIRE((*t.store->locate(**txn, t.id(1, 'b')))->pack == 1);
  REQUIRE((*txn)->commit().ok());
  REQUIRE(t.read(t.part(1, 'a')) == t.part(1, 'a'));
  REQUIRE(t.read(t.part(2, 'a')) == t.part(2, 'a'));
  REQUIRE(t.read(t.part(2, 'b')) == t.part(2, 'b'));
}
