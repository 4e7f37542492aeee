// What a user does not want kept: gitignore patterns, and directories that call themselves a cache.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <set>

#include "tests/support/holdfast_run.h"

namespace holdfast {
namespace {

constexpr const char* kCacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n";

std::set<std::string> listed(const Holdfast& holdfast) {
  std::set<std::string> paths;
  for (const TestJson& line : holdfast.lines({"ls", "-R"})) paths.insert(line.at("path"));
  return paths;
}

void fill(const std::string& root) {
  for (const std::string dir : {"/build", "/src", "/src/build", "/cache", "/cache/below"}) {
    make_dir(root + dir);
  }
  for (const std::string file :
       {"/keep.txt", "/drop.tmp", "/keep.tmp", "/build/out", "/src/code", "/src/drop.tmp",
        "/src/build/out", "/cache/entry", "/cache/below/entry"}) {
    write_file(root + file, file);
  }
  write_file(root + "/cache/CACHEDIR.TAG", kCacheTag);
}

}  // namespace

TEST_CASE("what is excluded is neither kept nor touched", "[excludes]") {
  const std::set<std::string> wanted = {"keep.txt", "keep.tmp",          "src",
                                        "src/code", "src/build",         "src/build/out",
                                        "cache",    "cache/CACHEDIR.TAG"};
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  const std::vector<std::string> args = {"data=" + root, "--exclude", "*.tmp",  "--exclude",
                                         "!keep.tmp",    "--exclude", "/build/"};
  SECTION("there at the start") {
    fill(root);
    holdfast.start(args);
  }
  SECTION("made while it runs") {
    holdfast.start(args);
    fill(root);
  }
  const uint64_t seq = holdfast.flush();
  REQUIRE(listed(holdfast) == wanted);

  // Changes of what is excluded are no news, apart from the times of the directories that hold it.
  write_file(root + "/drop.tmp", "changed");
  write_file(root + "/build/out", "changed");
  write_file(root + "/cache/below/entry", "changed");
  write_file(root + "/src/added.tmp", "new");
  holdfast.flush();
  for (const TestJson& record : holdfast.lines({"log", "--since", at(seq + 1)})) {
    INFO(record.dump());
    REQUIRE(record.at("type") == "dir");
  }
  // A restore with --delete leaves alone what it knows nothing of.
  write_file(root + "/src/code", "changed");
  write_file(root + "/src/extra", "goes");
  holdfast.text({"restore", "--at", at(seq), "--in-place", "--delete"});
  REQUIRE(read_file(root + "/src/code") == "/src/code");
  REQUIRE_FALSE(exists(root + "/src/extra"));
  for (const std::string path : {"/drop.tmp", "/build/out", "/src/added.tmp"}) {
    INFO(path);
    REQUIRE(exists(root + path));
  }
  REQUIRE(read_file(root + "/cache/entry") == "/cache/entry");
  holdfast.stop();
}

TEST_CASE("a cache tag that comes or goes decides for what is there already", "[excludes]") {
  const std::set<std::string> untagged = {"cache", "cache/below", "cache/below/entry",
                                          "cache/entry"};
  WorkDir work;
  const std::string root = work.make("data");
  make_dir(root + "/cache");
  make_dir(root + "/cache/below");
  write_file(root + "/cache/entry", "1");
  write_file(root + "/cache/below/entry", "2");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  REQUIRE(listed(holdfast) == untagged);
  write_file(root + "/cache/CACHEDIR.TAG", kCacheTag);
  holdfast.flush();
  REQUIRE(listed(holdfast) == std::set<std::string>{"cache", "cache/CACHEDIR.TAG"});
  REQUIRE(::unlink((root + "/cache/CACHEDIR.TAG").c_str()) == 0);
  holdfast.flush();
  REQUIRE(listed(holdfast) == untagged);
  holdfast.stop();
}

}  // namespace holdfast
