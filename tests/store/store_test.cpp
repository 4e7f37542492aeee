// The store from the outside: what is appended comes back, once and from the right place.
#include "tests/store/store_fixture.h"

using namespace holdfast;
using namespace holdfast::test;

TEST_CASE("an empty store writes nothing", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  REQUIRE(test.replayed == 0);
  REQUIRE(test.disk->operations() == 0);
  REQUIRE(test.store->end() == Position{1, kPackHeaderBytes});
  REQUIRE(test.store->batch_bytes() == 0);
  REQUIRE(test.findings(true).empty());
}

TEST_CASE("a batch comes back, also after reopening", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  const std::string compressible(5000, 'x');
  const std::string incompressible = random_text(1, 5000);
  REQUIRE_OK(test.write({{"a", "b", compressible}, {incompressible}}, "records of one"));
  REQUIRE(test.batches() == std::vector<std::string>{"records of one"});
  const auto verify = [&] {
    for (const std::string& content :
         {std::string("a"), std::string("b"), compressible, incompressible}) {
      REQUIRE(test.read(content) == content);
    }
    REQUIRE(test.findings(false).empty());
    REQUIRE(test.findings(true).empty());
  };
  verify();
  REQUIRE_OK(test.open());
  REQUIRE(test.replayed == 0);
  verify();
  const Position end = test.store->end();
  test.lose_index();
  REQUIRE_OK(test.open());
  REQUIRE(test.replayed == 1);
  REQUIRE(test.store->end() == end);
  REQUIRE(test.batches() == std::vector<std::string>{"records of one"});
  verify();
}

TEST_CASE("a batch may have no records, or nothing but records", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{"content"}}, ""));
  REQUIRE_OK(test.write({}, std::string(100'000, 'r')));
  REQUIRE_OK(test.write({}, ""));
  test.lose_index();
  REQUIRE_OK(test.open());
  REQUIRE(test.replayed == 3);
  REQUIRE(test.batches() == std::vector<std::string>{"", std::string(100'000, 'r'), ""});
  REQUIRE(test.read("content") == "content");
}

TEST_CASE("a chunk keeps its first place", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{"first", "shared"}}, "1"));
  const ChunkId id = chunk_id(test.info.key, "shared");
  const auto place = [&] {
    auto txn = test.env->begin_read();
    auto located = test.store->locate(**txn, id);
    return **located;
  };
  const ChunkLocation before = place();
  REQUIRE(before.index == 1);
  REQUIRE_OK(test.write({{"shared", "second", "second"}}, "2"));
  REQUIRE(place() == before);
  REQUIRE(test.read("second") == "second");
  auto txn = test.env->begin_read();
  REQUIRE(test.store->stats(**txn)->chunks == 3);
  txn->reset();  // the transaction
  REQUIRE(test.findings(true).empty());
  test.lose_index();
  REQUIRE_OK(test.open());
  REQUIRE(place() == before);
}

TEST_CASE("batch_bytes and end follow the batch", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  const NewFrame frame = make_frame(test.info.key, {random_text(2, 3000)});
  auto txn = test.env->begin_write();
  REQUIRE_OK(test.store->append(**txn, frame));
  REQUIRE(test.store->batch_bytes() == kPackHeaderBytes + frame.bytes.size());
  REQUIRE(test.store->end() == Position{1, kPackHeaderBytes + frame.bytes.size()});
  REQUIRE_OK(test.store->append(**txn, frame));
  REQUIRE(test.store->batch_bytes() == kPackHeaderBytes + 2 * frame.bytes.size());
  REQUIRE_OK(test.store->close_batch(**txn, "r"));
  REQUIRE_OK((*txn)->commit());
  REQUIRE_OK(test.store->after_commit());
  REQUIRE(test.store->batch_bytes() == 0);
}

TEST_CASE("a store asks for its calls in order", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write_without_end({{"one"}}, "1"));
  {
    auto txn = test.env->begin_write();
    const auto status = test.store->append(**txn, make_frame(test.info.key, {"two"}));
    REQUIRE_FALSE(status.ok());
    REQUIRE(status.error().message.find("after_commit") != std::string::npos);
  }
  REQUIRE_OK(test.store->after_commit());
  REQUIRE_OK(test.store->after_commit());  // does nothing more
  REQUIRE_OK(test.write({{"two"}}, "2"));

  REQUIRE_OK(test.open_unreplayed());
  REQUIRE(test.read("two") == "two");  // reading needs no replay
  auto txn = test.env->begin_write();
  REQUIRE_FALSE(test.store->append(**txn, make_frame(test.info.key, {"three"})).ok());
  REQUIRE_FALSE(test.store->roll_back().ok());
}

TEST_CASE("packs are sealed when large enough, and a new one follows", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  std::vector<std::string> contents;
  for (uint64_t i = 0; i < 28; ++i) {
    contents.push_back(random_text(i, 4 * 1024 * 1024));
    REQUIRE_OK(test.write({{contents.back()}, {"small " + std::to_string(i)}}, std::to_string(i)));
  }
  REQUIRE(test.disk->files.size() == 3);
  REQUIRE(test.store->end().pack == 3);
  REQUIRE(test.pack_bytes(1).size() > kPackBytesTarget);
  REQUIRE(test.pack_bytes(1).size() < kPackBytesTarget + 5 * 1024 * 1024);
  const auto trailer = decode_pack_trailer(
      std::string_view(test.pack_bytes(1)).substr(test.pack_bytes(1).size() - 16));
  REQUIRE_OK(trailer);
  const auto verify = [&] {
    for (const std::string& content : contents) REQUIRE(test.read(content) == content);
    REQUIRE(test.findings(false).empty());
    uint64_t bytes = 0;
    for (const auto& [pack, file] : test.disk->files) bytes += file.bytes.size();
    auto txn = test.env->begin_read();
    const auto stats = test.store->stats(**txn);
    REQUIRE(stats->packs == 3);
    REQUIRE(stats->bytes == bytes);
    REQUIRE(stats->chunks == 56);
  };
  verify();
  REQUIRE_OK(test.open());
  REQUIRE(test.replayed == 0);
  verify();
  test.lose_index();
  REQUIRE_OK(test.open());
  REQUIRE(test.replayed == 28);
  verify();
  REQUIRE(test.findings(true).empty());
  REQUIRE_OK(test.write({{"goes on"}}, "28"));
  REQUIRE(test.store->end().pack == 3);
}

TEST_CASE("a pack that was just sealed is known after reopening", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  std::vector<std::vector<std::string>> frames;
  for (uint64_t i = 0; i < 13; ++i) frames.push_back({random_text(i, 4 * 1024 * 1024)});
  REQUIRE_OK(test.write(frames, "one large batch"));
  REQUIRE(test.store->end() == Position{2, kPackHeaderBytes});
  REQUIRE(test.disk->files.size() == 1);  // the next pack is made when it is needed
  REQUIRE_OK(test.open());
  REQUIRE(test.store->end() == Position{2, kPackHeaderBytes});
  {
    auto txn = test.env->begin_read();
    REQUIRE(test.store->stats(**txn)->bytes == test.pack_bytes(1).size());
  }
  REQUIRE_OK(test.write({{"next"}}, "2"));
  REQUIRE(test.disk->files.size() == 2);
  REQUIRE(test.findings(true).empty());
}

TEST_CASE("the packs alone tell the repository", "[store]") {
  TestStore test;
  MemoryPackStorage storage(test.disk);
  REQUIRE(read_repository_info(storage).error().code == ErrorCode::kNotFound);
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write({{"a"}}, "1"));
  const auto info = read_repository_info(storage);
  REQUIRE_OK(info);
  REQUIRE(info->id == test.info.id);
  REQUIRE(info->key == test.info.key);
  REQUIRE(info->created_ns == test.info.created_ns);
}

TEST_CASE("a roll back leaves the batches before it", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  const bool has_pack = GENERATE(false, true);
  if (has_pack) REQUIRE_OK(test.write({{"kept"}}, "1"));
  {
    auto txn = test.env->begin_write();
    REQUIRE_OK(test.store->append(**txn, make_frame(test.info.key, {random_text(1, 3 << 20)})));
    REQUIRE_OK(test.store->append(**txn, make_frame(test.info.key, {"gone"})));
    if (GENERATE(false, true)) REQUIRE_OK(test.store->close_batch(**txn, "gone"));
  }
  REQUIRE_OK(test.store->roll_back());
  REQUIRE(test.store->batch_bytes() == 0);
  REQUIRE_FALSE(test.has("gone"));
  REQUIRE(test.disk->files.size() == (has_pack ? 1 : 0));
  REQUIRE_OK(test.write({{"after"}}, "2"));
  REQUIRE(test.read("after") == "after");
  if (has_pack) REQUIRE(test.read("kept") == "kept");
  test.lose_index();
  REQUIRE_OK(test.open());
  REQUIRE(test.batches().back() == "2");
  REQUIRE(test.batches().size() == (has_pack ? 2 : 1));
  REQUIRE(test.findings(true).empty());
}

TEST_CASE("a roll back after a commit keeps the batch", "[store]") {
  TestStore test;
  REQUIRE_OK(test.open());
  REQUIRE_OK(test.write_without_end({{"kept"}}, "1"));
  REQUIRE_OK(test.store->roll_back());  // the index says that it is committed
  REQUIRE_OK(test.write({{"more"}}, "2"));
  REQUIRE(test.read("kept") == "kept");
  REQUIRE(test.findings(true).empty());
}

TEST_CASE("after the last pack's number nothing is written, and all can be read", "[store]") {
  TestStore test;
  test.pack_bytes_target = 1;  // each batch seals its pack
  REQUIRE_OK(test.open());
  test.store->set_first_pack(kCompactedPackMin - 2);
  REQUIRE_OK(test.write({{"last but one"}}, "1"));
  REQUIRE_OK(test.write({{"last"}}, "2"));
  const auto require_end = [&] {
    const Status refused = test.write({{"one more"}}, "3");
    REQUIRE_FALSE(refused.ok());
    REQUIRE(refused.error().code == ErrorCode::kUnsupported);
    REQUIRE(test.disk->files.size() == 2);
    REQUIRE(test.read("last but one") == "last but one");
    REQUIRE(test.read("last") == "last");
    REQUIRE(test.findings(true).empty());
  };
  require_end();
  REQUIRE_OK(test.open());
  require_end();
}
