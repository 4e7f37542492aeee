// The table of seeding: the code against docs/seed.md, over the whole space of inputs.
#include "service/seed_rules.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "base/hash.h"

namespace holdfast {
namespace {

// One row of the document, cell by cell as it stands there.
using DocRow = std::map<std::string, std::string>;

std::string trim(const std::string& text) {
  const size_t begin = text.find_first_not_of(" `");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" `") - begin + 1);
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
  std::ifstream file(std::string(HOLDFAST_SOURCE_DIR) + "/docs/seed.md");
  REQUIRE(file.good());
  std::vector<DocRow> rows;
  std::vector<std::string> head;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| # |")) head = cells_of(line);
    if (head.empty() || !line.starts_with("| ") || line.starts_with("| #")) continue;
    const auto cells = cells_of(line);
    if (cells.size() != head.size()) break;  // the next table
    DocRow row;
    for (size_t i = 0; i < head.size(); ++i) row[head[i]] = cells[i];
    REQUIRE(row["#"] == std::to_string(rows.size()));
    rows.push_back(std::move(row));
  }
  return rows;
}

bool fits_volume(const std::string& cell, const SeedState& state) {
  if (cell.empty()) return true;
  if (cell == "nothing") return !state.volume;
  if (!state.volume) return false;
  if (cell == "damaged") return state.damaged;
  if (cell == "same") return state.volume == state.image;
  if (cell == "type") return state.image && state.image->type != state.volume->type;
  bool brought = state.volume == state.seeded;
  for (const SeedValue& value : state.earlier) brought = brought || value == *state.volume;
  if (cell == "seeded") return brought;
  REQUIRE(cell == "edited");
  return !brought;
}

bool fits_seeded(const std::string& cell, const SeedState& state) {
  if (cell.empty()) return true;
  if (cell == "nothing") return !state.seeded;
  REQUIRE(cell == "same");
  return state.seeded && state.seeded == state.image;
}

bool fits_asked(const std::string& cell, const SeedState& state) {
  if (cell.empty()) return true;
  if (cell == "--force") return state.force;
  if (cell == "--mine") return state.mine;
  if (cell == "--delete") return state.remove;
  REQUIRE(cell == "--respect-deletes");
  return state.respect_deletes;
}

bool fits(DocRow& row, const SeedState& state) {
  const std::string image = row["image"];
  if (!image.empty() && (image == "yes") != state.image.has_value()) return false;
  return fits_volume(row["volume"], state) && fits_seeded(row["last seeded"], state) &&
         fits_asked(row["asked"], state);
}

SeedValue file(const std::string& content) { return {FileType::kFile, content_hash(content)}; }

// Every value that a side can have; "link" is of another type than the others.
std::vector<std::optional<SeedValue>> sides() {
  return {std::nullopt, file("one"), file("two"), file("three"), seed_value_of_link("one")};
}

}  // namespace

TEST_CASE("every combination is decided as the table in the documentation says", "[seed]") {
  auto rows = read_document();
  REQUIRE(rows.size() == 16);
  std::set<std::string> met;
  size_t compared = 0;
  for (const auto& image : sides()) {
    for (const auto& volume : sides()) {
      for (const auto& seeded : sides()) {
        for (const auto& earlier : sides()) {
          for (unsigned options = 0; options < 32; ++options) {
            SeedState state{image, volume, seeded, {}};
            if (earlier) state.earlier = {*earlier};
            state.damaged = (options & 1) != 0;
            state.force = (options & 2) != 0;
            state.mine = (options & 4) != 0;
            state.remove = (options & 8) != 0;
            state.respect_deletes = (options & 16) != 0;
            const auto row = std::find_if(rows.begin(), rows.end(),
                                          [&](DocRow& one) { return fits(one, state); });
            REQUIRE(row != rows.end());
            met.insert((*row)["#"]);
            const SeedAction action = decide_seed(state).action;
            // What is adopted already is not adopted again.
            const bool same = action == SeedAction::kSame && state.seeded == state.image;
            const std::string found = same ? "adopt" : seed_action_name(action);
            if (found != (*row)["action"]) {
              FAIL("row " << (*row)["#"] << " says " << (*row)["action"] << ", the code " << found);
            }
            ++compared;
          }
        }
      }
    }
  }
  CHECK(met.size() == rows.size());  // each row is reached
  CHECK(compared == 5 * 5 * 5 * 5 * 32);
}

TEST_CASE("the policy decides conflicts and nothing else", "[seed]") {
  SeedState state{file("new"), file("mine"), file("old"), {}};
  CHECK(decide_seed(state).action == SeedAction::kConflict);
  state.policy = SeedPolicy::kFail;
  CHECK(decide_seed(state).action == SeedAction::kConflict);
  state.policy = SeedPolicy::kReplace;
  CHECK(decide_seed(state).action == SeedAction::kReplace);
  state.seeded = state.image;  // edited by hand, and the image has no other one
  CHECK(decide_seed(state).action == SeedAction::kKeep);
  CHECK(seed_policy_of("replace") == SeedPolicy::kReplace);
  CHECK_FALSE(seed_policy_of("overwrite"));
}

TEST_CASE("what an action means for what is remembered", "[seed]") {
  CHECK(SeedDecision{SeedAction::kSettle, ""}.answers());
  CHECK_FALSE(SeedDecision{SeedAction::kSettle, ""}.writes());
  CHECK_FALSE(SeedDecision{SeedAction::kConflict, ""}.answers());
  CHECK_FALSE(SeedDecision{SeedAction::kLeave, ""}.answers());
  CHECK(SeedDecision{SeedAction::kRemove, ""}.writes());
  CHECK_FALSE(SeedDecision{SeedAction::kOrphan, ""}.writes());
}

TEST_CASE("values of what has no content", "[seed]") {
  CHECK(seed_value_of_link("a") != seed_value_of_link("b"));
  CHECK(seed_value_of_special(FileType::kDir, 0) == seed_value_of_special(FileType::kDir, 7));
  CHECK(seed_value_of_special(FileType::kChar, 0x103) !=
        seed_value_of_special(FileType::kChar, 0x105));
  CHECK(seed_value_of_special(FileType::kChar, 0x103).hash == content_hash("1:3"));
}

}  // namespace holdfast
