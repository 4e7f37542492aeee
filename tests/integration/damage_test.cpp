// What users, disks and other versions get wrong: each is told in words, and what is sound goes on.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/damage.h"

namespace holdfast {
namespace {

using Catch::Contains;
namespace fs = std::filesystem;

constexpr size_t kMiB = 1 << 20;

// The pack files of a state, in the order in which they were written.
std::vector<std::string> packs_of(const Holdfast& holdfast) {
  std::vector<std::string> packs;
  for (const auto& entry : fs::recursive_directory_iterator(holdfast.state() + "/packs")) {
    if (entry.is_regular_file()) packs.push_back(entry.path());
  }
  std::sort(packs.begin(), packs.end());
  return packs;
}

Outcome fails_to_watch(const Holdfast& holdfast, const std::vector<std::string>& args,
                       uid_t uid = 0) {
  Outcome outcome = holdfast.launch(args, uid)->wait(20'000);
  INFO(outcome.err);
  REQUIRE_FALSE(outcome.timed_out);
  REQUIRE(outcome.exit_code != 0);
  return outcome;
}

}  // namespace

TEST_CASE("roots that cannot be watched are refused in words", "[damage]") {
  WorkDir work;
  const std::string root = work.make("data");
  make_dir(root + "/inner");
  write_file(work.path("file"), "no directory");
  Holdfast holdfast(work.path("state"));
  REQUIRE_THAT(fails_to_watch(holdfast, {work.path("missing")}).err,
               Contains("missing") && Contains("No such file"));
  REQUIRE_THAT(fails_to_watch(holdfast, {work.path("file")}).err, Contains("not a directory"));
  REQUIRE_THAT(fails_to_watch(holdfast, {root, root + "/inner"}).err, Contains("inside the root"));
  REQUIRE_THAT(fails_to_watch(holdfast, {"a=" + root, "a=" + root + "/inner"}).err,
               Contains("two roots are named a") || Contains("inside the root"));
  // A link to a root is that root.
  REQUIRE(::symlink(root.c_str(), work.path("link").c_str()) == 0);
  REQUIRE_THAT(fails_to_watch(holdfast, {"a=" + root, "b=" + work.path("link")}).err,
               Contains("inside the root"));
}

TEST_CASE("a root that one may not read is told, not taken for empty", "[damage]") {
  if (!is_root_for("running as another user")) return;
  constexpr uid_t kNobody = 65534;
  WorkDir work;
  REQUIRE(::chmod(work.path().c_str(), 0755) == 0);
  const std::string root = work.make("data");
  write_file(root + "/readable", "yes");
  write_file(root + "/secret", "no");
  make_dir(root + "/closed");
  write_file(root + "/closed/below", "hidden");
  const std::string state = work.make("state");
  REQUIRE(::chown(state.c_str(), kNobody, kNobody) == 0);
  Holdfast holdfast(state + "/s");
  if (run_process({{holdfast_binary(), "--version"}, "", {}, kNobody}).exit_code != 0) {
    WARN("left out: the built program cannot be run by another user");
    return;
  }
  SECTION("the root itself") {
    REQUIRE(::chmod(root.c_str(), 0700) == 0);
    const auto service = holdfast.launch({"data=" + root}, kNobody);
    const bool refused = !service->wait_for_error(", ready") && !service->running();
    if (refused) {
      REQUIRE_THAT(service->wait().err, Contains("Permission denied"));
    } else {
      holdfast.flush();
      REQUIRE(holdfast.json({"status"}).at("healthy") == false);
    }
  }
  SECTION("something in it") {
    REQUIRE(::chmod((root + "/secret").c_str(), 0600) == 0);
    REQUIRE(::chmod((root + "/closed").c_str(), 0700) == 0);
    const auto service = holdfast.launch({"data=" + root}, kNobody);
    REQUIRE(service->wait_for_error(", ready"));
    holdfast.flush();
    REQUIRE(holdfast.text({"cat", "data:readable"}) == "yes");
    const TestJson secret = holdfast.lines({"history", "data:secret"}).back();
    REQUIRE(secret.at("stored") == false);
    REQUIRE_THAT(secret.dump(), Contains("unreadable") && Contains("Permission denied"));
    REQUIRE_THAT(holdfast.text({"log", "--kind", "gap"}), Contains("closed"));
    const Outcome partly =
        holdfast.run({"restore", "--at", "now", "--to", state + "/out", "--json"});
    INFO(partly.out << partly.err);
    REQUIRE(partly.exit_code == 5);
    REQUIRE_THAT(partly.out, Contains("secret"));
    REQUIRE(read_file(state + "/out/readable") == "yes");
  }
}

TEST_CASE("a state inside a watched root does not feed itself", "[damage]") {
  WorkDir work;
  const std::string root = work.make("data");
  write_file(root + "/file", "content");
  Holdfast holdfast(root + "/.state");
  holdfast.start({"data=" + root});
  REQUIRE_THAT(holdfast.service().error_output(), Contains("left out"));
  holdfast.flush();
  std::vector<uint64_t> sequences;
  for (int i = 0; i < 5; ++i) sequences.push_back(holdfast.flush());
  // Its own writing must not be news to it, or the journal would grow for ever.
  REQUIRE(sequences.back() == sequences.front());
  REQUIRE(holdfast.lines({"ls", "-R"}).size() == 1);
  const Tree before = read_tree(root, {".state"});
  write_file(root + "/file", "changed");
  holdfast.flush();
  holdfast.text({"restore", "--at", at(sequences.back()), "--in-place", "--delete"});
  REQUIRE(exists(holdfast.state() + "/repository"));
  // The root's own times moved with the state's directory; all else is as it was.
  Tree after = read_tree(root, {".state"});
  after[""] = before.at("");
  REQUIRE(differences(before, after) == "");
  holdfast.stop();
}

TEST_CASE("a state of a newer format or with a damaged header is refused", "[damage]") {
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  holdfast.stop();
  const std::string header = holdfast.state() + "/repository";
  TestJson json = TestJson::parse(read_file(header));
  SECTION("newer") {
    json["format"] = 999;
    write_file(header, json.dump());
    REQUIRE_THAT(fails_to_watch(holdfast, {root}).err, Contains("format 999") && Contains("newer"));
    REQUIRE(holdfast.run({"ls"}).exit_code == 1);
  }
  SECTION("damaged") {
    write_file(header, "{ not what it was");
    REQUIRE_THAT(fails_to_watch(holdfast, {root}).err, Contains("damaged") && Contains(header));
  }
  SECTION("another state's") {
    json["key"] = std::string(64, 'a');
    write_file(header, json.dump());
    fails_to_watch(holdfast, {root});
  }
}

TEST_CASE("a damaged byte harms its file alone, and is found", "[damage]") {
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  write_file(root + "/large", random_bytes_of(4 * kMiB, 7));
  holdfast.start({"data=" + root});
  holdfast.flush();
  write_file(root + "/small", "sound");
  const uint64_t seq = holdfast.flush();
  holdfast.stop();
  // In the middle of the large file's chunks, which were written first.
  flip_byte(packs_of(holdfast).front(), 2 * kMiB);

  holdfast.start({"data=" + root});
  REQUIRE(holdfast.run({"check"}).exit_code == 0);  // structure only
  const Outcome found = holdfast.run({"check", "--read-data", "--json"});
  INFO(found.out << found.err);
  REQUIRE(found.exit_code == 3);
  REQUIRE(parse_lines(found.out).back().at("clean") == false);
  const Outcome partly =
      holdfast.run({"restore", "--at", at(seq), "--to", work.path("out"), "--json"});
  INFO(partly.out << partly.err);
  REQUIRE(partly.exit_code == 5);
  const TestJson result = parse_lines(partly.out).back();
  REQUIRE(result.at("failed").size() == 1);
  REQUIRE_THAT(result.at("failed").at(0).at("path").get<std::string>(), Contains("large"));
  REQUIRE(read_file(work.path("out/small")) == "sound");
  REQUIRE_FALSE(exists(work.path("out/large")));  // never half of a file under its name
  REQUIRE(holdfast.run({"cat", "data:large"}).exit_code != 0);
  REQUIRE(holdfast.text({"cat", "data:small"}) == "sound");
  holdfast.stop();
}

TEST_CASE("a pack that is gone is named, and the others still restore", "[damage]") {
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  // More than a pack holds, so that the first one is sealed.
  for (unsigned i = 0; i < 10; ++i) {
    write_file(root + "/f" + std::to_string(i), random_bytes_of(8 * kMiB, 50 + i));
    holdfast.flush();
  }
  write_file(root + "/last", "in the newest pack");
  const uint64_t seq = holdfast.flush();
  holdfast.stop();
  const std::vector<std::string> packs = packs_of(holdfast);
  REQUIRE(packs.size() >= 2);
  REQUIRE(::unlink(packs.front().c_str()) == 0);

  holdfast.start({"data=" + root});
  const TestJson status = holdfast.json({"status"});
  REQUIRE(status.at("healthy") == false);
  const std::string name = fs::path(packs.front()).filename();
  REQUIRE_THAT(status.at("problems").dump(), Contains("pack"));
  REQUIRE(holdfast.run({"check"}).exit_code == 3);
  const Outcome partly =
      holdfast.run({"restore", "--at", at(seq), "--to", work.path("out"), "--json"});
  INFO(partly.out << partly.err << " without " << name);
  REQUIRE(partly.exit_code == 5);
  const size_t failed = parse_lines(partly.out).back().at("failed").size();
  REQUIRE(failed >= 1);
  REQUIRE(failed < 10);
  REQUIRE(read_file(work.path("out/last")) == "in the newest pack");
  holdfast.stop();
}

TEST_CASE("different files never share content, and equal ones do", "[damage]") {
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  // Equal in size and time, different in one byte, many at once: what a weak identity would mix up.
  for (unsigned i = 0; i < 300; ++i) {
    std::string bytes(5000, 'x');
    bytes[i * 16] = 'y';
    write_file(root + "/f" + std::to_string(i), bytes);
  }
  const std::string shared = random_bytes_of(3 * kMiB, 9);
  for (int i = 0; i < 5; ++i) write_file(root + "/copy" + std::to_string(i), shared);
  holdfast.start({"data=" + root});
  const uint64_t seq = holdfast.flush();
  holdfast.require_restores(work, seq, read_tree(root));
  const auto stored = holdfast.json({"status"}).at("store").at("bytes").get<uint64_t>();
  REQUIRE(stored < 5 * kMiB);  // the copies are stored once
  holdfast.stop();
}

}  // namespace holdfast
