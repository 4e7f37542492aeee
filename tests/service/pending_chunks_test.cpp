// Which chunks are being stored, and what nobody is to store.
#include "service/pending_chunks.h"

#include <catch2/catch.hpp>

namespace holdfast {

using Claim = PendingChunks::Claim;

TEST_CASE("a chunk has one who stores it", "[pending]") {
  PendingChunks pending;
  ChunkId id;
  id.bytes[3] = 1;
  CHECK(pending.claim(id) == Claim::kMine);
  CHECK(pending.claim(id) == Claim::kOthers);
  pending.release(id);
  CHECK(pending.claim(id) == Claim::kMine);
  pending.release_committed({id});
  CHECK_FALSE(pending.contains(id));
}

TEST_CASE("while it is closed nothing is claimed, and what was claimed is in doubt", "[pending]") {
  PendingChunks pending;
  ChunkId before, after;
  before.bytes[3] = 1;
  after.bytes[3] = 2;
  const uint64_t closings = pending.closings();
  CHECK(pending.claim(before) == Claim::kMine);
  pending.set_open(false);
  CHECK_FALSE(pending.is_open());
  CHECK(pending.claim(before) == Claim::kOthers);
  CHECK(pending.claim(after) == Claim::kClosed);
  CHECK_FALSE(pending.contains(after));
  CHECK(pending.closings() != closings);
  const uint64_t closed = pending.closings();
  pending.set_open(false);
  pending.set_open(true);
  CHECK(pending.closings() == closed);  // what was claimed since then is stored
  CHECK(pending.claim(after) == Claim::kMine);
}

}  // namespace holdfast
