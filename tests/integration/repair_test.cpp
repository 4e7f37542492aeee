// Packs deleted, cut, flipped and swapped: what is sound is saved, what a live file still has comes
// back, what is lost is named by path and time, and the state is clean again.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <random>

#include "tests/support/churn.h"
#include "tests/support/damage.h"
#include "tests/support/journal_rows.h"

namespace holdfast {
namespace {

using Catch::Contains;
namespace fs = std::filesystem;

constexpr size_t kMiB = 1 << 20;

// A state of two packs. `old` was replaced before the end: only the packs have its first content.
struct TwoPacks {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};
  std::vector<std::string> packs;
  uint64_t first = 0, last = 0;
  Tree first_tree, last_tree;

  TwoPacks() {
    write_file(root + "/old", random_bytes_of(70'000, 1));
    write_file(root + "/small", "sound");
    holdfast.start({"data=" + root});
    first = holdfast.flush();
    first_tree = read_tree(root);
    write_file(root + "/old", random_bytes_of(70'000, 2));
    for (unsigned i = 0; i < 7; ++i) {
      write_file(root + "/f" + std::to_string(i), random_bytes_of(8 * kMiB, 50 + i));
      holdfast.flush();
    }
    make_dir(root + "/dir");
    rename_path(root + "/small", root + "/dir/moved");
    write_file(root + "/dir/late", "in the second pack");
    last = holdfast.flush();
    last_tree = read_tree(root);
    holdfast.stop();
    for (const auto& entry : fs::directory_iterator(holdfast.state() + "/packs")) {
      packs.push_back(entry.path());
    }
    std::sort(packs.begin(), packs.end());
    REQUIRE(packs.size() == 2);
  }

  TestJson repair(int expected) const { return holdfast::repair(holdfast, expected); }
  void require_found() const { require_damage_found(holdfast); }
  // The present is whole: everything in it is in live files.
  void require_saved() {
    holdfast::require_saved(holdfast, work, last, last_tree);
    holdfast.start({"data=" + root});
    holdfast.require_restores(work, holdfast.flush(), read_tree(root));
    holdfast.stop();
  }
};

std::vector<size_t> frames_of(const std::string& pack, char type) {
  const std::string bytes = read_file(pack);
  std::vector<size_t> frames;
  const std::string magic = std::string("HFFR") + type;
  for (size_t at = bytes.find(magic); at != std::string::npos; at = bytes.find(magic, at + 1)) {
    frames.push_back(at);
  }
  return frames;
}

}  // namespace

TEST_CASE("a sound state needs no repair", "[repair]") {
  TwoPacks state;
  const JournalRows rows = rows_of_state(state.work, state.holdfast.state());
  REQUIRE(state.repair(0).at("found").empty());
  REQUIRE(rows_of_state(state.work, state.holdfast.state()) == rows);
  state.holdfast.start({"data=" + state.root});
  const Outcome refused = state.holdfast.run({"repair"});
  REQUIRE(refused.exit_code == 6);
  REQUIRE_THAT(refused.err, Contains("stop the service first"));
  state.holdfast.stop();
}

TEST_CASE("a flipped byte in a pack costs what nobody else has", "[repair]") {
  TwoPacks state;
  SECTION("of a content that a live file has") {
    flip_byte(state.packs[0], 20 * kMiB);
    state.require_found();
    const TestJson result = state.repair(3);
    REQUIRE(result.at("chunks_refetched") > 0);
    REQUIRE(result.at("lost").empty());
  }
  SECTION("of a content that is nowhere else") {
    flip_byte(state.packs[0], frames_of(state.packs[0], '\1').at(0) + 5000);
    state.require_found();
    const TestJson result = state.repair(5);
    REQUIRE(result.at("lost").size() == 1);
    const TestJson& lost = result.at("lost").at(0);
    REQUIRE(lost.at("path") == "old");
    REQUIRE(lost.at("since") <= state.first);
    REQUIRE(lost.at("until") > state.first);
    // The journal tells it, a restore says so, and check does not complain for ever.
    REQUIRE_THAT(state.holdfast.text({"log", "--kind", "gap"}), Contains("lost"));
    const Outcome partly = state.holdfast.run(
        {"restore", "--at", at(state.first), "--to", state.work.path("out"), "--json"});
    INFO(partly.out << partly.err);
    REQUIRE(partly.exit_code == 5);
    REQUIRE_THAT(partly.out, Contains("lost since a repair"));
    REQUIRE(read_file(state.work.path("out/small")) == "sound");
    REQUIRE(state.repair(5).at("found").empty());
  }
  SECTION("of records") {
    flip_byte(state.packs[0], frames_of(state.packs[0], '\2').at(2) + 70);
    state.require_found();
    const TestJson result = state.repair(3);
    REQUIRE(result.at("records_saved") > 0);
    state.holdfast.require_restores(state.work, state.first, state.first_tree);
  }
  SECTION("of its head") {
    flip_byte(state.packs[0], 50);
    state.require_found();
    state.repair(3);
    state.holdfast.require_restores(state.work, state.first, state.first_tree);
  }
  SECTION("of its footer") {
    flip_byte(state.packs[0], fs::file_size(state.packs[0]) - 60);
    state.require_found();
    state.repair(3);
    state.holdfast.require_restores(state.work, state.first, state.first_tree);
  }
  SECTION("of the last pack") {
    flip_byte(state.packs[1], frames_of(state.packs[1], '\2').at(0) + 70);
    state.require_found();
    state.repair(3);
  }
  state.require_saved();
}

TEST_CASE("a pack that is gone or cut gets its records from the journal", "[repair]") {
  TwoPacks state;
  size_t which = 0;
  SECTION("the first is deleted") { fs::remove(state.packs[0]); }
  SECTION("the last is deleted") {
    which = 1;
    fs::remove(state.packs[1]);
  }
  SECTION("the first is cut") { fs::resize_file(state.packs[0], 9 * kMiB); }
  SECTION("the first is cut to nothing") { fs::resize_file(state.packs[0], 0); }
  SECTION("the last is cut") {
    which = 1;
    fs::resize_file(state.packs[1], fs::file_size(state.packs[1]) / 2);
  }
  state.require_found();
  const Outcome outcome = state.holdfast.run({"repair", "--json"});
  INFO(outcome.out << outcome.err);
  REQUIRE((outcome.exit_code == 3 || outcome.exit_code == 5));
  const TestJson result = parse_lines(outcome.out).back();
  REQUIRE(result.at("records_lost").empty());
  REQUIRE(result.at("replaced") == TestJson::array({state.packs[which]}));
  for (const TestJson& lost : result.at("lost")) REQUIRE(lost.at("path") == "old");
  state.require_saved();
}

TEST_CASE("what a kill leaves at the end of the last pack is no damage", "[repair]") {
  TwoPacks state;
  const std::string end = read_file(state.packs[1]).substr(128, 3000);
  append_file(state.packs[1], end.substr(0, end.size() - 1));
  REQUIRE(state.repair(0).at("replaced").empty());
  state.require_saved();
}

TEST_CASE("another repository's pack in the place of one is found and replaced", "[repair]") {
  TwoPacks state;
  WorkDir work;
  Holdfast other(work.path("state"));
  write_file(work.make("data") + "/x", random_bytes_of(100'000, 3));
  other.start({"data=" + work.path("data")});
  other.flush();
  other.stop();
  for (const auto& entry : fs::directory_iterator(other.state() + "/packs")) {
    fs::copy_file(entry.path(), state.packs[0], fs::copy_options::overwrite_existing);
  }
  state.require_found();
  REQUIRE(state.holdfast.run({"rebuild"}).exit_code == 1);
  REQUIRE(state.repair(5).at("records_lost").empty());
  state.require_saved();
}

TEST_CASE("packs that were swapped get their names back", "[repair]") {
  TwoPacks state;
  const JournalRows rows = rows_of_state(state.work, state.holdfast.state());
  fs::rename(state.packs[0], state.work.path("x"));
  SECTION("with each other") { fs::rename(state.packs[1], state.packs[0]); }
  SECTION("one has a name that is nobody's") {
    fs::rename(state.packs[1], state.packs[0].substr(0, state.packs[0].size() - 6) + "7.pack");
    fs::rename(state.work.path("x"), state.packs[0]);
  }
  if (exists(state.work.path("x"))) fs::rename(state.work.path("x"), state.packs[1]);
  const Outcome check = state.holdfast.run({"check", "--read-data"});
  INFO(check.out << check.err);
  REQUIRE(check.exit_code == 3);
  REQUIRE(state.holdfast.run({"rebuild"}).exit_code == 1);
  const TestJson result = state.repair(3);
  REQUIRE(result.at("replaced").empty());
  REQUIRE(row_differences(rows, rows_of_state(state.work, state.holdfast.state())) == "");
  state.holdfast.require_restores(state.work, state.first, state.first_tree);
  state.require_saved();
}

TEST_CASE("without a journal, records of a damaged pack are a hole that is told", "[repair]") {
  TwoPacks state;
  SECTION("one batch") { flip_byte(state.packs[0], frames_of(state.packs[0], '\2').at(3) + 70); }
  SECTION("the last batch of the first pack") {
    flip_byte(state.packs[0], frames_of(state.packs[0], '\2').back() + 70);
  }
  SECTION("the whole first pack") { fs::remove(state.packs[0]); }
  write_file(state.holdfast.state() + "/journal/data.mdb", "gone");
  const Outcome refused = state.holdfast.run({"rebuild"});
  INFO(refused.err);
  REQUIRE(refused.exit_code == 1);
  REQUIRE_THAT(refused.err, Contains("holdfast repair"));
  const TestJson result = state.repair(5);
  REQUIRE(result.at("records_lost").size() == 1);
  const uint64_t end = result.at("records_lost").at(0).at("last").get<uint64_t>();
  REQUIRE(end < state.last);
  state.holdfast.require_clean(true);
  const std::vector<TestJson> gaps = state.holdfast.lines({"log", "--kind", "gap"});
  REQUIRE(std::any_of(gaps.begin(), gaps.end(), [&](const TestJson& gap) {
    return gap.at("seq") == end &&
           gap.at("note").get<std::string>().find("lost") != std::string::npos;
  }));
  // The next start finds what the journal does not know any more.
  state.holdfast.start({"data=" + state.root});
  const uint64_t seq = state.holdfast.flush();
  state.holdfast.require_restores(state.work, seq, read_tree(state.root));
  state.holdfast.stop();
  state.holdfast.require_clean(true);
  state.holdfast.text({"rebuild"});
  state.holdfast.require_clean(true);
}

TEST_CASE("a repair that is killed can be run again", "[repair]") {
  const unsigned seed = announced_seed("repair-killed");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  TwoPacks state;
  flip_byte(state.packs[0], frames_of(state.packs[0], '\2').at(2) + 70);
  flip_byte(state.packs[0], 20 * kMiB);
  int interrupted = 0;
  for (int i = 0; i < 25; ++i) {
    Process repair({{holdfast_binary(), "--state", state.holdfast.state(), "repair"}, "", {}, 0});
    const Outcome outcome =
        repair.wait(2 + static_cast<int>(random() % (20u * (static_cast<unsigned>(i) + 1))));
    INFO(outcome.out << outcome.err);
    if (!outcome.timed_out) {
      REQUIRE((outcome.exit_code == 0 || outcome.exit_code == 3));
      break;
    }
    ++interrupted;
  }
  REQUIRE(interrupted > 0);
  const Outcome again = state.holdfast.run({"repair"});
  INFO(again.out << again.err);
  REQUIRE((again.exit_code == 0 || again.exit_code == 3));
  state.holdfast.require_restores(state.work, state.first, state.first_tree);
  state.require_saved();
}

}  // namespace holdfast
