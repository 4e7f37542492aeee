// What healing must not do, and what must not become the version that it brings back.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/mapped_writer.h"
#include "tests/support/rotting.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

constexpr int kFoundProblems = 3;

int open_verdicts(const Holdfast& holdfast) {
  const TestJson verdicts = holdfast.json({"status"}).at("verdicts");
  int all = 0;
  for (const TestJson& number : verdicts) all += number.get<int>();
  return all;
}

}  // namespace

TEST_CASE("a damaged file that a program has open for writing is not replaced under it",
          "[verify]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  Rotting r;
  const std::string good(9000, 'g');
  write_file(r.in("file"), good);
  r.start();
  r.disk.flip_bit(r.in("file"), 5000);
  verify(r.holdfast, {}, kFoundProblems);
  {
    const Fd writer(::open(r.in("file").c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(writer.valid());
    const TestJson healed = verify(r.holdfast, {"--heal"}, kFoundProblems);
    REQUIRE(healed.at("healed")[0].at("healed") == false);
    const std::string why = healed.at("healed")[0].at("why");
    REQUIRE(why.find("open for writing") != std::string::npos);
    REQUIRE(::pwrite(writer.get(), "W", 1, 8999) == 1);  // it is still the file that has the name
  }
  REQUIRE(read_file(r.in("file")).back() == 'W');
}

TEST_CASE("what was written after the damage was found is not healed away", "[verify]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  Rotting r;
  write_file(r.in("file"), std::string(9000, 'g'));
  r.start();
  r.disk.flip_bit(r.in("file"), 5000);
  verify(r.holdfast, {}, kFoundProblems);
  r.holdfast.stop();
  const std::string edited = "written by its program while nobody watched";
  write_file(r.in("file"), edited);
  const TestJson healed = verify(r.holdfast, {"--heal"}, kFoundProblems);
  REQUIRE(healed.at("healed")[0].at("healed") == false);
  REQUIRE(read_file(r.in("file")) == edited);
}

TEST_CASE("a file that rots again after it was rewritten is healed to what was written",
          "[verify]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  Rotting r;
  write_file(r.in("file"), std::string(9000, 'a'));
  r.start();
  r.disk.flip_bit(r.in("file"), 5000);
  verify(r.holdfast, {}, kFoundProblems);
  const std::string good(9000, 'b');
  write_file(r.in("file"), good);
  r.holdfast.flush();
  run_tool({"sync", "-f", r.root});
  r.disk.flip_bit(r.in("file"), 77);
  verify(r.holdfast, {}, kFoundProblems);
  REQUIRE(r.holdfast.lines({"log", "--verdict", "corrupt"}).size() == 2);
  // A chmod does not make the second damage a version either.
  REQUIRE(::chmod(r.in("file").c_str(), 0600) == 0);
  r.holdfast.flush();
  REQUIRE((r.holdfast.text({"cat", "data:file"}) == good));
  verify(r.holdfast, {"--heal"}, 0);
  REQUIRE((read_file(r.in("file")) == good));
  REQUIRE(open_verdicts(r.holdfast) == 0);
  r.holdfast.require_clean(true);
}

TEST_CASE("known damage that moves while nobody watches does not become a version", "[verify]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  Rotting r;
  const std::string good(9000, 'g');
  write_file(r.in("file"), good);
  write_file(r.in("linked"), good + "l");
  r.start();
  r.disk.flip_bit(r.in("file"), 5000);
  r.disk.flip_bit(r.in("linked"), 5000);
  verify(r.holdfast, {}, kFoundProblems);
  r.holdfast.stop();
  rename_path(r.in("file"), r.in("moved"));
  REQUIRE(::link(r.in("linked").c_str(), r.in("other").c_str()) == 0);
  r.holdfast.start({"data=" + r.root});
  r.holdfast.flush();
  REQUIRE((r.holdfast.text({"cat", "data:moved"}) == good));
  REQUIRE((r.holdfast.text({"cat", "data:other"}) == good + "l"));
  REQUIRE(open_verdicts(r.holdfast) == 2);
  verify(r.holdfast, {"--heal"}, 0);
  REQUIRE((read_file(r.in("moved")) == good));
  REQUIRE((read_file(r.in("other")) == good + "l"));
  REQUIRE((read_file(r.in("linked")) == good + "l"));
  REQUIRE(open_verdicts(r.holdfast) == 0);
  r.holdfast.require_clean(true);
}

// The mapping's pages are dirty when the file is captured and moved, so that later stores move no
// stamp: only what the capture saw of the writer tells.
TEST_CASE("a file that is mapped by a writer and renamed is read again", "[verify]") {
  if (!is_root_for("an ext4 of its own")) return;
  Rotting r;
  write_file(r.in("log"), std::string(8192, '.'));
  r.start();
  {
    MappedWriter writer(r.in("log"), 8192);
    writer.store(10, '1');
    write_file(r.in("log.touch"), "");
    REQUIRE(::chmod(r.in("log").c_str(), 0640) == 0);
    r.holdfast.flush();
    rename_path(r.in("log"), r.in("log.1"));
    r.holdfast.flush();
    writer.store(20, '2');
  }
  r.holdfast.flush();
  verify(r.holdfast, {}, 0);
  REQUIRE((r.holdfast.text({"cat", "data:log.1"}) == read_file(r.in("log.1"))));
  REQUIRE(open_verdicts(r.holdfast) == 0);
}

// Inodes of 128 bytes hold whole seconds: both writes leave the same stamps.
TEST_CASE("a second write within a second is seen where inodes hold no nanoseconds", "[verify]") {
  if (!is_root_for("an ext4 of its own")) return;
  Rotting r(64 << 20, "ext3");
  r.start();
  for (int i = 0; i < 5; ++i) {
    const std::string name = "file" + std::to_string(i);
    write_file(r.in(name), "first");
    r.holdfast.flush();
    write_file(r.in(name), "other");
  }
  r.holdfast.flush();
  for (int i = 0; i < 5; ++i) {
    const std::string path = "data:file" + std::to_string(i);
    while (r.holdfast.text({"cat", path}) != "other") r.holdfast.flush();
  }
  REQUIRE(verify(r.holdfast, {}, 0).at("problems") == 0);
}

}  // namespace holdfast
