// Damage that check() must find: any byte of a record, any row too many or missing.
#include <functional>

#include "journal/keys.h"
#include "tests/journal/journal_fixture.h"

using namespace holdfast;

namespace {

struct CheckFixture : JournalFixture {
  CheckFixture() {
    std::string booted;
    must(journal->boot(write(), clock, booted));
    add_root();
    batch();
    const NodeId dir = create(root, "dir", 20, FileType::kDir);
    file = create(dir, "file", 21);
    change(RecordKind::kLink, file, dir, "again", 21);
    batch();
    append(rename_record(file, dir, "file", root, "moved", 21));
    clock.wall -= 1'000'000'000;
    change(RecordKind::kDelete, create(root, "brief", 22), root, "brief", 22);
    batch();
    Record pin;
    pin.kind = RecordKind::kSnapshot;
    pin.prev = head().seq;
    pin.note = "pinned";
    append(pin);
    Record rot = node_record(RecordKind::kVerify, file, root, "moved", 21);
    rot.verdict = Verdict::kCorrupt;
    append(rot);
    batch();
    require_sound();
    commit();
  }
  void batch() {
    must(journal->end_batch(write(), Sequence{batched + 1}, head().seq));
    batched = head().seq.value;
  }
  // The findings after one change, which is then undone.
  std::vector<std::string> after(const std::function<void(WriteTxn&)>& damage) {
    damage(write());
    auto all = findings();
    txn.reset();
    return all;
  }
  void require_found(const std::string& words, const std::function<void(WriteTxn&)>& damage) {
    const auto all = after(damage);
    std::string text;
    for (const std::string& finding : all) text += finding + "\n";
    INFO(text);
    REQUIRE(text.find(words) != std::string::npos);
  }
  NodeId file;
  uint64_t batched = 0;
};

const char* const kTables[] = {"records",   "entries", "versions", "inodes",  "times",
                               "snapshots", "boots",   "roots",    "standing"};

}  // namespace

TEST_CASE_METHOD(CheckFixture, "every flipped byte of every record is found", "[journal]") {
  const Tables tables = dump();
  const Dbi records = table("records");
  for (const auto& row : tables.at("records")) {
    const std::string& key = row.first;
    const std::string& value = row.second;
    for (size_t i = 0; i < value.size(); ++i) {
      std::string damaged = value;
      damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
      INFO("byte " << i << " of record " << parse_record_key(key)->value);
      REQUIRE_FALSE(after([&](WriteTxn& open) { must(open.put(records, key, damaged)); }).empty());
    }
  }
}

TEST_CASE_METHOD(CheckFixture, "every missing row is found", "[journal]") {
  const Tables tables = dump();
  for (const char* name : kTables) {
    const Dbi dbi = table(name);
    REQUIRE_FALSE(tables.at(name).empty());
    for (const auto& [key, value] : tables.at(name)) {
      const auto all = after([&, at = key](WriteTxn& open) { must(open.remove(dbi, at)); });
      INFO("table " << name << ", row "
                    << to_hex(reinterpret_cast<const uint8_t*>(key.data()), key.size()));
      REQUIRE_FALSE(all.empty());
    }
  }
}

TEST_CASE_METHOD(CheckFixture, "every flipped byte of every value is found", "[journal]") {
  const Tables tables = dump();
  for (const char* name : kTables) {
    const Dbi dbi = table(name);
    for (const auto& [key, value] : tables.at(name)) {
      for (size_t i = 0; i < value.size(); ++i) {
        std::string damaged = value;
        damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
        INFO("table " << name << ", byte " << i);
        REQUIRE_FALSE(
            after([&, at = key](WriteTxn& open) { must(open.put(dbi, at, damaged)); }).empty());
      }
    }
  }
}

TEST_CASE_METHOD(CheckFixture, "rows that no record explains are found and named", "[journal]") {
  const auto with_row = [&](const char* name, Key key, std::string value) {
    const Dbi dbi = table(name);
    return [dbi, key, value](WriteTxn& open) { must(open.put(dbi, key, value)); };
  };
  const std::string entry(entry_value({file, FileType::kFile}).view());
  require_found("no record explains 'ghost'",
                with_row("entries", entry_key(root, "ghost", Sequence{3}), entry));
  require_found("no record explains 'moved'",
                with_row("entries", entry_key(root, "moved", Sequence{4}), entry));
  require_found("no record explains node 99", with_row("versions", version_key({99}, {3}), ""));
  require_found("no record explains node 3", with_row("versions", version_key(file, {3}), ""));
  require_found("which has no record", with_row("inodes", inode_key(root, 77),
                                                std::string(inode_value({{99}, 1}).view())));
  require_found(
      "whose newest record has inode 21",
      with_row("inodes", inode_key(root, 77), std::string(inode_value({file, 1}).view())));
  require_found(
      "counts 5 names, the entries have 2",
      with_row("inodes", inode_key(root, 21), std::string(inode_value({file, 5}).view())));
  require_found("no record explains the row of 'other'",
                with_row("snapshots", Key().bytes("other"), std::string(24, '\0')));
  require_found("no record explains the row of 9", with_row("roots", Key().u64(9), "\1x/y"));
  require_found("no record explains the row of 9", with_row("boots", Key().u32(9), "id"));
  const Batch batch{head().time_ns + 5, head().seq, head().seq, 0};
  txn.reset();
  require_found("table times", with_row("times", time_key(batch.time_ns),
                                        std::string(view_of(batch_value(batch)))));
  require_found("says that it is @1",
                with_row("records", record_key({12}), dump().at("records").begin()->second));
  require_found("times the clock was set back", with_row("meta", step_key(5), ""));
}

TEST_CASE_METHOD(CheckFixture, "a wrong head, node counter or batch end is found", "[journal]") {
  const Tables tables = dump();
  const Dbi meta = table("meta");
  for (const auto& [key, value] : tables.at("meta")) {
    if (key == "format") continue;  // open() judges it
    INFO("word " << key);
    REQUIRE_FALSE(after([&, at = key](WriteTxn& open) { must(open.remove(meta, at)); }).empty());
  }
  const std::string head_bytes = tables.at("meta").at("head");
  for (size_t i = 0; i < head_bytes.size(); ++i) {
    std::string damaged = head_bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    require_found("'head'", [&](WriteTxn& open) { must(open.put(meta, "head", damaged)); });
  }
  require_found("'next_node' is 1", [&](WriteTxn& open) {
    must(open.put(meta, "next_node", std::string_view("\1\0\0\0\0\0\0\0", 8)));
  });
}

TEST_CASE_METHOD(CheckFixture, "a record taken out, or swapped, breaks the chain", "[journal]") {
  const Tables tables = dump();
  const Dbi records = table("records");
  const auto bytes = [&](uint64_t seq) {
    return tables.at("records").at(std::string(record_key({seq}).view()));
  };
  require_found("@4 to @4 are missing",
                [&](WriteTxn& open) { must(open.remove(records, record_key({4}))); });
  require_found("does not fit its chain",
                [&](WriteTxn& open) { must(open.put(records, record_key({4}), bytes(5))); });
  // Tampering that keeps the record well formed.
  Record record = must(decode_record(bytes(4)));
  record.stat.size += 1;
  const std::string forged = must(encode_record(record));
  require_found("@4 does not fit its chain",
                [&](WriteTxn& open) { must(open.put(records, record_key({4}), forged)); });
}

TEST_CASE_METHOD(JournalFixture, "findings are capped", "[journal]") {
  add_root();
  for (uint64_t i = 0; i < 1500; ++i) create(root, "f" + std::to_string(i), 100 + i);
  const Dbi versions = table("versions");
  for (uint64_t node = 2; node < 1500; ++node) {
    must(write().remove(versions, version_key({node}, {node})));
  }
  const auto all = findings();
  REQUIRE(all.size() == 1001);
  REQUIRE(all.back().find("left out") != std::string::npos);
}
