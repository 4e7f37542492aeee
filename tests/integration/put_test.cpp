// Contents that programs give, in roots without a directory.
#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>
#include <random>

#include "tests/support/mounts.h"
#include "tests/support/raw_put.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

using Catch::Contains;

TestJson put(const Holdfast& holdfast, const std::string& path, const std::string& bytes) {
  return TestJson::parse(put_content(holdfast.state(), path, bytes));
}

}  // namespace

TEST_CASE("what a program gives is a version like any other", "[put]") {
  Watched w;
  const std::string first = random_bytes_of(3'000'000, 1);
  const std::string second = first.substr(0, 1'500'000) + "changed" + first.substr(1'500'000);
  const TestJson a = put(w.holdfast, "dumps:db/app", first);
  const TestJson b = put(w.holdfast, "dumps:db/app", second);
  put(w.holdfast, "dumps:small", "hello");
  REQUIRE(a.at("size") == first.size());
  REQUIRE(b.at("new_bytes").get<uint64_t>() < first.size() / 4);  // the rest was there
  const Holdfast& h = w.holdfast;
  REQUIRE(h.text({"cat", "dumps:db/app"}) == second);
  REQUIRE(h.text({"cat", "dumps:db/app", "--at", at(a.at("seq"))}) == first);
  const auto history = h.lines({"history", "dumps:db/app"});
  REQUIRE(history.size() == 2);
  REQUIRE(history[1].at("kind") == "dump");
  REQUIRE(history[1].at("hash") == b.at("hash"));
  REQUIRE(paths_of(h.lines({"ls", "-R", "dumps:"})) ==
          std::vector<std::string>{"db", "db/app", "small"});
  REQUIRE_THAT(h.text({"diff", at(a.at("seq")), "now"}),
               Contains("M dumps:db/app") && Contains("+ dumps:small"));
  h.text({"restore", "dumps:", "--at", "now", "--to", w.work.path("out")});
  REQUIRE(read_file(w.work.path("out/db/app")) == second);
  REQUIRE(h.run({"restore", "dumps:small", "--at", "now", "--in-place"}).exit_code == 2);
  REQUIRE_THAT(h.text({"restore", "--at", "now", "--in-place", "--delete"}),
               Contains("note: dumps: is in no directory"));
  REQUIRE(h.text({"cat", "dumps:small"}) == "hello");
  REQUIRE(h.run({"verify", "dumps:small"}).exit_code == 2);
  REQUIRE(h.json({"verify"}).at("problems") == 0);
  h.text({"prune", "--all", "0s", "--last", "1"});
  REQUIRE(h.text({"cat", "dumps:db/app"}) == second);
  h.require_clean(true);
}

TEST_CASE("what was given survives a kill, a rebuild and commands without a service", "[put]") {
  Watched w;
  const std::string bytes = random_bytes_of(2'000'000, 2);
  put(w.holdfast, "dumps:app", bytes);
  w.holdfast.kill();
  REQUIRE(w.holdfast.text({"cat", "dumps:app"}) == bytes);
  w.holdfast.text({"rebuild"});
  REQUIRE(w.holdfast.text({"cat", "dumps:app"}) == bytes);
  w.holdfast.require_clean(true);
  w.holdfast.text({"snapshot"});  // looks at all roots first: this one is none to look at
  REQUIRE(w.holdfast.text({"cat", "dumps:app"}) == bytes);
}

TEST_CASE("a prune waits for what is being given", "[put]") {
  Watched w;
  const std::string bytes = random_bytes_of(9'000'000, 4);
  put(w.holdfast, "dumps:app", bytes);
  put(w.holdfast, "dumps:app", "other");  // nothing that is kept needs the first one now
  const auto services = [&] { return w.holdfast.lines({"log", "--kind", "service"}).size(); };
  const size_t before = services();
  RawPut again(w.holdfast.state(), "dumps:app");
  REQUIRE(again.send(bytes));  // all of it is in the store still
  Process prune({{holdfast_binary(), "--state", w.holdfast.state(), "prune", "--all", "0s",
                  "--last", "1", "--grace", "0s"},
                 "",
                 {},
                 0});
  // It has begun when it says so in the journal; then it has some time to do wrong.
  for (int asked = 0; services() == before; ++asked) REQUIRE(asked < 10'000);
  for (int asked = 0; asked < 20 && prune.running(); ++asked) w.holdfast.text({"status"});
  const std::string answer = again.end();
  REQUIRE_THAT(answer, Contains("200 OK"));
  REQUIRE(prune.wait().exit_code == 0);
  REQUIRE(w.holdfast.text({"cat", "dumps:app"}) == bytes);
  w.holdfast.require_clean(true);
}

TEST_CASE("a repair saves what is sound of what was given, and names the rest", "[put]") {
  Watched w;
  put(w.holdfast, "dumps:first", random_bytes_of(3'000'000, 5));
  put(w.holdfast, "dumps:second", "second");
  w.holdfast.stop();
  const auto packs = std::filesystem::directory_iterator(w.holdfast.state() + "/packs");
  const std::string pack = packs->path();
  std::string stored = read_file(pack);
  stored[1'500'000] = static_cast<char>(stored[1'500'000] ^ 1);
  write_file(pack, stored);
  const Outcome repaired = w.holdfast.run({"repair", "--json"});
  INFO("repair said: " << repaired.out << repaired.err);
  REQUIRE(repaired.exit_code == 5);
  const TestJson lost = TestJson::parse(repaired.out).at("lost");
  REQUIRE(lost.size() == 1);
  REQUIRE(lost.at(0).at("root") == "dumps");
  REQUIRE(lost.at(0).at("path") == "first");
  REQUIRE(w.holdfast.text({"cat", "dumps:second"}) == "second");
  w.holdfast.require_clean(true);
}

TEST_CASE("a body that breaks off, and one whose service is killed, leave nothing", "[put]") {
  Watched w;
  const std::string bytes = random_bytes_of(12'000'000, 3);
  {
    RawPut broken(w.holdfast.state(), "dumps:app");
    REQUIRE(broken.send(bytes));
    const TestJson busy = put(w.holdfast, "dumps:app", "x");
    REQUIRE(busy.at("code") == "busy");
    broken.break_off();
  }
  // Its end is seen a moment later: until then the name is busy.
  TestJson answer;
  for (answer = put(w.holdfast, "dumps:app", "whole"); answer.contains("error");) {
    REQUIRE(answer.at("code") == "busy");
    answer = put(w.holdfast, "dumps:app", "whole");
  }
  REQUIRE(w.holdfast.lines({"history", "dumps:app"}).size() == 1);
  RawPut killed(w.holdfast.state(), "dumps:app");
  REQUIRE(killed.send(bytes));
  w.holdfast.kill();
  REQUIRE(w.holdfast.text({"cat", "dumps:app"}) == "whole");
  w.holdfast.require_clean(true);
}

TEST_CASE("a put that is refused is answered, and the rest of it is not read", "[put]") {
  constexpr size_t kPieces = 200, kReadMax = 4'000'000;
  const std::string piece = random_bytes_of(1'000'000, 6);
  Watched w;
  std::string target = "data:a", code = "usage", state = w.holdfast.state();
  size_t read_max = kReadMax;
  std::optional<LoopMount> disk;
  std::optional<Holdfast> other;
  SECTION("before its body, though nobody asked") {}
  SECTION("for a number that is none") { target = "dumps:a&shrink=much"; }
  SECTION("in the middle of it, when the disk is full") {
    if (!is_root_for("mounting a small file system to fill")) return;
    constexpr size_t kDiskBytes = 64 << 20;
    disk.emplace(w.work, "disk", kDiskBytes);
    state = disk->path() + "/state";
    other.emplace(state);
    other->start({w.root});
    target = "dumps:a", code = "no_space";
    read_max += kDiskBytes;
  }
  // As a program would that looks for an answer only when it has sent all.
  RawPut refused(state, target);
  size_t sent = 0;
  std::string next = piece;
  while (sent < kPieces * piece.size() && refused.send(next)) {
    sent += next.size();
    std::shuffle(next.begin(), next.end(), std::minstd_rand(static_cast<unsigned>(sent)));
  }
  const std::string answer = refused.end();
  INFO("sent " << sent << ", the answer: " << answer);
  REQUIRE(sent < read_max);
  REQUIRE_THAT(answer, Contains("\"code\":\"" + code + "\"") && Contains("\"error\":"));
  if (!other) return;
  // Our own client, of a command that goes on and on.
  write_file(w.work.path("holdfast.toml"),
             "[[dump]]\nname = \"a\"\nevery = \"1h\"\ncommand = [\"/bin/sh\", \"-c\", \"exec cat "
             "/dev/urandom\"]\n");
  const Outcome said = other->run({"--config", w.work.path("holdfast.toml"), "run-dump", "a"});
  REQUIRE(said.exit_code == 1);
  REQUIRE_THAT(said.err, Contains("is full"));
  other->stop();
  other->require_clean(true);
}

TEST_CASE("a virtual root and a watched one do not take each other's name", "[put]") {
  Watched w;
  write_file(w.in("a"), "a");
  w.holdfast.flush();
  REQUIRE(put(w.holdfast, "data:a", "x").at("code") == "usage");
  REQUIRE(put(w.holdfast, "dumps:x", "x").at("size") == 1);
  REQUIRE(put(w.holdfast, "dumps:x/y", "x").at("code") == "exists");
  REQUIRE(put(w.holdfast, "dumps:", "x").at("code") == "usage");
  REQUIRE(put(w.holdfast, "dumps:d/y", "x").contains("seq"));
  REQUIRE(put(w.holdfast, "dumps:d", "x").at("code") == "exists");
  w.holdfast.stop();
  const Outcome refused = w.holdfast.run({"watch", "dumps=" + w.root});
  REQUIRE(refused.exit_code == 2);
  REQUIRE_THAT(refused.err, Contains("holds what programs gave"));
}

}  // namespace holdfast
