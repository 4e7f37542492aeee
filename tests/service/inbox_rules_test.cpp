#include "service/inbox_rules.h"
#include "base/clock.h"

#include <catch2/catch.hpp>

namespace holdfast {
namespace {
constexpr int64_t kSettleNs = 5 * kSecondNs;
}  // namespace

TEST_CASE("which names are taken", "[inbox]") {
  const std::vector<std::string> match{"*.sql", "*.sql.gz", "dump-[0-9]*"};
  struct Row {
    std::string name;
    NameRule rule;
  };
  const auto row = GENERATE(values<Row>({
      {"a.sql", NameRule::kTaken},
      {"a.sql.gz", NameRule::kTaken},
      {"a b\n.sql", NameRule::kTaken},
      {"dump-1x", NameRule::kTaken},
      {"dump-x", NameRule::kNoMatch},
      {"a.SQL", NameRule::kNoMatch},
      {"a.sql.bak", NameRule::kNoMatch},
      {".a.sql", NameRule::kNever},
      {".sql", NameRule::kNever},
      {"a.sql.part", NameRule::kNever},
      {"dump-1.tmp", NameRule::kNever},
      {"dump-1.filepart", NameRule::kNever},
      {"dump-1.crdownload", NameRule::kNever},
  }));
  INFO(row.name);
  REQUIRE(judge_name(row.name, match) == row.rule);
}

TEST_CASE("when a file is complete", "[inbox]") {
  Dropped file;
  file.size = 1;
  const Watching closed{0, true}, found{0, false};
  const int64_t soon = 1, late = kSettleNs;
  struct Row {
    bool closed;
    Writers writers;
    int64_t now_ns;
    bool complete;
  };
  const auto row = GENERATE_COPY(values<Row>({
      {true, Writers::kNone, soon, true},
      {true, Writers::kSome, late, false},
      {true, Writers::kUnknown, soon, false},
      {true, Writers::kUnknown, late, true},
      {false, Writers::kNone, soon, false},
      {false, Writers::kNone, late, true},
      {false, Writers::kSome, late, false},
      {false, Writers::kUnknown, late - 1, false},
      {false, Writers::kUnknown, late, true},
  }));
  REQUIRE(is_complete(file, row.closed ? closed : found, row.writers, row.now_ns, kSettleNs) ==
          row.complete);
  // An empty one may be the beginning of an upload, whoever closed it.
  file.size = 0;
  REQUIRE_FALSE(is_complete(file, closed, Writers::kNone, soon, kSettleNs));
  REQUIRE(is_complete(file, closed, Writers::kNone, late, kSettleNs));
}

TEST_CASE("the oldest comes first, and of two the first by name", "[inbox]") {
  Dropped a, b;
  a.name = "b", a.mtime_ns = 1;
  b.name = "a", b.mtime_ns = 2;
  REQUIRE(taken_before(a, b));
  b.mtime_ns = 1;
  REQUIRE(taken_before(b, a));
}

TEST_CASE("how a name says that it is packed", "[inbox]") {
  REQUIRE(packing_of("a.sql.gz") == Packing::kGzip);
  REQUIRE(packing_of("a.zst") == Packing::kZstd);
  REQUIRE(packing_of("a.xz") == Packing::kXz);
  REQUIRE(packing_of("a.bz2") == Packing::kBzip2);
  REQUIRE(packing_of("a.sql") == Packing::kNone);
  REQUIRE(packing_of(".gz") == Packing::kNone);
  REQUIRE(unpacked_name("a.sql.gz") == "a.sql");
  REQUIRE(unpacked_name("a.gz.gz") == "a.gz");
  REQUIRE(unpacked_name("gz") == "gz");
}

TEST_CASE("{file} is replaced wherever it stands, once", "[inbox]") {
  const std::vector<std::string> command{"r", "{file}", "--in={file},{file}", "{fil", "{file"};
  REQUIRE(uses_file(command));
  REQUIRE_FALSE(uses_file({"r", "{fil}"}));
  REQUIRE(filled_in(command, "/a {file} b") ==
          std::vector<std::string>{"r", "/a {file} b", "--in=/a {file} b,/a {file} b", "{fil",
                                   "{file"});
  REQUIRE(words_for_command({"r", "it's"}) == "'r' 'it'\\''s'");
}

TEST_CASE("names in done/ and failed/", "[inbox]") {
  constexpr int64_t kNow = 1'795'269'787 * kSecondNs;  // 2026-11-21T14:03:07Z
  REQUIRE(filed_name("a.sql", kNow, 0) == "a.sql");
  REQUIRE(filed_name("a.sql", kNow, 1) == "20261121T140307Z-a.sql");
  REQUIRE(filed_name("a.sql", kNow, 2) == "20261121T140307Z-2-a.sql");
  REQUIRE(filed_name(std::string(255, 'x'), kNow, 0).size() == 246);  // ".replaced" fits behind
}

}  // namespace holdfast
