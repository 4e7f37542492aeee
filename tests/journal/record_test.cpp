// The byte form of records: one encoding for each record, and nothing else is read.
#include "journal/record.h"

#include <catch2/catch.hpp>
#include <random>

#include "base/bytes.h"
#include "base/hash.h"
#include "tests/journal/example_record.h"
#include "tests/journal/journal_fixture.h"

using namespace holdfast;

namespace {

// Everything a record can hold.
Record full_record() {
  Record record = example_record();
  record.kind = RecordKind::kRename;
  record.verdict = Verdict::kReplaced;
  record.wall_ns = record.time_ns - 5;
  record.stat.nlink = 3;
  record.stat.rdev = 0x801;
  record.content.kind = ContentKind::kRecipe;
  record.from_parent = {77};
  record.from_name = std::string("old\nname\xff");
  record.link_target = "../somewhere";
  record.xattrs = {{"security.selinux", std::string("a\0b", 3)}, {"user.empty", ""}};
  record.note = std::string("a note, with\0a NUL", 18);
  for (size_t i = 0; i < record.chain.size(); ++i) record.chain[i] = static_cast<uint8_t>(0xf0 + i);
  return record;
}

void round_trip(const Record& record) {
  const std::string bytes = must(encode_record(record));
  const Record decoded = must(decode_record(bytes));
  REQUIRE(decoded == record);
  REQUIRE(must(encode_record(decoded)) == bytes);
}

void require_refused(const std::string& bytes, const std::string& why) {
  const auto decoded = decode_record(bytes);
  REQUIRE_FALSE(decoded.ok());
  INFO(decoded.error().message);
  REQUIRE(decoded.error().message.find(why) != std::string::npos);
}

// The bytes with the size they state made right.
std::string resized(std::string bytes) {
  set_le(bytes.data(), static_cast<uint32_t>(bytes.size()));
  return bytes;
}

}  // namespace

TEST_CASE("a record of every section survives encoding", "[record]") {
  round_trip(full_record());
  round_trip(example_record());
  Record bare;
  round_trip(bare);
  REQUIRE(must(encode_record(bare)).size() == 64);
}

// All sections of version 1, as they were first written: this must never change.
TEST_CASE("the golden record of version 1 is read and written", "[record]") {
  const std::string golden =
      "4901000001041701ff1f000001000000d20400000000000000b39e96c7c5e918"
      "00004f91944e00000300000000000000f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
      "fbb29e96c7c5e91801000000000000002a000000000000000700000000000000"
      "0a7265706f72742e747874a48100000b0000000000000000c895d7c5c5e91800"
      "d2a890c7c5e91800d2a890c7c5e9180100020000000000e8030000e803000003"
      "0000000108000000000000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf03c0c1c2c3"
      "c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfb0040000"
      "000000004d00000000000000096f6c640a6e616d65ff0c0000002e2e2f736f6d"
      "65776865726502000000100073656375726974792e73656c696e757803000000"
      "6100620a00757365722e656d707479000000001200000061206e6f74652c2077"
      "6974680061204e554c";
  std::string bytes;
  for (size_t i = 0; i < golden.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(golden.substr(i, 2), nullptr, 16));
  }
  REQUIRE(must(decode_record(bytes)) == full_record());
  REQUIRE(must(encode_record(full_record())) == bytes);
}

TEST_CASE("each field survives encoding on its own", "[record]") {
  const Record full = full_record();
  Record record;
  const auto with = [&](auto change) {
    Record changed = record;
    change(changed);
    round_trip(changed);
  };
  with([&](Record& r) { r.wall_ns = -1; });
  with([&](Record& r) { r.time_ns = r.wall_ns = INT64_MIN; });
  with([&](Record& r) { r.seq.value = UINT64_MAX; });
  with([&](Record& r) { r.boottime_ns = INT64_MAX; });
  with([&](Record& r) { r.boot = UINT32_MAX; });
  with([&](Record& r) { r.flags = UINT32_MAX; });
  with([&](Record& r) { r.root.value = 9; });
  with([&](Record& r) { r.parent.value = 9; });
  with([&](Record& r) { r.name = "x"; });
  with([&](Record& r) { r.stat.mode = 1; });
  with([&](Record& r) { r.stat.size = UINT64_MAX; });
  with([&](Record& r) { r.stat.mtime_ns = -1; });
  with([&](Record& r) { r.stat.btime_ns = -1; });
  with([&](Record& r) { r.stat.gid = 7; });
  with([&](Record& r) { r.stat.nlink = 0; });
  with([&](Record& r) { r.stat.rdev = 1; });
  with([&](Record& r) { r.hash = full.hash; });
  with([&](Record& r) { r.content.kind = ContentKind::kEmpty; });
  with([&](Record& r) { r.content = full.content; });
  with([&](Record& r) { r.prev.value = 1; });
  with([&](Record& r) { r.from_parent.value = 1; });
  with([&](Record& r) { r.from_name = "y"; });
  with([&](Record& r) { r.link_target = std::string(4095, 'l'); });
  with([&](Record& r) { r.xattrs = full.xattrs; });
  with([&](Record& r) { r.note = std::string(70'000, 'n'); });
  with([&](Record& r) { r.handle = UINT64_MAX; });
}

TEST_CASE("names are bytes", "[record]") {
  for (const std::string& name :
       {std::string("a\nb"), std::string("\xff\xfe\x80"), std::string(255, 'x'), std::string("..."),
        std::string(" "), std::string("-rf"), std::string("\\")}) {
    Record record = example_record();
    record.name = name;
    round_trip(record);
  }
}

TEST_CASE("what is no file name is refused both ways", "[record]") {
  for (const std::string& name :
       {std::string("."), std::string(".."), std::string("a/b"), std::string("/"),
        std::string("a\0b", 3), std::string(256, 'x')}) {
    REQUIRE_FALSE(is_safe_name(name));
    Record record = example_record();
    record.name = name;
    REQUIRE_FALSE(encode_record(record).ok());
    record = example_record();
    record.from_name = name;
    REQUIRE_FALSE(encode_record(record).ok());
  }
  REQUIRE_FALSE(is_safe_name(""));
  Record record = example_record();
  record.name = "xy";
  std::string bytes = must(encode_record(record));
  const size_t at = bytes.find("\x02xy") + 1;
  for (const std::string& name : {std::string(".."), std::string("/x"), std::string("x\0", 2)}) {
    bytes.replace(at, 2, name);
    require_refused(bytes, "not a file name");
  }
  record.name.clear();
  REQUIRE_FALSE(encode_record(record).ok());
}

TEST_CASE("a create record of a regular file takes about 200 bytes", "[record]") {
  REQUIRE(must(encode_record(example_record())).size() <= 210);
}

TEST_CASE("a record cut short anywhere is refused", "[record]") {
  const std::string bytes = must(encode_record(full_record()));
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    REQUIRE_FALSE(decode_record(cut).ok());
    if (size >= 4) REQUIRE_FALSE(decode_record(resized(cut)).ok());
  }
  require_refused(resized(bytes + '\0'), "follow its last section");
}

TEST_CASE("every flipped bit is refused or breaks the chain", "[record]") {
  Record record = full_record();
  record.chain = {};
  std::string bytes = must(encode_record(record));
  const auto link = chain_link(test_key(), std::string(16, '\0'), bytes);
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    const auto mask = static_cast<char>(1u << (i % 8));
    bytes[i / 8] = static_cast<char>(bytes[i / 8] ^ mask);
    if (const auto decoded = decode_record(bytes); decoded.ok()) {
      REQUIRE(must(encode_record(*decoded)) == bytes);
      REQUIRE(chain_link(test_key(), std::string(16, '\0'), bytes) != link);
    }
    bytes[i / 8] = static_cast<char>(bytes[i / 8] ^ mask);
  }
}

TEST_CASE("a section that should have been left out is refused", "[record]") {
  Record record;
  record.time_ns = 7;
  record.wall_ns = 8;
  std::string bytes = must(encode_record(record));
  set_le(bytes.data() + 64, int64_t{7});
  require_refused(bytes, "should have left out");

  Record linked;
  linked.stat.nlink = 2;
  bytes = must(encode_record(linked));
  set_le(bytes.data() + 64, uint32_t{1});
  require_refused(bytes, "should have left out");

  Record empty;
  empty.content.kind = ContentKind::kEmpty;
  bytes = must(encode_record(empty));
  bytes[64] = 0;
  require_refused(resized(bytes + std::string(32, '\0')), "should have left out");
}

TEST_CASE("unknown values are refused", "[record]") {
  const std::string good = must(encode_record(example_record()));
  const auto with = [&](size_t at, char value) {
    std::string bytes = good;
    bytes[at] = value;
    return bytes;
  };
  require_refused(with(4, 2), "version 2");
  REQUIRE(decode_record(with(4, 2)).error().code == ErrorCode::kUnsupported);
  require_refused(with(5, 0), "kind");
  require_refused(with(5, 19), "kind");
  require_refused(with(6, 24), "verdict");
  require_refused(with(7, 0), "file type");
  require_refused(with(7, 8), "file type");
  require_refused(with(9, static_cast<char>(0xff)), "sections that do not exist");
  require_refused(with(44, 1), "reserved");
}

TEST_CASE("extended attributes are sorted and named", "[record]") {
  Record record = example_record();
  record.xattrs = {{"user.b", "1"}, {"user.a", "2"}};
  REQUIRE_FALSE(encode_record(record).ok());
  record.xattrs = {{"user.a", "1"}, {"user.a", "2"}};
  REQUIRE_FALSE(encode_record(record).ok());
  record.xattrs = {{"", "1"}};
  REQUIRE_FALSE(encode_record(record).ok());
  // A count that promises more than there is must not cost memory.
  record.xattrs = {{"user.a", "1"}};
  std::string bytes = must(encode_record(record));
  set_le(bytes.data() + bytes.find("user.a") - 6, UINT32_MAX);
  require_refused(bytes, "inside a section");
}

TEST_CASE("a record that is too large is refused", "[record]") {
  Record record = example_record();
  record.xattrs = {{"user.large", std::string(kRecordBytesMax, 'x')}};
  const auto encoded = encode_record(record);
  REQUIRE_FALSE(encoded.ok());
  REQUIRE(encoded.error().message.find("too large") != std::string::npos);
  record.xattrs.clear();
  record.note.assign(kRecordBytesMax - 400, 'n');
  round_trip(record);
}

TEST_CASE("a batch splits into its records", "[record]") {
  const std::string one = must(encode_record(example_record()));
  const std::string two = must(encode_record(full_record()));
  REQUIRE(must(split_records("")).empty());
  const std::string batch = one + two;
  const auto records = must(split_records(batch));
  REQUIRE(records == std::vector<std::string_view>{one, two});
  for (size_t size = 1; size < batch.size(); ++size) {
    if (size != one.size()) REQUIRE_FALSE(split_records(batch.substr(0, size)).ok());
  }
  std::string bad = batch;
  set_le(bad.data() + one.size(), uint32_t{0});
  REQUIRE_FALSE(split_records(bad).ok());
}

TEST_CASE("random bytes behind a good head never decode to what they are not", "[record]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const std::string good = must(encode_record(full_record()));
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = good;
    for (int i = 0; i < 4; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    bytes.resize(64 + random() % (bytes.size() - 63), 'r');
    set_le(bytes.data(), static_cast<uint32_t>(bytes.size()));
    if (const auto decoded = decode_record(bytes); decoded.ok()) {
      REQUIRE(must(encode_record(*decoded)) == bytes);
    }
  }
}

TEST_CASE("kinds, verdicts and flags have the words of the interface", "[record]") {
  for (int number = 1; number <= 17; ++number) {
    const auto kind = static_cast<RecordKind>(number);
    REQUIRE(record_kind_of(record_kind_name(kind)) == kind);
  }
  REQUIRE(std::string(record_kind_name(RecordKind::kVolumeTimeShift)) == "volume_time_shift");
  REQUIRE(std::string(record_kind_name(RecordKind::kService)) == "service");
  REQUIRE(std::string(record_kind_name(RecordKind::kLink)) == "create");
  REQUIRE_FALSE(record_kind_of("").has_value());
  for (int number = 1; number <= 23; ++number) {
    const auto verdict = static_cast<Verdict>(number);
    REQUIRE(verdict_of(verdict_name(verdict)) == verdict);
  }
  REQUIRE(std::string(verdict_name(Verdict::kNone)) == "none");
  REQUIRE(std::string(verdict_name(Verdict::kReplaced)) == "replaced");
  REQUIRE_FALSE(verdict_of("").has_value());
  REQUIRE(record_flag_names(kFlagMtimeSet | kFlagReplaced | kFlagSnapshotRemoved) ==
          std::vector<std::string>{"mtime_set", "replaced", "snapshot_removed"});
}
