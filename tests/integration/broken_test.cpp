// The journal's environment damaged in every way that comes to mind: a command says so in words and
// says what to do. It never crashes on it, and never takes it for an empty journal.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <random>

#include "base/bytes.h"
#include "tests/support/churn.h"
#include "tests/support/journal_rows.h"

namespace holdfast {
namespace {

using Catch::Contains;
namespace fs = std::filesystem;

constexpr size_t kPageBytes = 4096;

// A stopped state, and its journal's file as it should be.
struct Sound {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};
  std::string file = work.path("state/journal/data.mdb");
  std::string bytes, log;
  uint64_t seq = 0;
  Tree tree;

  explicit Sound(unsigned seed = 5) {
    Churn churn(root, work.make("outside"), seed);
    churn.steps(150);
    holdfast.start({"data=" + root});
    for (int i = 0; i < 6; ++i) {
      churn.steps(30);
      holdfast.flush();
      churn.flushed();
    }
    holdfast.text({"snapshot"});
    seq = holdfast.flush();
    holdfast.stop();
    tree = read_tree(root);
    bytes = read_file(file);
    log = holdfast.text({"log", "--json"});
  }

  // One command of each kind; `watch` is the service itself, and killed after so long.
  std::vector<Outcome> all_commands(int service_ms) const {
    std::vector<Outcome> outcomes;
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"log"}, {"ls", "-R"}, {"status"}, {"flush"}}) {
      outcomes.push_back(holdfast.run(command));
    }
    outcomes.push_back(holdfast.launch({"data=" + root})->wait(service_ms));
    return outcomes;
  }

  void require_told_and_rebuilt() {
    for (const Outcome& outcome : all_commands(20'000)) {
      INFO(outcome.out << outcome.err);
      REQUIRE_FALSE(outcome.timed_out);
      REQUIRE(outcome.exit_code == 1);
      REQUIRE_THAT(outcome.err, Contains("holdfast rebuild"));
      REQUIRE_THAT(outcome.err, Contains(holdfast.state()));
    }
    const Outcome check = holdfast.run({"check"});
    INFO(check.out << check.err);
    REQUIRE(check.exit_code == 3);
    REQUIRE_THAT(check.out, Contains("FOUND") && Contains("holdfast rebuild"));
    require_rebuilds();
  }
  void require_rebuilds() const {
    holdfast.text({"rebuild"});
    REQUIRE(holdfast.text({"log", "--json"}) == log);
    holdfast.require_clean(true);
    holdfast.require_restores(work, seq, tree);
  }
};

}  // namespace

TEST_CASE("a journal whose file is cut is refused in words, and rebuilt", "[broken]") {
  Sound sound;
  const uint64_t size = sound.bytes.size();
  for (const uint64_t left :
       {size / 2, uint64_t{0}, uint64_t{1}, uint64_t{kPageBytes}, uint64_t{2 * kPageBytes},
        uint64_t{3 * kPageBytes}, size - kPageBytes * 3, size / kPageBytes / 2 * kPageBytes + 77}) {
    INFO("cut to " << left << " of " << size << " bytes");
    write_file(sound.file, sound.bytes.substr(0, left));
    if (left > size / 2 && sound.holdfast.run({"log"}).exit_code == 0) {
      REQUIRE(sound.holdfast.text({"log", "--json"}) == sound.log);  // only free pages are gone
      continue;
    }
    sound.require_told_and_rebuilt();
  }
}

TEST_CASE("a journal that is gone is made anew, and says so", "[broken]") {
  Sound sound;
  SECTION("its file") { fs::remove(sound.file); }
  SECTION("its directory") { fs::remove_all(fs::path(sound.file).parent_path()); }
  const Outcome log = sound.holdfast.run({"log", "--json"});
  INFO(log.err);
  REQUIRE(log.exit_code == 0);
  REQUIRE_THAT(log.err, Contains("missing") && Contains("from the packs"));
  REQUIRE(log.out == sound.log);
  sound.require_rebuilds();
}

TEST_CASE("the journal of another repository is refused", "[broken]") {
  Sound sound, other(6);
  SECTION("its whole environment") { write_file(sound.file, other.bytes); }
  SECTION("one that holds nothing yet") {
    WorkDir work;
    Holdfast fresh(work.path("state"));
    fresh.start({"data=" + work.make("data")});
    fresh.stop();
    write_file(sound.file, read_file(work.path("state/journal/data.mdb")));
  }
  sound.require_told_and_rebuilt();
}

TEST_CASE("something else in the place of the journal is refused", "[broken]") {
  Sound sound;
  SECTION("text") { write_file(sound.file, std::string(20'000, 'x')); }
  SECTION("zeros") { write_file(sound.file, std::string(sound.bytes.size(), '\0')); }
  SECTION("the head of zeros") {
    write_file(sound.file, std::string(2 * kPageBytes, '\0') + sound.bytes.substr(2 * kPageBytes));
  }
  sound.require_told_and_rebuilt();
}

// No page of it looks damaged: only what the packs say next does not fit to it.
TEST_CASE("a journal that refuses what the packs say next is refused in words", "[broken]") {
  Sound sound;
  const std::string before = sound.root + "/renamed-soon-a", after = sound.root + "/renamed";
  const auto restarted_around = [&](const std::function<void()>& change) {
    sound.holdfast.start({"data=" + sound.root});
    change();
    sound.seq = sound.holdfast.flush();
    sound.holdfast.stop();
  };
  restarted_around([&] { write_file(before, "text"); });
  std::string behind = read_file(sound.file);
  restarted_around([&] { fs::rename(before, after); });
  sound.tree = read_tree(sound.root);
  sound.log = sound.holdfast.text({"log", "--json"});
  size_t names = 0;
  for (size_t at = 0; (at = behind.find("renamed-soon-a", at)) != std::string::npos; ++at) {
    behind[at + 13] = 'b';
    ++names;
  }
  REQUIRE(names > 0);
  write_file(sound.file, behind);
  sound.require_told_and_rebuilt();
}

// The first two pages say where everything is.
TEST_CASE("flipped bits in the head pages of the journal never hurt silently", "[broken]") {
  Sound sound;
  int refused = 0;
  for (size_t page = 0; page < 2; ++page) {
    for (size_t at = 0; at < 168; at += 3) {
      INFO("byte " << at << " of head page " << page);
      std::string bytes = sound.bytes;
      bytes[page * kPageBytes + at] = static_cast<char>(bytes[page * kPageBytes + at] ^ 0x24);
      write_file(sound.file, bytes);
      const Outcome log = sound.holdfast.run({"log", "--json"});
      INFO(log.err);
      if (log.exit_code == 0) {
        REQUIRE(log.out == sound.log);
        continue;
      }
      ++refused;
      REQUIRE(log.exit_code == 1);
      REQUIRE_THAT(log.err, Contains("holdfast rebuild"));
    }
  }
  REQUIRE(refused > 30);
  sound.require_rebuilds();
}

TEST_CASE("flipped bits in several pages of the journal never crash anything", "[broken]") {
  const unsigned seed = announced_seed("broken");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  Sound sound(seed);
  int refused = 0;
  for (int round = 0; round < 10; ++round) {
    std::string bytes = sound.bytes;
    for (int i = 0; i < 8; ++i) {
      // The head of a page and the places of its nodes hurt most.
      const size_t page = 2 + random() % (bytes.size() / kPageBytes - 2);
      const size_t at = page * kPageBytes + (i % 2 == 0 ? random() % 64 : random() % kPageBytes);
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    }
    write_file(sound.file, bytes);
    for (const Outcome& outcome : sound.all_commands(3'000)) {
      INFO("round " << round << ": " << outcome.out << outcome.err);
      // The service may start on what is harmless, and go on until it is killed.
      if (outcome.timed_out) continue;
      REQUIRE((outcome.exit_code == 0 || outcome.exit_code == 1));
      if (outcome.exit_code == 1) REQUIRE_THAT(outcome.err, Contains("holdfast rebuild"));
      refused += outcome.exit_code;
      if (outcome.exit_code == 1) break;  // the others say the same
    }
    const Outcome check = sound.holdfast.run({"check"});
    INFO(check.out << check.err);
    REQUIRE((check.exit_code == 0 || check.exit_code == 3));
  }
  REQUIRE(refused > 3);
}

// Of a journal beyond 256 MiB only what leads to its leaves is looked at before it is mapped.
TEST_CASE("damaged leaves of a large journal never end a command by a signal", "[broken]") {
  const unsigned seed = announced_seed("broken-leaves");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const Sound sound(seed);
  std::vector<std::vector<std::string>> commands = {{"log", "--json"}, {"ls", "-R", "--json"}};
  for (const TestJson& file : sound.holdfast.lines({"ls", "-R"})) {
    if (file.at("type") != "file" || commands.size() > 2) continue;
    commands.push_back({"cat", "data:" + file.at("path").get<std::string>()});
  }
  std::vector<size_t> leaves;
  for (size_t page = 2; page < sound.bytes.size() / kPageBytes; ++page) {
    if (sound.bytes[page * kPageBytes + 10] == 2) leaves.push_back(page * kPageBytes);
  }
  REQUIRE(leaves.size() > 10);
  int told = 0, faults = 0;
  for (int round = 0; round < 90; ++round) {
    std::string bytes = sound.bytes;
    const size_t leaf = leaves[random() % leaves.size()];
    if (round % 3 == 0) {
      // All its nodes claim to have several values, which LMDB then looks for in vain.
      const size_t lower = get_le<uint16_t>(bytes.data() + leaf + 12);
      for (size_t at = leaf + 16; at < leaf + lower; at += 2) {
        bytes[leaf + get_le<uint16_t>(bytes.data() + at) + 4] |= 4;
      }
    } else {
      const size_t in = round % 3 == 1 ? 8 + random() % 40 : random() % kPageBytes;
      bytes[leaf + in] = static_cast<char>(bytes[leaf + in] ^ (1 << random() % 8));
    }
    write_file(sound.file, bytes);
    REQUIRE(::truncate(sound.file.c_str(), 257 << 20) == 0);
    for (const auto& command : commands) {
      const Outcome outcome = sound.holdfast.run(command);
      INFO("round " << round << ", page " << leaf / kPageBytes << ", " << command.front() << ": "
                    << outcome.exit_code << " " << outcome.err);
      REQUIRE_FALSE(outcome.timed_out);
      REQUIRE(outcome.exit_code >= 0);
      REQUIRE(outcome.exit_code < 128);  // else a signal
      if (outcome.exit_code == 0) continue;
      REQUIRE_THAT(outcome.err, Contains("holdfast: "));
      ++told;
      faults += outcome.err.find("cannot be read any more") != std::string::npos ? 1 : 0;
    }
  }
  INFO(told << " told, " << faults << " of them by a fault");
  REQUIRE(told > 5);
  REQUIRE(faults > 0);
}

TEST_CASE("a journal that is cut while it is in use ends the service in words", "[broken]") {
  Sound sound;
  sound.holdfast.start({"data=" + sound.root});
  REQUIRE(::truncate(sound.file.c_str(), 2 * kPageBytes) == 0);
  write_file(sound.root + "/new", "makes it look");
  static_cast<void>(sound.holdfast.run({"log"}));
  static_cast<void>(sound.holdfast.run({"flush"}));
  const Outcome ended = sound.holdfast.service().wait(20'000);
  INFO(ended.err);
  REQUIRE_FALSE(ended.timed_out);
  REQUIRE(ended.exit_code == 1);
  REQUIRE_THAT(ended.err, Contains("holdfast rebuild"));
  sound.holdfast.text({"rebuild"});
  sound.holdfast.require_clean(true);
  sound.holdfast.require_restores(sound.work, sound.seq, sound.tree);
}

}  // namespace holdfast
