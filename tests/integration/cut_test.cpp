// A crash can leave the open pack cut anywhere behind the last sync, and the journal's database
// older than the packs, or gone. Recovery keeps every batch that is whole. A journal that knows
// more than the packs hold is refused, because it would promise what nobody has.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "tests/support/holdfast_run.h"

namespace holdfast {
namespace {

namespace fs = std::filesystem;

struct Moment {
  uint64_t seq = 0;
  uint64_t pack_bytes = 0;  // of the open pack, when that was acknowledged
  Tree tree;
};

std::string open_pack(const std::string& state) {
  std::vector<std::string> packs;
  for (const auto& entry : fs::recursive_directory_iterator(state + "/packs")) {
    if (entry.is_regular_file()) packs.push_back(entry.path());
  }
  REQUIRE_FALSE(packs.empty());
  return *std::max_element(packs.begin(), packs.end());
}

// A state that was killed, some of its moments, and copies of it to be cut.
struct Killed {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};
  std::vector<Moment> moments;
  uint64_t bytes = 0;

  Killed() {
    holdfast.start({"data=" + root});
    for (int i = 0; i < 6; ++i) {
      write_file(root + "/f" + std::to_string(i), random_bytes_of(300, static_cast<unsigned>(i)));
      write_file(root + "/always", "version " + std::to_string(i));
      const uint64_t seq = holdfast.flush();
      moments.push_back({seq, fs::file_size(open_pack(holdfast.state())), read_tree(root)});
      if (i == 2) run_tool({"cp", "-a", holdfast.state() + "/journal", work.path("older")});
    }
    holdfast.kill();
    bytes = fs::file_size(open_pack(holdfast.state()));
  }

  // A copy whose open pack ends at `size`, with the database of `journal`, or without one.
  Holdfast cut(uint64_t size, const std::string& journal) const {
    const std::string copy = work.path("copy");
    run_tool({"rm", "-rf", "--", copy});
    run_tool({"cp", "-a", "--sparse=always", holdfast.state(), copy});
    run_tool({"rm", "-rf", "--", copy + "/journal"});
    if (!journal.empty()) run_tool({"cp", "-a", journal, copy + "/journal"});
    REQUIRE(::truncate(open_pack(copy).c_str(), static_cast<off_t>(size)) == 0);
    return Holdfast(copy);
  }

  void require_whole_batches(uint64_t size, const std::string& journal) const {
    INFO("the pack of " << bytes << " bytes is cut at " << size);
    const Holdfast copy = cut(size, journal);
    copy.require_clean(true);
    size_t whole = 0;  // moments that the cut left alone
    while (whole < moments.size() && moments[whole].pack_bytes <= size) ++whole;
    REQUIRE(whole > 0);
    copy.require_restores(work, moments[whole - 1].seq, moments[whole - 1].tree);
    // What the cut took is gone as a whole: no later moment is claimed to be known.
    if (whole == moments.size()) return;
    REQUIRE(copy.run({"ls", "--at", at(moments[whole].seq)}).exit_code == 4);
  }
};

// HOLDFAST_CUT_POSITIONS=N tries so many of the last batch; a large number tries every byte of it.
uint64_t last_batch_positions() {
  const char* given = std::getenv("HOLDFAST_CUT_POSITIONS");
  return given != nullptr ? std::max(1ull, std::strtoull(given, nullptr, 10)) : 60;
}

// Positions in (from, to]: all of them, or `count` that are spread over it.
std::vector<uint64_t> positions(uint64_t from, uint64_t to, uint64_t count) {
  std::vector<uint64_t> all;
  const uint64_t step = std::max<uint64_t>(1, (to - from) / count);
  for (uint64_t at = to; at > from; at -= std::min(step, at - from)) all.push_back(at);
  return all;
}

}  // namespace

TEST_CASE("a pack that is cut anywhere keeps all whole batches", "[cut]") {
  const Killed killed;
  const Moment& before_last = killed.moments[killed.moments.size() - 2];
  REQUIRE(killed.bytes > before_last.pack_bytes);
  SECTION("and the database is made anew") {
    for (const uint64_t at :
         positions(before_last.pack_bytes, killed.bytes, last_batch_positions())) {
      killed.require_whole_batches(at, "");
    }
    for (const uint64_t at : positions(killed.moments[0].pack_bytes, killed.bytes, 25)) {
      killed.require_whole_batches(at, "");
    }
  }
  SECTION("and an older database catches up") {
    for (const uint64_t at : positions(killed.moments[2].pack_bytes, killed.bytes, 25)) {
      killed.require_whole_batches(at, killed.work.path("older"));
    }
  }
}

TEST_CASE("the service goes on in a pack that was cut", "[cut]") {
  const Killed killed;
  const uint64_t whole = killed.moments[killed.moments.size() - 2].pack_bytes;
  for (const uint64_t size : positions(whole, killed.bytes, 4)) {
    INFO("the pack of " << killed.bytes << " bytes is cut at " << size);
    Holdfast copy = killed.cut(size, killed.work.path("older"));
    copy.start({"data=" + killed.root});
    const uint64_t seq = copy.flush();
    copy.kill();
    // Nothing of the cut batch is left behind what was written since.
    run_tool({"rm", "-rf", "--", copy.state() + "/journal"});
    copy.require_clean(true);
    copy.require_restores(killed.work, seq, read_tree(killed.root));
  }
}

TEST_CASE("a journal that knows more than the packs hold is refused", "[cut]") {
  const Killed killed;
  const uint64_t size = killed.moments[killed.moments.size() - 2].pack_bytes - 1;
  const Holdfast copy = killed.cut(size, killed.holdfast.state() + "/journal");
  const Outcome outcome = copy.launch({"data=" + killed.root})->wait(20'000);
  INFO(outcome.err);
  REQUIRE_FALSE(outcome.timed_out);
  REQUIRE(outcome.exit_code == 1);
  REQUIRE_THAT(outcome.err, Catch::Contains("pack"));
  REQUIRE(copy.run({"check"}).exit_code != 0);
}

}  // namespace holdfast
