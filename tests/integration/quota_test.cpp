// A store at its quota, or on a disk at its reserve: what is there is journaled with its hash and
// without its content, everybody is told, and what is missing is captured when there is room.
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>

#include "tests/support/mounts.h"
#include "tests/support/raw_put.h"

namespace holdfast {
namespace {

using Catch::Contains;
constexpr size_t kMB = 1'000'000;

// A service with a quota of 20.0 MB, and a dump.
struct Limited {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};

  explicit Limited(const std::string& quota = "20MB", const std::string& more = "") {
    write_config(quota, more);
  }
  void write_config(const std::string& quota, const std::string& more = "") const {
    write_file(work.path("holdfast.toml"), "[[watch]]\nname = \"data\"\npath = \"" + root +
                                               "\"\n[store]\nquota = \"" + quota +
                                               "\"\nreserve = \"0\"\n" + more);
  }
  void start() { holdfast.start({"--config", work.path("holdfast.toml")}); }
  void reload_with(const std::string& quota) {
    write_config(quota);
    holdfast.service().signal(SIGHUP);
    REQUIRE(holdfast.service().wait_for_error("is in force"));
  }
  std::string in(const std::string& name) const { return root + "/" + name; }
  void fill(int first, int last, unsigned seed = 0) const {
    for (int i = first; i < last; ++i) {
      write_file(in("f" + std::to_string(i)),
                 random_bytes_of(kMB, seed + static_cast<unsigned>(i)));
    }
  }
};

TestJson store_of(const Holdfast& holdfast) { return holdfast.json({"status"}).at("store"); }

// The sequence, where contents are not kept.
uint64_t flush_in_part(const Holdfast& holdfast) {
  const Outcome outcome = holdfast.run({"flush", "--json"});
  INFO(outcome.out << outcome.err);
  REQUIRE(outcome.exit_code == 5);
  REQUIRE_THAT(outcome.err, Contains("are not kept"));
  const TestJson json = parse_lines(outcome.out).at(0);
  REQUIRE(json.at("not_kept").get<uint64_t>() > 0);
  return json.at("seq");
}

// The newest records of the files, by whether their content is there.
std::map<std::string, TestJson> files_of(const Holdfast& holdfast, bool stored) {
  std::map<std::string, TestJson> files;
  for (const TestJson& entry : holdfast.lines({"ls", "data:"})) {
    if (entry.at("type") == "file" && entry.at("stored") == stored) files[entry.at("path")] = entry;
  }
  return files;
}

void require_all_kept_again(const WorkDir& work, Holdfast& holdfast, const std::string& root,
                            int seconds = 120) {
  REQUIRE(holdfast.service().wait_for_error("all that is there is kept again", seconds * 1000));
  const TestJson status = holdfast.json({"status"});
  INFO(status.dump(1));
  REQUIRE(status.at("store").at("not_kept_since").is_null());
  REQUIRE(status.at("store").at("keeping") == true);
  REQUIRE(status.at("store").at("not_kept") == 0);
  REQUIRE(status.at("healthy") == true);
  holdfast.require_restores(work, holdfast.flush(), read_tree(root));
  REQUIRE(holdfast.run({"snapshot"}).exit_code == 0);
  REQUIRE_FALSE(exists(holdfast.state() + "/not-kept"));
  holdfast.require_clean(true);
}

}  // namespace

TEST_CASE("at its quota the store keeps no content, says so, and the journal goes on", "[quota]") {
  Limited l;
  l.start();
  write_file(l.in("early"), "before anything was full");
  const uint64_t early_seq = l.holdfast.flush();
  const Tree early = read_tree(l.root);
  REQUIRE(store_of(l.holdfast).at("quota_bytes") == 20 * kMB);
  REQUIRE(store_of(l.holdfast).at("space") == "normal");

  l.fill(0, 30);
  const uint64_t full_seq = flush_in_part(l.holdfast);
  const TestJson status = l.holdfast.json({"status"});
  INFO(status.dump(1));
  const TestJson& store = status.at("store");
  REQUIRE(store.at("keeping") == false);
  REQUIRE(store.at("space") == "stopped");
  REQUIRE(store.at("not_kept_since").is_string());
  REQUIRE(status.at("healthy") == false);
  REQUIRE(status.at("findings").at(0).at("check") == "store_space");
  // The quota is for packs and journal; what goes on growing is the journal.
  REQUIRE(store.at("bytes").get<uint64_t>() + store.at("journal_bytes").get<uint64_t>() < 21 * kMB);
  REQUIRE(store.at("bytes").get<uint64_t>() > 15 * kMB);
  const Outcome check = l.holdfast.run({"status", "--check"});
  REQUIRE(check.exit_code == 3);
  REQUIRE_THAT(check.out, Contains("store_space: ") && Contains("quota of 20.0 MB"));
  REQUIRE_THAT(l.holdfast.text({"status"}), Contains("CONTENT NOT KEPT since"));
  REQUIRE(l.holdfast.service().wait_for_error("no new content is kept, and the journal goes on"));

  const auto lost = files_of(l.holdfast, false), kept = files_of(l.holdfast, true);
  REQUIRE(lost.size() >= 10);
  REQUIRE(kept.size() >= 15);
  REQUIRE(lost.size() + kept.size() == 31);
  for (const auto& [path, record] : lost) {
    INFO(record.dump());
    REQUIRE(record.at("flags").dump().find("not_kept") != std::string::npos);
    REQUIRE(record.at("size") == kMB);
    REQUIRE(record.at("hash").is_string());
  }
  const auto one_lost = lost.begin()->first, one_kept = kept.rbegin()->first;
  REQUIRE((l.holdfast.text({"cat", "data:" + one_kept}) == read_file(l.in(one_kept))));
  const Outcome gone = l.holdfast.run({"cat", "data:" + one_lost});
  REQUIRE(gone.exit_code == 4);
  REQUIRE_THAT(gone.err, Contains("not kept: the store was at its quota of 20.0 MB at 2"));
  // The others are restored, each that is not is named, with the reason.
  const std::string to = l.work.path("restored");
  const Outcome part =
      l.holdfast.run({"restore", "data:", "--at", at(full_seq), "--to", to, "--json"});
  REQUIRE(part.exit_code == 5);
  const TestJson failed = parse_lines(part.out).at(0).at("failed");
  REQUIRE(failed.size() == lost.size());
  REQUIRE_THAT(failed.dump(), Contains("not kept: the store was at its quota of 20.0 MB at 2"));
  for (const auto& [path, record] : kept) {
    REQUIRE((read_file(to + "/" + path) == read_file(l.in(path))));
  }
  l.holdfast.require_restores(l.work, early_seq, early);

  const std::string refusal = "quota of 20.0 MB; free some space";
  const Outcome snapshot = l.holdfast.run({"snapshot"});
  REQUIRE(snapshot.exit_code == 1);
  REQUIRE_THAT(snapshot.err, Contains(refusal));
  REQUIRE_THAT(put_content(l.holdfast.state(), "dumps:app", "a dump"),
               Contains("no_space") && Contains(refusal));
  const std::string archive = l.work.path("a.tar");
  run_tool({"tar", "--create", "--file", archive, "-C", l.root, "early"});
  const Outcome import = l.holdfast.run({"import", "old", archive});
  REQUIRE(import.exit_code == 1);
  REQUIRE_THAT(import.err, Contains(refusal));
  // What the store has already is kept all the same, and a name or attribute takes no room.
  write_file(l.in("copy"), read_file(l.in(one_kept)));
  rename_path(l.in(one_lost), l.in("moved"));
  run_tool({"chmod", "600", l.in("moved")});
  flush_in_part(l.holdfast);
  REQUIRE((l.holdfast.text({"cat", "data:copy"}) == read_file(l.in("copy"))));
  REQUIRE(files_of(l.holdfast, false).count("moved") == 1);
  REQUIRE(files_of(l.holdfast, false).count(one_lost) == 0);
  l.holdfast.require_clean(true);

  SECTION("with a higher quota everything is captured") { l.reload_with("60MB"); }
  SECTION("so it is after a restart in the middle") {
    l.holdfast.stop();
    l.start();
    flush_in_part(l.holdfast);
    REQUIRE(store_of(l.holdfast).at("not_kept") == lost.size());
    REQUIRE(store_of(l.holdfast).at("not_kept_since") == store.at("not_kept_since"));
    REQUIRE(l.holdfast.run({"snapshot"}).exit_code == 1);
    l.reload_with("60MB");
  }
  SECTION("and when it was killed, and is started with none") {
    l.holdfast.kill();
    l.write_config("0");
    l.start();
  }
  SECTION("a prune makes room") {
    for (const auto& [path, record] : kept) {
      if (path != "early") run_tool({"rm", l.in(path)});
    }
    run_tool({"rm", l.in("copy")});
    flush_in_part(l.holdfast);
    l.holdfast.json({"prune", "--all", "0s", "--hourly", "0", "--daily", "0", "--weekly", "0",
                     "--monthly", "0", "--last", "1", "--grace", "0s"});
  }
  require_all_kept_again(l.work, l.holdfast, l.root);
  const TestJson now = files_of(l.holdfast, true).at("moved");
  REQUIRE(now.at("hash") == lost.at(one_lost).at("hash"));
  REQUIRE(now.at("verdict") == "ok");
  REQUIRE(now.at("flags").dump().find("not_kept") == std::string::npos);
  REQUIRE(l.holdfast.json({"status"}).at("verdicts").dump() == status.at("verdicts").dump());
}

TEST_CASE("a tree that does not fit is journaled, and kept as far as it fits", "[quota]") {
  Limited l("10MB");
  l.fill(0, 25);
  write_file(l.in("large"), random_bytes_of(30 * kMB, 1000));
  l.start();
  flush_in_part(l.holdfast);
  const auto lost = files_of(l.holdfast, false);
  REQUIRE(lost.size() + files_of(l.holdfast, true).size() == 26);
  REQUIRE(lost.count("large") == 1);
  REQUIRE(lost.at("large").at("size") == 30 * kMB);
  const TestJson store = store_of(l.holdfast);
  REQUIRE(store.at("bytes").get<uint64_t>() + store.at("journal_bytes").get<uint64_t>() < 11 * kMB);
  l.holdfast.require_clean(true);
  l.reload_with("100MB");
  require_all_kept_again(l.work, l.holdfast, l.root);
}

TEST_CASE("what is pruned by policy makes room by itself", "[quota]") {
  Limited l("20MB", "[retention]\nall = \"1s\"\nlast = 1\n");
  l.start();
  for (unsigned version = 0; version < 4; ++version) {
    write_file(l.in("file"), random_bytes_of(6 * kMB, version));
    (void)l.holdfast.run({"flush"});
  }
  // The last good content outlives the one that there was no room for.
  flush_in_part(l.holdfast);
  require_all_kept_again(l.work, l.holdfast, l.root, 400);
  REQUIRE(l.holdfast.service().wait_for_error("pruning, because the store has"));
}

TEST_CASE("content stops at the reserve, and goes on when others free the disk", "[quota]") {
  if (!is_root_for("mounting a small file system to fill")) return;
  constexpr size_t kMiB = 1 << 20;
  WorkDir work;
  const LoopMount disk(work, "disk", 64 * kMiB);
  const std::string root = work.make("data"), ballast = disk.path() + "/ballast";
  write_file(ballast, random_bytes_of(24 * kMiB, 1));
  Holdfast holdfast(disk.path() + "/state");
  holdfast.set_env({{"HOLDFAST_RESERVE", "20MB"}});
  holdfast.start({"data=" + root});
  for (unsigned i = 0; i < 16; ++i) {
    write_file(root + "/f" + std::to_string(i), random_bytes_of(kMiB, 100 + i));
  }
  flush_in_part(holdfast);
  const TestJson store = store_of(holdfast);
  INFO(store.dump());
  REQUIRE(store.at("reserve_bytes") == 20 * kMB);
  REQUIRE(store.at("keeping") == false);
  REQUIRE(store.at("free_bytes").get<uint64_t>() > 18 * kMB);
  REQUIRE_THAT(holdfast.run({"status", "--check"}).out, Contains("20.0 MB are the reserve"));
  holdfast.require_clean(true);
  REQUIRE(::unlink(ballast.c_str()) == 0);
  REQUIRE(holdfast.service().wait_for_error("all that is there is kept again"));
  REQUIRE(store_of(holdfast).at("keeping") == true);
  holdfast.require_restores(work, holdfast.flush(), read_tree(root));
  holdfast.require_clean(true);
  holdfast.stop();
}

TEST_CASE("a limit that cannot be understood ends the start", "[quota]") {
  WorkDir work;
  const std::string root = work.make("data");
  const Holdfast holdfast(work.path("state"));
  const auto error_of = [&](const std::vector<std::string>& more) {
    std::vector<std::string> args{"data=" + root};
    args.insert(args.end(), more.begin(), more.end());
    const Outcome outcome = holdfast.launch(args)->wait();
    REQUIRE(outcome.exit_code == 2);
    return outcome.err;
  };
  CHECK_THAT(error_of({"--quota", "a lot"}),
             Contains("HOLDFAST_QUOTA): quota is \"a lot\"; it has"));
  CHECK_THAT(error_of({"--reserve", "100%"}), Contains("HOLDFAST_RESERVE): reserve is \"100%\""));
}

}  // namespace holdfast
