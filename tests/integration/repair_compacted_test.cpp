// Packs that a prune wrote anew, damaged: what is sound is saved, what a live file has comes back,
// what is lost is named, and the state is clean and can be pruned again.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/churn.h"
#include "tests/support/damage.h"
#include "tests/support/tree.h"

namespace holdfast {
namespace {

using Catch::Contains;
namespace fs = std::filesystem;

constexpr uint64_t kCompactedPackMin = 0x80000000U;  // docs/formats/pack.md

uint64_t number_of(const std::string& pack) {
  const std::string name = fs::path(pack).stem();
  return std::stoull(name.substr(name.rfind('-') + 1));
}

// `old` has a snapshot that keeps its first content, which no file has any more; `gone` is pruned.
struct Compacted {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};
  std::string pack;  // the compacted one
  uint64_t kept = 0, last = 0;
  Tree kept_tree, last_tree;

  Compacted() {
    write_file(root + "/old", random_bytes_of(70'000, 1));
    for (unsigned i = 0; i < 20; ++i) {
      write_file(root + "/f" + std::to_string(i), random_bytes_of(50'000, 10 + i));
    }
    holdfast.start({"data=" + root});
    holdfast.flush();
    kept = holdfast.json({"snapshot", "-m", "keep"}).at("seq").get<uint64_t>();
    kept_tree = read_tree(root);
    write_file(root + "/old", random_bytes_of(70'000, 2));
    write_file(root + "/gone", random_bytes_of(900'000, 3));
    holdfast.flush();
    fs::remove(root + "/gone");
    holdfast.flush();
    prune();
    write_file(root + "/late", "behind the compacted pack");
    last = holdfast.flush();
    last_tree = read_tree(root);
    holdfast.stop();
    for (const auto& entry : fs::directory_iterator(holdfast.state() + "/packs")) {
      if (number_of(entry.path()) <= kCompactedPackMin) continue;
      REQUIRE(pack.empty());
      pack = entry.path();
    }
    REQUIRE_FALSE(pack.empty());
  }

  TestJson prune() {
    const TestJson result =
        holdfast.json({"prune", "--all", "0s", "--hourly", "0", "--daily", "0", "--weekly", "0",
                       "--monthly", "0", "--last", "1", "--grace", "0s"});
    INFO(result.dump());
    REQUIRE(result.at("bytes_waiting") == 0);
    return result;
  }
  TestJson repair(int expected) const {
    require_damage_found(holdfast);
    TestJson result = holdfast::repair(holdfast, expected);
    REQUIRE(result.at("records_lost").empty());
    REQUIRE(result.at("replaced") == TestJson::array({pack}));
    return result;
  }
  // Of damage that may, or may not, touch the one content that no file has any more. (Each
  // repository cuts contents at places of its own, so what stands beside what differs from run to
  // run; and a content in several chunks has their list in a chunk, too.)
  TestJson repair_all_but_old() const {
    const Outcome outcome = holdfast.run({"repair", "--json"});
    INFO(outcome.out << outcome.err);
    TestJson result = parse_lines(outcome.out).back();
    REQUIRE(outcome.exit_code == (result.at("lost").empty() ? 3 : 5));
    REQUIRE(result.at("records_lost").empty());
    REQUIRE(result.at("replaced") == TestJson::array({pack}));
    for (const TestJson& lost : result.at("lost")) REQUIRE(lost.at("path") == "old");
    return result;
  }
  void require_lost(const TestJson& result) const {
    INFO(result.dump());
    REQUIRE(result.at("lost").size() == 1);
    REQUIRE(result.at("lost").at(0).at("path") == "old");
    REQUIRE(result.at("lost").at(0).at("since") <= kept);
    REQUIRE(result.at("lost").at(0).at("until") > kept);
    const Outcome partly = holdfast.run({"restore", "--at", at(kept), "--to", work.path("partly")});
    INFO(partly.out << partly.err);
    REQUIRE(partly.exit_code == 5);
    REQUIRE(read_file(work.path("partly/f7")) == read_file(root + "/f7"));
  }
  // The present is whole, a rebuild finds the same, and pruning goes on.
  void require_saved() {
    holdfast::require_saved(holdfast, work, last, last_tree);
    holdfast.start({"data=" + root});
    for (unsigned i = 0; i < 10; ++i) {
      write_file(root + "/f" + std::to_string(i), "short " + std::to_string(i));
    }
    holdfast.flush();
    holdfast.text({"snapshot", "rm", "s" + std::to_string(kept)});
    REQUIRE(prune().at("packs_rewritten") > 0);
    holdfast.require_restores(work, holdfast.flush(), read_tree(root));
    holdfast.stop();
    holdfast.require_clean(true);
  }
};

size_t first_frame(const std::string& pack, char type) {
  const size_t found = read_file(pack).find(std::string("HFFR") + type);
  REQUIRE(found != std::string::npos);
  return found;
}

// Where the bytes stand in the pack: what is random is stored as it is.
size_t place_of(const std::string& pack, const std::string& content) {
  const size_t found = read_file(pack).find(content.substr(0, 64));
  REQUIRE(found != std::string::npos);
  return found;
}

}  // namespace

TEST_CASE("a flipped byte in a compacted pack costs what nobody else has", "[repair][prune]") {
  Compacted state;
  SECTION("of its head") {
    flip_byte(state.pack, 50);
    REQUIRE(state.repair(3).at("lost").empty());
    state.holdfast.require_restores(state.work, state.kept, state.kept_tree);
  }
  SECTION("of its head, and there is no journal") {
    flip_byte(state.pack, 50);
    fs::remove_all(state.holdfast.state() + "/journal");
    REQUIRE(state.repair(3).at("lost").empty());
    state.holdfast.require_restores(state.work, state.kept, state.kept_tree);
  }
  SECTION("of the range that it stands for") {
    flip_byte(state.pack, 77);  // docs/formats/pack.md
    REQUIRE(state.repair(3).at("lost").empty());
  }
  SECTION("of records") {
    flip_byte(state.pack, first_frame(state.pack, '\4') + 70);
    const TestJson result = state.repair(3);
    REQUIRE(result.at("records_saved") > 0);
    REQUIRE(result.at("lost").empty());
    state.holdfast.require_restores(state.work, state.kept, state.kept_tree);
  }
  SECTION("of its footer") {
    flip_byte(state.pack, fs::file_size(state.pack) - 60);
    REQUIRE(state.repair(3).at("lost").empty());
    state.holdfast.require_restores(state.work, state.kept, state.kept_tree);
  }
  SECTION("of its trailer") {
    flip_byte(state.pack, fs::file_size(state.pack) - 3);
    REQUIRE(state.repair(3).at("lost").empty());
  }
  SECTION("of a content that is nowhere else") {
    flip_byte(state.pack, place_of(state.pack, random_bytes_of(70'000, 1)) + 5000);
    state.require_lost(state.repair(5));
  }
  SECTION("of a content that a live file has") {
    flip_byte(state.pack, place_of(state.pack, random_bytes_of(50'000, 17)) + 300);
    require_damage_found(state.holdfast);
    const TestJson result = state.repair_all_but_old();
    REQUIRE(result.at("chunks_refetched") > 0);
  }
  state.require_saved();
}

TEST_CASE("a compacted pack that is gone or cut is made anew", "[repair][prune]") {
  Compacted state;
  const uint64_t bytes = fs::file_size(state.pack);
  SECTION("deleted") { fs::remove(state.pack); }
  SECTION("cut to nothing") { fs::resize_file(state.pack, 0); }
  SECTION("cut within its head") { fs::resize_file(state.pack, 100); }
  SECTION("cut in half") { fs::resize_file(state.pack, bytes / 2); }
  SECTION("cut by one byte") { fs::resize_file(state.pack, bytes - 1); }
  const bool whole = fs::exists(state.pack) && fs::file_size(state.pack) + 1 == bytes;
  const Outcome check = state.holdfast.run({"check"});
  INFO(check.out << check.err);
  REQUIRE(check.exit_code == 3);
  const TestJson result = state.repair_all_but_old();
  if (whole) REQUIRE(result.at("lost").empty());
  if (!whole) REQUIRE(result.at("chunks_refetched") > 0);
  state.require_saved();
}

}  // namespace holdfast
