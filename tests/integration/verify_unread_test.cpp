// What verify cannot look at is neither sound nor lost, and said; what the disk refuses is an open
// verdict until it can be read.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <set>

#include "tests/support/rotting.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr int kFoundProblems = 3;
constexpr uid_t kNobody = 65534;

// By a shell, which sets a limit first.
TestJson verify_after(const std::string& first, const Holdfast& holdfast, int expected) {
  return parsed_verify(
      run_process({{"sh", "-c", first + "; exec \"$0\" --state \"$1\" --json verify",
                    holdfast_binary(), holdfast.state()},
                   "",
                   {},
                   0}),
      expected);
}

std::set<std::string> paths_with_loss(const TestJson& result, const std::string& loss) {
  std::set<std::string> paths;
  for (const TestJson& finding : result.at("findings")) {
    if (finding.at("loss") == loss) paths.insert(finding.at("path").get<std::string>());
  }
  return paths;
}

void make_directories_with_files(const std::string& root, int count) {
  for (int i = 0; i < count; ++i) {
    const std::string dir = root + "/d" + std::to_string(i);
    make_dir(dir);
    write_file(dir + "/file", "in " + std::to_string(i));
  }
}

// Where on the device the bytes are: they stand there once.
uint64_t place_of_bytes(const std::string& image, const std::string& bytes) {
  std::ifstream stream(image, std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(stream)), {});
  const size_t at = all.find(bytes);
  REQUIRE(at != std::string::npos);
  REQUIRE(all.find(bytes, at + 1) == std::string::npos);
  return at;
}

// Flips a bit of the device under a mounted file system, whatever that has in its caches.
void flip_bit_of_device(const std::string& image, const std::string& mounted, uint64_t offset) {
  const Fd file(::open(image.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(file.valid());
  char byte = 0;
  REQUIRE(::pread(file.get(), &byte, 1, static_cast<off_t>(offset)) == 1);
  byte ^= 1;
  REQUIRE(::pwrite(file.get(), &byte, 1, static_cast<off_t>(offset)) == 1);
  REQUIRE(::fsync(file.get()) == 0);
  const std::string flush = "blockdev --flushbufs $(findmnt -n -o SOURCE \"$0\") && sync -f \"$0\"";
  run_tool({"sh", "-c", flush, mounted});
}

}  // namespace

TEST_CASE("a tree of more directories than may be open is verified", "[verify]") {
  Watched w;
  make_directories_with_files(w.root, 1200);
  w.mark();
  w.holdfast.stop();
  const TestJson result = verify_after("ulimit -n 1024", w.holdfast, 0);
  REQUIRE(result.at("findings").empty());
  REQUIRE(result.at("verdicts").at("ok") == 2400);
}

TEST_CASE("a directory that cannot be opened is not missing", "[verify]") {
  Watched w;
  SECTION("too many open files") {
    if (binary_is_sanitized()) {
      WARN("left out: the sanitizer's own checks need descriptors");
      return;
    }
    make_directories_with_files(w.root, 250);
    w.mark();
    w.holdfast.stop();
    const TestJson result = verify_after("ulimit -n 100", w.holdfast, kFoundProblems);
    REQUIRE(paths_with_loss(result, "missing").empty());
    REQUIRE(!result.at("losses").contains("missing"));
    REQUIRE(result.at("losses").at("unread").get<int>() > 100);
  }
  SECTION("something is mounted over it while the service watches") {
    if (!is_root_for("mounting a tmpfs")) return;
    enter_mount_namespace();
    w.holdfast.stop();
    make_dir(w.in("dir"));
    write_file(w.in("dir/hidden"), "below the mount");
    w.watch();
    const Mount over = mount_tmpfs(w.in("dir"));
    const TestJson result = verify(w.holdfast, {}, kFoundProblems);
    REQUIRE(paths_with_loss(result, "unread") == std::set<std::string>{"dir/hidden"});
    REQUIRE(result.at("problems") == 1);
  }
}

TEST_CASE("a file under a mount is neither sound nor changed", "[verify]") {
  if (!is_root_for("mounting over a file")) return;
  enter_mount_namespace();
  Watched w;
  write_file(w.in("file"), "what is watched");
  write_file(w.out("other"), "what is mounted over it");
  w.mark();
  const Mount over = mount_bind(w.out("other"), w.in("file"));
  const auto require_unread = [&] {
    const TestJson result = verify(w.holdfast, {}, kFoundProblems);
    REQUIRE(paths_with_loss(result, "unread") == std::set<std::string>{"file"});
    REQUIRE(result.at("losses").size() == 1);
  };
  require_unread();
  w.holdfast.stop();
  require_unread();
}

TEST_CASE("directories that are renamed while verify runs are no findings", "[verify]") {
  Watched w;
  make_dir(w.in("a"));
  make_directories_with_files(w.in("a"), 600);
  w.mark();
  const std::string stop = w.out("stop");
  // Each rename is journaled before the next one.
  const std::string script =
      "cd \"$0\"; "
      "while [ ! -e \"$1\" ]; do for pair in 'a b' 'b/d1 b/e1' 'b a' 'a/e1 a/d1'; do mv $pair && "
      "\"$2\" --state \"$3\" flush >/dev/null || exit 1; done; done";
  Process renaming(
      {{"sh", "-c", script, w.root, stop, holdfast_binary(), w.holdfast.state()}, "", {}, 0});
  for (int i = 0; i < 5; ++i) {
    const TestJson result = verify(w.holdfast, {}, 0);
    for (const TestJson& finding : result.at("findings")) FAIL(finding.dump());
  }
  write_file(stop, "");
  REQUIRE(renaming.wait().exit_code == 0);
}

TEST_CASE("what one may not read is not looked at, and a verify by that user goes on", "[verify]") {
  if (!is_root_for("running as another user")) return;
  if (run_process({{holdfast_binary(), "--version"}, "", {}, kNobody}).exit_code != 0) {
    WARN("left out: the built program cannot be run by another user");
    return;
  }
  WorkDir work;
  REQUIRE(::chmod(work.path().c_str(), 0755) == 0);
  const std::string root = work.make("data"), state = work.make("state");
  REQUIRE(::chown(state.c_str(), kNobody, kNobody) == 0);
  make_dir(root + "/dir");
  for (const char* name : {"/dir/below", "/secret", "/readable"}) write_file(root + name, "text");
  Holdfast holdfast(state + "/s");
  const auto service = holdfast.launch({"data=" + root}, kNobody);
  REQUIRE(service->wait_for_error(", ready"));
  holdfast.flush();
  REQUIRE(::chmod((root + "/dir").c_str(), 0644) == 0);  // names can be listed, not looked at
  const TestJson first = verify(holdfast, {}, kFoundProblems);
  REQUIRE(paths_with_loss(first, "unread") == std::set<std::string>{"dir/below"});
  REQUIRE(first.at("losses").size() == 1);
  REQUIRE(first.at("verdicts").at("ok") == 3);
  REQUIRE(::chmod((root + "/dir").c_str(), 0755) == 0);
  REQUIRE(::chown((root + "/secret").c_str(), 0, 0) == 0);
  REQUIRE(::chmod((root + "/secret").c_str(), 0600) == 0);
  holdfast.flush();
  const TestJson second = verify(holdfast, {}, kFoundProblems);
  REQUIRE(paths_with_loss(second, "unread") == std::set<std::string>{"secret"});
  REQUIRE(second.at("losses").size() == 1);
  REQUIRE(holdfast.json({"status"}).at("verdicts").empty());
}

TEST_CASE("a read error stays open until the file can be read, also after a chmod", "[verify]") {
  if (!is_root_for("mounting a btrfs")) return;
  WorkDir work;
  const LoopMount disk(work, "disk", 128 * kMiB, "btrfs");
  const std::string root = disk.path() + "/data", image = work.path("disk.img");
  make_dir(root);
  const std::string good = random_bytes_of(1 * kMiB, 11);
  write_file(root + "/file", good);
  run_tool({"sync", "-f", root});
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  verify(holdfast, {}, 0);
  // btrfs has checksums of its own, so a bit that rots is a reading that fails.
  const uint64_t rotten = place_of_bytes(image, good.substr(500'000, 64)) + 3;
  flip_bit_of_device(image, disk.path(), rotten);
  const TestJson found = verify(holdfast, {}, kFoundProblems);
  REQUIRE(found.at("verdicts").at("read_error") == 1);
  REQUIRE(paths_with_loss(found, "unread") == std::set<std::string>{"file"});
  REQUIRE(holdfast.json({"status"}).at("verdicts").at("read_error") == 1);
  SECTION("a moment that is not the present cannot be said to be there") {
    const TestJson past = verify(holdfast, {"--at", "now"}, kFoundProblems);
    REQUIRE(past.at("verdicts").at("read_error") == 1);
    REQUIRE(!past.at("verdicts").contains("none"));
  }
  SECTION("nor can a file with other stamps, without a service") {
    holdfast.stop();
    REQUIRE(::chmod((root + "/file").c_str(), 0600) == 0);
    const TestJson past = verify(holdfast, {}, kFoundProblems);
    REQUIRE(past.at("verdicts").at("read_error") == 1);
    holdfast.start({"data=" + root});
  }
  SECTION("healed from what the store has, though nothing can be read") {
    verify(holdfast, {"--heal"}, 0);
    REQUIRE(holdfast.json({"status"}).at("verdicts").empty());
    REQUIRE((read_file(root + "/file") == good));
    verify(holdfast, {}, 0);
    return;
  }
  flip_bit_of_device(image, disk.path(), rotten);
  REQUIRE(::chmod((root + "/file").c_str(), 0640) == 0);
  holdfast.flush();
  REQUIRE(holdfast.json({"status"}).at("verdicts").at("read_error") == 1);
  verify(holdfast, {}, 0);
  REQUIRE(holdfast.json({"status"}).at("verdicts").empty());
  REQUIRE((holdfast.text({"cat", "data:file"}) == good));
}

TEST_CASE("a deletion on a polled root is no loss that a later verify finds", "[verify]") {
  Watched w;
  w.holdfast.stop();
  write_file(w.in("goes"), "away while the service is off");
  write_file(w.in("deleted"), "by its owner");
  w.holdfast.start({"data=" + w.root, "--backend", "poll"});
  w.mark();
  w.holdfast.stop();
  REQUIRE(::unlink(w.in("goes").c_str()) == 0);
  w.holdfast.start({"data=" + w.root, "--backend", "poll"});
  w.mark();
  REQUIRE(::unlink(w.in("deleted").c_str()) == 0);
  w.mark();
  const TestJson result = verify(w.holdfast, {}, kFoundProblems);
  REQUIRE(paths_with_loss(result, "missing") == std::set<std::string>{"goes"});
  REQUIRE(result.at("problems") == 1);
}

TEST_CASE("rot is found where O_DIRECT is taken and reads go through the cache", "[verify]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  WorkDir work;
  LoopMount disk(work, "disk", 64 * kMiB);
  const std::string root = disk.path() + "/data";
  disk.unmount();
  run_tool({"tune2fs", "-o", "journal_data", work.path("disk.img")});
  disk.mount();
  make_dir(root);
  write_file(root + "/file", random_bytes_of(100'000, 5));
  disk.unmount();  // writes the data from the journal to its place
  disk.mount();
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  disk.flip_bit(root + "/file", 50'000);
  const TestJson result = verify(holdfast, {}, kFoundProblems);
  REQUIRE(result.at("verdicts").at("corrupt") == 1);
}

}  // namespace holdfast
