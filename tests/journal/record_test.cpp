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

constexpr size_t kSectionsAt = kRecordBytesMin;  // where all numbers before them take one byte

// The bytes with the size they state made right.
std::string resized(std::string bytes) {
  set_le(bytes.data(), static_cast<uint32_t>(bytes.size()) | uint32_t{kRecordVersion} << 24);
  return bytes;
}

}  // namespace

TEST_CASE("a record of every section survives encoding", "[record]") {
  round_trip(full_record());
  round_trip(example_record());
  Record bare;
  round_trip(bare);
  REQUIRE(must(encode_record(bare)).size() == kRecordBytesMin);
}

// All sections of version 2, as they were first written: this must never change.
TEST_CASE("the golden record of version 2 is read and written", "[record]") {
  const std::string golden =
      "d3000002041701ff1ff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff00b39e96c7c5e9"
      "18d2098080f89492a527030109012a070a7265706f72742e747874a483020bff"
      "83af5fffa798913700818008e807e807038110a0a1a2a3a4a5a6a7a8a9aaabac"
      "adaeaf03c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadb"
      "dcdddedfb0094d096f6c640a6e616d65ff0c2e2e2f736f6d6577686572650210"
      "73656375726974792e73656c696e7578036100620a757365722e656d70747900"
      "1261206e6f74652c20776974680061204e554c";
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

TEST_CASE("a create record of a regular file takes about 130 bytes", "[record]") {
  REQUIRE(must(encode_record(example_record())).size() <= 132);
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
  bytes[kSectionsAt] = 0;
  require_refused(bytes, "should have left out");

  Record linked;
  linked.stat.nlink = 2;
  bytes = must(encode_record(linked));
  bytes[kSectionsAt] = 1;
  require_refused(bytes, "should have left out");

  Record empty;
  empty.content.kind = ContentKind::kEmpty;
  bytes = must(encode_record(empty));
  bytes[kSectionsAt] = 0;
  require_refused(resized(bytes + std::string(32, '\0')), "should have left out");
}

TEST_CASE("a number in more bytes than it takes, or above its width, is refused", "[record]") {
  Record record;
  record.seq.value = 300;  // ac 02
  record.boot = UINT32_MAX;
  const std::string good = must(encode_record(record));
  REQUIRE(good.substr(33, 8) == std::string("\xac\x02\0\xff\xff\xff\xff\x0f", 8));
  std::string bytes = good;
  bytes.replace(33, 2, std::string("\xac\x82\0", 3));
  require_refused(resized(bytes), "inside a section");
  bytes = good;
  bytes[40] = 0x10;  // a boot of 33 bits
  require_refused(bytes, "inside a section");
  record.seq.value = UINT64_MAX;
  bytes = must(encode_record(record));
  REQUIRE(bytes[42] == 1);
  bytes[42] = 2;  // a sequence of 65 bits
  require_refused(bytes, "inside a section");
}

TEST_CASE("the beginning of a record can be read by itself", "[record]") {
  Record record = full_record();
  for (const int64_t wall_ns : {record.time_ns, record.time_ns - 5, int64_t{-1}, INT64_MIN}) {
    record.wall_ns = wall_ns;
    const std::string bytes = must(encode_record(record));
    REQUIRE(peek_sequence(bytes) == record.seq);
    REQUIRE(peek_time(bytes) == record.time_ns);
    REQUIRE(peek_wall(bytes) == wall_ns);
    REQUIRE(peek_kind(bytes) == std::pair(record.kind, record.verdict));
    for (size_t size = 0; size < kRecordBytesMin; ++size) {
      REQUIRE_FALSE(peek_sequence(bytes.substr(0, size)).has_value());
      REQUIRE_FALSE(peek_time(bytes.substr(0, size)).has_value());
      REQUIRE_FALSE(peek_wall(bytes.substr(0, size)).has_value());
      REQUIRE_FALSE(peek_kind(bytes.substr(0, size)).has_value());
    }
  }
}

// Times that lie anywhere, also where their distance from each other does not fit 64 bits.
TEST_CASE("times far from each other survive encoding", "[record]") {
  const int64_t times[] = {INT64_MIN, -1, 0, 1, 1'795'183'387'500'000'000, INT64_MAX};
  for (const int64_t time : times) {
    for (const int64_t other : times) {
      Record record = example_record();
      record.time_ns = time;
      record.wall_ns = record.stat.ctime_ns = other;
      record.stat.mtime_ns = time;
      record.stat.btime_ns = ~other;
      round_trip(record);
    }
  }
}

TEST_CASE("unknown values are refused", "[record]") {
  const std::string good = must(encode_record(example_record()));
  const auto with = [&](size_t at, char value) {
    std::string bytes = good;
    bytes[at] = value;
    return bytes;
  };
  for (const char version : {'\0', '\1', '\3'}) {
    require_refused(with(3, version), "version " + std::to_string(int{version}));
    REQUIRE(decode_record(with(3, version)).error().code == ErrorCode::kUnsupported);
  }
  require_refused(with(4, 0), "kind");
  require_refused(with(4, 19), "kind");
  require_refused(with(5, 24), "verdict");
  require_refused(with(6, 0), "file type");
  require_refused(with(6, 8), "file type");
  require_refused(with(8, static_cast<char>(0xff)), "sections that do not exist");
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
  const size_t count = bytes.find("user.a") - 2;
  bytes[count] = 0x7f;
  require_refused(bytes, "inside a section");
  bytes.replace(count, 1, "\xff\xff\xff\xff\xff\xff\xff\xff\x7f");
  require_refused(resized(bytes), "inside a section");
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
    bytes.resize(kRecordBytesMin + random() % (bytes.size() - kRecordBytesMin + 1), 'r');
    bytes = resized(std::move(bytes));
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
  REQUIRE(record_flag_names(kFlagNotKept) == std::vector<std::string>{"not_kept"});
}
