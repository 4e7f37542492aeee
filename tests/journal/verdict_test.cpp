// The verdict table: the code against docs/verdicts.md, over the whole space of inputs.
#include "journal/verdict.h"

#include <array>
#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <set>

using namespace holdfast;

namespace {

// One row of the document, cell by cell as it stands there.
struct DocRow {
  std::map<std::string, std::string> cells;
};

std::string trim(const std::string& text) {
  const size_t begin = text.find_first_not_of(" `*");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" `*") - begin + 1);
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  for (size_t at = 1; at < line.size();) {
    const size_t bar = std::min(line.find('|', at), line.size());
    if (bar < line.size()) cells.push_back(trim(line.substr(at, bar - at)));
    at = bar + 1;
  }
  return cells;
}

std::vector<DocRow> read_document() {
  std::ifstream file(std::string(HOLDFAST_SOURCE_DIR) + "/docs/verdicts.md");
  REQUIRE(file.good());
  std::vector<DocRow> rows;
  std::vector<std::string> head;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| # |")) head = cells_of(line);
    if (head.empty() || !line.starts_with("| ") || line.starts_with("| #")) continue;
    const auto cells = cells_of(line);
    if (cells.size() != head.size()) break;  // the next table
    DocRow row;
    for (size_t i = 0; i < head.size(); ++i) row.cells[head[i]] = cells[i];
    REQUIRE(row.cells["#"] == std::to_string(rows.size()));
    rows.push_back(std::move(row));
  }
  return rows;
}

bool fits_sign(const std::string& cell, Stamp stamp) {
  if (cell == "=") return stamp == Stamp::kSame;
  if (cell == "≠") return stamp != Stamp::kSame;
  if (cell == "<") return stamp == Stamp::kEarlier;
  if (cell == ">") return stamp == Stamp::kLater;
  REQUIRE(cell.empty());
  return true;
}
bool fits_same(const std::string& cell, bool same) {
  REQUIRE((cell.empty() || cell == "=" || cell == "≠"));
  return cell.empty() || (cell == "=") == same;
}
bool fits_bool(const std::string& cell, bool value) {
  REQUIRE((cell.empty() || cell == "yes" || cell == "no"));
  return cell.empty() || (cell == "yes") == value;
}
bool fits_told(const std::string& cell, Told told) {
  static const std::map<Told, std::string> kWords{
      {Told::kSeen, "seen"}, {Told::kUnseen, "unseen"}, {Told::kUncovered, "uncovered"}};
  if (cell.starts_with("not ")) return cell.substr(4) != kWords.at(told);
  return cell.empty() || cell == kWords.at(told);
}
bool fits_reading(const std::string& cell, Reading reading) {
  static const std::map<Reading, std::string> kWords{{Reading::kFailed, "failed"},
                                                     {Reading::kUnsettled, "unsettled"},
                                                     {Reading::kDisagrees, "disagrees"}};
  if (cell.empty()) return reading == Reading::kSound;  // the document's rows from 3 on
  const auto word = kWords.find(reading);
  return word != kWords.end() && word->second == cell;
}

bool fits(const DocRow& row, const Evidence& e) {
  const auto& cells = row.cells;
  return fits_reading(cells.at("reading"), e.reading) &&
         fits_same(cells.at("content"), e.same_content) &&
         fits_same(cells.at("size"), e.same_size) && fits_sign(cells.at("mtime"), e.mtime) &&
         fits_sign(cells.at("ctime"), e.ctime) &&
         fits_same(cells.at("identity"), e.same_identity) && fits_told(cells.at("told"), e.told) &&
         fits_bool(cells.at("clean"), e.clean_baseline) &&
         fits_bool(cells.at("known"), e.known_content) &&
         fits_bool(cells.at("set back"), e.clock_set_back) &&
         fits_bool(cells.at("unclean"), e.unclean_boot);
}

// Every combination that can be: the same content has the same size.
std::vector<Evidence> all_evidence() {
  std::vector<Evidence> all;
  constexpr std::array<unsigned, 11> kSizes{4, 2, 2, 3, 3, 2, 3, 2, 2, 2, 2};
  unsigned count = 1;
  for (const unsigned size : kSizes) count *= size;
  for (unsigned number = 0; number < count; ++number) {
    unsigned rest = number;
    size_t field = 0;
    const auto next = [&] {
      const unsigned value = rest % kSizes[field];
      rest /= kSizes[field++];
      return value;
    };
    Evidence e;
    e.reading = static_cast<Reading>(next());
    e.same_content = next() != 0;
    e.same_size = next() != 0;
    e.mtime = static_cast<Stamp>(next());
    e.ctime = static_cast<Stamp>(next());
    e.same_identity = next() != 0;
    e.told = static_cast<Told>(next());
    e.clean_baseline = next() != 0;
    e.known_content = next() != 0;
    e.clock_set_back = next() != 0;
    e.unclean_boot = next() != 0;
    if (!e.same_content || e.same_size) all.push_back(e);
  }
  return all;
}

Record file_at(int64_t mtime, int64_t ctime) {
  Record record;
  record.stat.mtime_ns = mtime;
  record.stat.ctime_ns = ctime;
  record.hash.bytes[0] = 1;
  return record;
}

}  // namespace

TEST_CASE("the code answers every input as the documented table does", "[verdict]") {
  const auto rows = read_document();
  REQUIRE(rows.size() == 23);
  const auto inputs = all_evidence();
  REQUIRE(inputs.size() == 4 * 3 * 3 * 3 * 2 * 3 * 16);
  std::set<int> reached;
  for (const Evidence& evidence : inputs) {
    int answer = -1;
    for (size_t i = 0; i < rows.size() && answer < 0; ++i) {
      if (fits(rows[i], evidence)) answer = static_cast<int>(i);
    }
    REQUIRE(answer >= 0);  // a row for every input
    REQUIRE(answer == verdict_row(evidence));
    REQUIRE(rows[static_cast<size_t>(answer)].cells.at("verdict") ==
            verdict_name(classify(evidence)));
    reached.insert(answer);
  }
  REQUIRE(reached.size() == rows.size());  // and an input for every row
}

TEST_CASE("every verdict of the table is explained, and every word is a verdict", "[verdict]") {
  std::ifstream file(std::string(HOLDFAST_SOURCE_DIR) + "/docs/verdicts.md");
  std::set<std::string> explained;
  bool in_meanings = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) in_meanings = line == "## What each one means";
    if (in_meanings && line.starts_with("| `")) explained.insert(cells_of(line)[0]);
  }
  std::set<std::string> words;
  for (const DocRow& row : read_document()) words.insert(row.cells.at("verdict"));
  CHECK(explained == words);
  for (const std::string& word : words) CHECK(verdict_of(word).has_value());
}

TEST_CASE("the evidence of two records", "[verdict]") {
  const Record baseline = file_at(100, 100);
  SECTION("nothing moved") { CHECK(classify(evidence_of(baseline, baseline)) == Verdict::kOk); }
  SECTION("stamps are compared by direction") {
    const Evidence later = evidence_of(baseline, file_at(101, 102));
    CHECK((later.mtime == Stamp::kLater && later.ctime == Stamp::kLater));
    const Evidence earlier = evidence_of(baseline, file_at(99, 98));
    CHECK((earlier.mtime == Stamp::kEarlier && earlier.ctime == Stamp::kEarlier));
  }
  SECTION("content is hash, chunks and a link's target together") {
    Record other = baseline;
    other.content = {ContentKind::kChunk, {}};
    other.content.id.bytes[0] = 7;  // a crafted collision: the same hash, other bytes
    CHECK_FALSE(evidence_of(baseline, other).same_content);
    other.flags = kFlagSparse;  // holes may move without a change
    CHECK(evidence_of(baseline, other).same_content);
    other.flags = kFlagNotKept;  // the hash is all there is
    CHECK(evidence_of(baseline, other).same_content);
    CHECK(evidence_of(other, baseline).same_content);
    other.hash.bytes[0] ^= 1;
    CHECK_FALSE(evidence_of(baseline, other).same_content);
    other.flags = kFlagSparse;
    CHECK_FALSE(evidence_of(baseline, other).same_content);
    other = baseline;
    other.link_target = "elsewhere";
    CHECK_FALSE(evidence_of(baseline, other).same_content);
    other = baseline;
    other.stat.size = 5;
    CHECK_FALSE(evidence_of(baseline, other).same_size);
  }
  SECTION("an mtime set into the future does not make the next write a step back") {
    const Record ahead = file_at(1000, 100);
    CHECK(evidence_of(ahead, file_at(200, 200)).mtime == Stamp::kLater);
    CHECK(evidence_of(ahead, file_at(100, 200)).mtime == Stamp::kLater);
    CHECK(evidence_of(ahead, file_at(50, 200)).mtime == Stamp::kEarlier);
    CHECK(evidence_of(ahead, file_at(1000, 200)).mtime == Stamp::kSame);
  }
  SECTION("each doubt of the baseline counts") {
    for (const uint32_t doubt :
         {kFlagUnstable, kFlagRacy, kFlagUnreadable, kFlagWriter, kFlagUnprobed}) {
      Record unsure = baseline;
      unsure.flags = doubt;
      CHECK_FALSE(evidence_of(unsure, baseline).clean_baseline);
    }
    Record sure = baseline;
    sure.flags = kFlagMtimeSet | kFlagOffline | kFlagSparse;
    CHECK(evidence_of(sure, baseline).clean_baseline);
  }
}

TEST_CASE("which verdicts stay open", "[verdict]") {
  CHECK(stands(Verdict::kCorrupt));
  CHECK(stands(Verdict::kStealthModify));
  CHECK_FALSE(stands(Verdict::kSuspect));
  CHECK_FALSE(stands(Verdict::kRollbackSuspicious));
  CHECK_FALSE(stands(Verdict::kModified));
  CHECK(is_corruption(Verdict::kCrashLoss));
  CHECK_FALSE(is_corruption(Verdict::kReadError));
  CHECK((ends_by_itself(Verdict::kReadError) && stands(Verdict::kReadError)));
}
