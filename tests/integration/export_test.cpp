// A moment as a tar that other tools read.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/churn.h"
#include "tests/support/holdfast_run.h"

namespace holdfast {

namespace {

namespace fs = std::filesystem;

// What GNU tar makes of it.
Tree unpacked(const WorkDir& work, const std::string& tar, const std::string& root) {
  static int count = 0;
  const std::string name = "out" + std::to_string(++count);
  const std::string out = work.make(name);
  write_file(out + ".tar", tar);
  const Outcome done =
      run_tool({"tar", "--extract", "--preserve-permissions", "--xattrs", "--xattrs-include=*",
                "--numeric-owner", "--directory", out, "--file", out + ".tar"});
  INFO(done.err);
  REQUIRE(done.exit_code == 0);
  return read_tree(out + "/" + root);
}

}  // namespace

TEST_CASE("tar makes the tree of any moment from an export", "[export]") {
  const unsigned seed = announced_seed("export");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  WorkDir work;
  const std::string root = work.make("data");
  Churn churn(root, work.make("outside"), seed);
  churn.steps(200);
  write_file(root + "/of two names", "x");
  REQUIRE(::link((root + "/of two names").c_str(), (root + "/a second name").c_str()) == 0);
  write_file(root + "/no \xff UTF-8", "bytes");
  write_file(root + "/ümläut", "text");
  make_dir(root + "/" + std::string(200, 'd'));
  write_file(root + "/" + std::string(200, 'd') + "/" + std::string(200, 'f'), "deep");
  write_file(root + "/large", random_bytes_of(5'000'000, seed));
  REQUIRE(::setxattr((root + "/large").c_str(), "user.of", "export", 6, 0) == 0);
  REQUIRE(::mkfifo((root + "/fifo").c_str(), 0640) == 0);
  const timespec stamps[2] = {{1'000'000'000, 1}, {981'173'106, 789'012'345}};
  REQUIRE(::utimensat(AT_FDCWD, (root + "/large").c_str(), stamps, 0) == 0);

  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t seq = holdfast.flush();
  const Tree then = read_tree(root);
  churn.steps(100);
  const uint64_t later = holdfast.flush();
  const Tree now = read_tree(root);
  REQUIRE(differences(then, now) != "");

  REQUIRE(differences(then, unpacked(work, holdfast.text({"export", "--at", at(seq)}), "data")) ==
          "");
  REQUIRE(differences(now, unpacked(work, holdfast.text({"export", "data:"}), "data")) == "");
  holdfast.stop();
  const std::string cold = holdfast.text({"export", "--at", at(later), root});
  REQUIRE(differences(now, unpacked(work, cold, "data")) == "");
}

TEST_CASE("an export of one path holds that, and all paths that were named", "[export]") {
  WorkDir work;
  const std::string root = work.make("data");
  make_dir(root + "/a");
  make_dir(root + "/b");
  write_file(root + "/a/1", "one");
  write_file(root + "/b/2", "two");
  write_file(root + "/3", "three");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  const std::string tar = holdfast.text({"export", "data:a", root + "/3"});
  write_file(work.path("x.tar"), tar);
  REQUIRE(run_tool({"tar", "tf", work.path("x.tar")}).out == "data/a/\ndata/a/1\ndata/3\n");
  REQUIRE(holdfast.run({"export", "data:nowhere"}).exit_code == 4);
  REQUIRE(holdfast.run({"export", "data:nowhere"}).out.empty());
  holdfast.stop();
}

TEST_CASE("what an export has to leave out is named, and its exit code is 5", "[export]") {
  WorkDir work;
  const std::string root = work.make("data");
  write_file(root + "/sound", "yes");
  REQUIRE(::mknod((root + "/socket").c_str(), S_IFSOCK | 0600, 0) == 0);
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  const Outcome done = holdfast.run({"export"});
  REQUIRE(done.exit_code == 5);
  REQUIRE(done.err.find("left out: data/socket: it is a socket") != std::string::npos);
  write_file(work.path("x.tar"), done.out);
  REQUIRE(run_tool({"tar", "tf", work.path("x.tar")}).out == "data/\ndata/sound\n");
  holdfast.stop();
}

TEST_CASE("a command gets an export, and never the clean end of a part", "[export]") {
  WorkDir work;
  const std::string root = work.make("data");
  write_file(root + "/a", "a");
  write_file(root + "/large", random_bytes_of(3'000'000, 7));
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  const Tree tree = read_tree(root);
  const std::string out = work.make("out"), done = work.path("done");
  const auto exported = [&](const std::string& command) {
    return holdfast.run({"export", "--to-command", command});
  };
  const Outcome good = exported("tar x --preserve-permissions --xattrs -C " + out);
  INFO(good.err);
  REQUIRE(good.exit_code == 0);
  REQUIRE(good.out.find("exported @") == 0);
  REQUIRE(differences(tree, read_tree(out + "/data")) == "");
  const Outcome failed = exported("cat > /dev/null; exit 7");
  REQUIRE(failed.exit_code == 1);
  REQUIRE(failed.err.find("exit status 7") != std::string::npos);
  REQUIRE(exported("exit 0").exit_code == 0);  // it need not read all

  const std::string pack = fs::directory_iterator(holdfast.state() + "/packs")->path();
  std::string bytes = read_file(pack);
  bytes[2'000'000] = static_cast<char>(bytes[2'000'000] ^ 1);
  write_file(pack, bytes);
  for (const bool service : {true, false}) {
    if (!service) holdfast.stop();
    const Outcome damaged = exported("cat > /dev/null && touch " + done);
    INFO(damaged.err);
    REQUIRE(damaged.exit_code == 1);
    REQUIRE(damaged.err.find("ended before the end of its input") != std::string::npos);
    REQUIRE_FALSE(exists(done));
  }
}

// Whoever pipes it somewhere must learn that it is no good.
TEST_CASE("an export of a damaged store fails", "[export]") {
  WorkDir work;
  const std::string root = work.make("data");
  write_file(root + "/large", random_bytes_of(300'000, 7));
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  const auto fails = [&] {
    const Outcome done = holdfast.run({"export"});
    INFO(done.err);
    REQUIRE(done.exit_code == 1);
    REQUIRE_FALSE(done.err.empty());
  };
  const std::string pack = fs::directory_iterator(holdfast.state() + "/packs")->path();
  std::string bytes = read_file(pack);
  bytes[100'000] = static_cast<char>(bytes[100'000] ^ 1);
  write_file(pack, bytes);
  fails();
  holdfast.stop();
  fails();
}

}  // namespace holdfast
