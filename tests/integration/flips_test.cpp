// Any single damaged byte of a state is found by `check --read-data`; or it is one that means
// nothing, and then every row of the journal is what it was.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <random>
#include <set>

#include "tests/support/churn.h"
#include "tests/support/journal_rows.h"

namespace holdfast {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPageBytes = 4096;

// HOLDFAST_FLIPS=N flips N bytes at random in each kind of file.
uint64_t flips_wanted() {
  const char* given = std::getenv("HOLDFAST_FLIPS");
  return given != nullptr ? std::max(1ull, std::strtoull(given, nullptr, 10)) : 120;
}

struct Small {
  WorkDir work;
  Holdfast holdfast{work.path("state")};
  std::string journal = work.path("state/journal/data.mdb");
  std::string pack, good_journal;

  // With `compacted`, `pack` is one that a prune made.
  explicit Small(unsigned seed, bool compacted = false) {
    const std::string root = work.make("data");
    Churn churn(root, work.make("outside"), seed);
    churn.steps(60);
    write_file(root + "/in-parts", random_bytes_of(150'000, seed));
    holdfast.start({"data=" + root, "--exclude", "*.tmp"});
    for (int i = 0; i < 4; ++i) {
      churn.steps(15);
      holdfast.flush();
      churn.flushed();
    }
    if (compacted) {  // before the snapshot, which would keep it; after the churn, which may move
                      // it
      write_file(root + "/goes", random_bytes_of(400'000, seed + 1));
      holdfast.flush();
      run_tool({"rm", root + "/goes"});
      holdfast.flush();
    }
    holdfast.text({"snapshot", "-m", "words", "--tag", "a=b"});
    if (compacted) prune();
    holdfast.stop();
    for (const auto& entry : fs::directory_iterator(work.path("state/packs"))) {
      pack = std::max(pack, entry.path().string());
    }
    holdfast.require_clean(true);
    good_journal = read_file(journal);
  }

  // Drops what neither the present nor the snapshot needs.
  void prune() const {
    const TestJson pruned =
        holdfast.json({"prune", "--all", "0s", "--last", "1", "--hourly", "0", "--daily", "0",
                       "--weekly", "0", "--monthly", "0", "--grace", "0s"});
    REQUIRE(pruned.at("packs_written") == 1);
  }
  int check() const {
    const Outcome outcome = holdfast.run({"check", "--read-data"});
    UNSCOPED_INFO(outcome.out << outcome.err);
    REQUIRE_FALSE(outcome.timed_out);
    return outcome.exit_code;
  }
  // Each byte must be found.
  void require_all_found(const std::string& file, const std::set<uint64_t>& places,
                         std::mt19937_64& random) const {
    const std::string good = read_file(file);
    for (const uint64_t at : places) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
      write_file(file, bad);
      INFO("byte " << at << " of " << file << ", " << int(static_cast<uint8_t>(good[at]))
                   << " became " << int(static_cast<uint8_t>(bad[at])));
      REQUIRE(check() == 3);
      write_file(file, good);
      write_file(journal, good_journal);
    }
    REQUIRE(check() == 0);
  }
};

std::set<uint64_t> some_of(uint64_t size, uint64_t count, std::mt19937_64& random) {
  std::set<uint64_t> places;
  if (size <= count) {
    for (uint64_t at = 0; at < size; ++at) places.insert(at);
  }
  while (places.size() < std::min(count, size)) places.insert(random() % size);
  return places;
}

}  // namespace

TEST_CASE("every damaged byte of the small files of a state is found", "[flips]") {
  const unsigned seed = announced_seed("flips-small");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const Small small(seed);
  for (const char* name : {"/repository", "/scrub"}) {
    const std::string file = small.holdfast.state() + name;
    small.require_all_found(file, some_of(fs::file_size(file), flips_wanted(), random), random);
  }
}

TEST_CASE("a damaged file that says when was pruned is found", "[flips]") {
  const Small small(announced_seed("flips-pruned"));
  const std::string file = small.holdfast.state() + "/pruned";
  write_file(file, "1700000000123456789\n");  // as a version before wrote it
  REQUIRE(small.check() == 0);
  write_file(file, "1700000000123456789 xxh3:00000000000000000000000000000000\n");
  REQUIRE(small.check() == 3);
}

TEST_CASE("every damaged byte of a pack is found", "[flips]") {
  const unsigned seed = announced_seed("flips-pack");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const bool compacted = GENERATE(false, true);
  INFO("a compacted pack: " << compacted);
  const Small small(seed, compacted);
  const bool is_compacted = small.pack.find("-2147483649.pack") != std::string::npos;
  REQUIRE(is_compacted == compacted);
  const uint64_t size = fs::file_size(small.pack);
  std::set<uint64_t> places = some_of(size, flips_wanted(), random);
  // The pack's head, and what the heads and tables of frames are made of.
  for (uint64_t at = 0; at < 128; at += 5) places.insert(at);
  const std::string bytes = read_file(small.pack);
  uint64_t frames = 0;
  for (size_t at = bytes.find("HFFR"); at != std::string::npos && frames < 6;
       at = bytes.find("HFFR", at + 1), ++frames) {
    for (size_t in = 0; in < 100 && at + in < size; in += 7) places.insert(at + in);
  }
  for (uint64_t at = size - 40; at < size; at += 3) places.insert(at);
  small.require_all_found(small.pack, places, random);
}

TEST_CASE("a damaged byte of the journal is found, or means nothing", "[flips]") {
  const unsigned seed = announced_seed("flips-journal");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  std::mt19937_64 random(seed);
  const Small small(seed);
  const JournalRows rows = rows_of_state(small.work, small.holdfast.state());
  const size_t size = small.good_journal.size();
  std::set<uint64_t> places = some_of(size, flips_wanted() * 3, random);
  for (size_t page = 0; page < size; page += kPageBytes) {  // heads, and a few places of nodes
    for (const size_t in : {0, 8, 10, 12, 14, 16, 18, 20, 24, 40, 64, 90, 120, 150}) {
      if (random() % 3 == 0) places.insert(page + in);
    }
  }
  int found = 0;
  for (const uint64_t at : places) {
    std::string bad = small.good_journal;
    bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
    write_file(small.journal, bad);
    INFO("byte " << at % kPageBytes << " of page " << at / kPageBytes << ", "
                 << int(static_cast<uint8_t>(small.good_journal[at])) << " became "
                 << int(static_cast<uint8_t>(bad[at])));
    const int code = small.check();
    INFO("check exited with " << code);
    REQUIRE((code == 3 || code == 0));
    found += code == 3 ? 1 : 0;
    if (code == 3) continue;
    write_file(small.journal, bad);
    REQUIRE(row_differences(rows, rows_of_state(small.work, small.holdfast.state())) == "");
  }
  INFO(found << " of " << places.size() << " were found");
  REQUIRE(found > static_cast<int>(places.size() / 10));  // most of the file is free
}

}  // namespace holdfast
