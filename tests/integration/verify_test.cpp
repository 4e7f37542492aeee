// verify, heal, accept and the scrub: what should not have changed is read again.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>
#include <set>

#include "base/fd.h"
#include "tests/support/mapped_writer.h"
#include "tests/support/mounts.h"
#include "tests/support/rotting.h"
#include "tests/support/tree_witness.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr int kFoundProblems = 3;

int count_from_env(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

std::set<std::string> paths_with(const TestJson& result, const std::string& key,
                                 const std::string& value) {
  std::set<std::string> paths;
  for (const TestJson& finding : result.at("findings")) {
    if (finding.at(key) == value) paths.insert(finding.at("path").get<std::string>());
  }
  return paths;
}

// Read past the page cache.
void require_on_disk(const std::string& path, const std::string& bytes) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(fd);
  REQUIRE(::fsync(fd.get()) == 0);
  REQUIRE(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
  REQUIRE((read_file(path) == bytes));
}

// What people and programs do to files that are sound, until `stop` is there.
constexpr const char* kOrdinaryWork = R"sh(
cd "$1"; i=0
while [ ! -e "$2" ]; do
  i=$((i + 1)); n=$((i % 40))
  echo "edit $i" >> edited-$n
  touch -d "2020-01-01 00:00:$((i % 60))" touched-$n
  cp -p edited-$n copied-$n; cp -p copied-$n copied-again
  cp -p touched-$n older && mv older replaced-$n
  printf 'whole %s' $i > .tmp && mv .tmp saved-$n
  mv moved-$n moving && mv moving moved-$n
  chmod $((600 + n % 8)) attrib-$n
  ln -f linked-$n link && rm link
  (cd repo && git checkout -q one && git checkout -q two) || exit 9
  rsync -t copied-$n synced-$n && rsync -t edited-$n synced-$n || exit 8
done
exit 0
)sh";

void make_ordinary_files(const Rotting& r) {
  make_dir(r.in("repo"));
  run_tool({"sh", "-c",
            "cd " + r.in("") +
                " && for n in $(seq 0 39); do for k in edited touched copied moved attrib linked "
                "saved replaced; do echo $k $n > $k-$n; done; done && head -c 65536 /dev/zero > "
                "mapped && cd repo && git init -q . && git config user.email a@b && git config "
                "user.name a && seq 1000 > file && git add . && git commit -qm one && git tag one "
                "&& seq 2000 > file && seq 50 > more && git add . && git commit -qm two && git tag "
                "two"});
}

}  // namespace

TEST_CASE("rot in many files is found while work goes on, and nothing else is", "[verify]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  const int files = count_from_env("HOLDFAST_ROT_FILES", 3000);
  const int rotten = files / 100;
  Rotting r(uint64_t(files) * 24'000 + 64 * kMiB);
  std::mt19937 random(20261121);
  std::vector<std::string> names, good;
  for (int i = 0; i < files; ++i) {
    if (i % 100 == 0) make_dir(r.in("d" + std::to_string(i / 100)));
    names.push_back("d" + std::to_string(i / 100) + "/f" + std::to_string(i));
    good.push_back(random_bytes_of(1 + random() % 20'000, static_cast<unsigned>(i)));
    write_file(r.in(names.back()), good.back());
  }
  make_ordinary_files(r);
  r.start();
  run_tool({"sh", "-c", "cat " + r.root + "/d*/* > /dev/null"});  // a warm cache
  const std::string stop = r.work.path("stop");
  Process work({{"sh", "-c", kOrdinaryWork, "sh", r.root, stop}, "", {}, 0});
  MappedWriter mapped(r.in("mapped"), 65536);
  std::set<std::string> expected;
  while (expected.size() < static_cast<size_t>(rotten)) {
    const size_t i = random() % names.size();
    if (!expected.insert(names[i]).second) continue;
    r.disk.flip_bit(r.in(names[i]), random() % good[i].size());
    mapped.store(random() % 65536, 'm');
  }
  const TestJson result = verify(r.holdfast, {}, kFoundProblems);
  CHECK(paths_with(result, "verdict", "corrupt") == expected);
  std::set<std::string> alarms;  // about files that did not rot
  for (const TestJson& finding : result.at("findings")) {
    const std::string path = finding.at("path");
    if (finding.at("problem") == true && !expected.contains(path)) alarms.insert(finding.dump());
  }
  CHECK(alarms == std::set<std::string>{});
  const TestJson healed = verify(r.holdfast, {"--heal"}, 0);
  CHECK(healed.at("healed").size() == expected.size());
  write_file(stop, "");
  CHECK(work.wait().exit_code == 0);
  for (size_t i = 0; i < names.size(); ++i) REQUIRE((read_file(r.in(names[i])) == good[i]));
  for (const TestJson& record : r.holdfast.lines(
           {"log", "--verdict",
            "corrupt,corrupt_metadata,crash_loss,stealth_modify,unstable_media,read_error"})) {
    REQUIRE(expected.contains(record.at("path").get<std::string>()));
  }
  REQUIRE(r.holdfast.json({"status"}).at("verdicts").empty());
  verify(r.holdfast, {}, 0);
  r.holdfast.require_clean(true);
}

TEST_CASE("a size that moves before the stamps do is no damage while a writer is there",
          "[verify]") {
  if (!is_root_for("changing a size under a file system")) return;
  Rotting r;
  write_file(r.in("file"), std::string(9000, 'g'));
  write_file(r.in("other"), std::string(9000, 'o'));
  r.start();
  r.holdfast.stop();
  // What a look sees in the middle of a truncate().
  r.disk.set_size(r.in("file"), 4000);
  r.disk.set_size(r.in("other"), 4000);
  Fd writer(::open(r.in("file").c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(writer.valid());
  r.start();
  const auto damaged = [&] {
    std::set<std::string> paths;
    for (const TestJson& record : r.holdfast.lines({"log", "--verdict", "corrupt_metadata"})) {
      paths.insert(record.at("path").get<std::string>());
    }
    return paths;
  };
  REQUIRE(damaged() == std::set<std::string>{"other"});
  REQUIRE((r.holdfast.text({"cat", "data:file"}) == std::string(9000, 'g')));
  SECTION("and when the stamps have moved, it is a version") {
    REQUIRE(::futimens(writer.get(), nullptr) == 0);
    writer.reset();
    r.holdfast.flush();
    REQUIRE(damaged() == std::set<std::string>{"other"});
    REQUIRE((r.holdfast.text({"cat", "data:file"}) == std::string(4000, 'g')));
  }
  SECTION("and where they do not move, it is damage after a while") {
    REQUIRE(r.holdfast.service().wait_for_error("data/file: corrupt_metadata"));
    r.holdfast.flush();
    REQUIRE(damaged() == std::set<std::string>{"file", "other"});
    REQUIRE((r.holdfast.text({"cat", "data:file"}) == std::string(9000, 'g')));
  }
}

TEST_CASE("what went while nobody watched is counted and listed", "[verify]") {
  Watched w;
  for (const char* name : {"missing", "empty", "shortened", "changed", "stays"}) {
    write_file(w.in(name), std::string("the content of ") + name);
  }
  make_dir(w.in("dir"));
  write_file(w.in("dir/below"), "in a directory");
  w.mark();
  w.holdfast.stop();
  REQUIRE(::unlink(w.in("missing").c_str()) == 0);
  write_file(w.in("empty"), "");
  write_file(w.in("shortened"), "short");
  append_file(w.in("changed"), ", and more");
  rename_path(w.in("dir"), w.out("dir"));
  const auto require_listed = [&](const TestJson& result) {
    INFO(result.dump());
    for (const char* loss : {"empty", "shortened", "changed"}) {
      REQUIRE(paths_with(result, "loss", loss) == std::set<std::string>{loss});
      REQUIRE(result.at("losses").at(loss) == 1);
    }
    REQUIRE(paths_with(result, "loss", "missing").contains("missing"));
    REQUIRE(paths_with(result, "loss", "missing").contains("dir/below"));
  };
  SECTION("without a service, and nothing is absorbed") {
    require_listed(verify(w.holdfast, {}, kFoundProblems));
    require_listed(verify(w.holdfast, {}, kFoundProblems));
  }
  SECTION("after the restart that has journaled it") {
    w.holdfast.start({"data=" + w.root});
    require_listed(verify(w.holdfast, {}, kFoundProblems));
    // Only below one path.
    const TestJson one = verify(w.holdfast, {w.in("changed")}, 0);
    REQUIRE(paths_with(one, "loss", "changed") == std::set<std::string>{"changed"});
    // A restore brings it all back, and then all is there.
    w.holdfast.text({"restore", "--at", at(w.begin), "--in-place"});
    const TestJson after = verify(w.holdfast, {"--at", at(w.begin)}, 0);
    REQUIRE(after.at("findings").empty());
    REQUIRE(after.at("verdicts").at("ok") == after.at("files"));
  }
}

TEST_CASE("an open verdict outlives edits, and is answered by accept or restore", "[verify]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  Rotting r;
  const std::string good(9000, 'g');
  write_file(r.in("file"), good);
  r.start();
  const uint64_t before = r.holdfast.flush();
  r.disk.flip_bit(r.in("file"), 5000);
  verify(r.holdfast, {}, kFoundProblems);
  const auto open = [&] { return r.holdfast.json({"status"}).at("verdicts").value("corrupt", 0); };
  REQUIRE(open() == 1);
  SECTION("a chmod does not make the damage a version") {
    REQUIRE(::chmod(r.in("file").c_str(), 0600) == 0);
    r.holdfast.flush();
    REQUIRE((r.holdfast.text({"cat", "data:file"}) == good));
    REQUIRE(open() == 1);
    verify(r.holdfast, {"--heal"}, 0);
    REQUIRE((read_file(r.in("file")) == good));
    struct stat st {};
    REQUIRE(::stat(r.in("file").c_str(), &st) == 0);
    REQUIRE((st.st_mode & 07777) == 0600);
  }
  SECTION("a rewritten file is not healed, which would undo the edit") {
    write_file(r.in("file"), "rewritten by its program");
    r.holdfast.flush();
    const TestJson healed = verify(r.holdfast, {"--heal"}, kFoundProblems);
    REQUIRE(healed.at("healed")[0].at("healed") == false);
    REQUIRE(read_file(r.in("file")) == "rewritten by its program");
    REQUIRE(open() == 1);
    r.holdfast.text({"accept", "data:file"});
  }
  SECTION("restored in place") {
    r.holdfast.text({"restore", "data:file", "--at", at(before), "--in-place"});
    require_on_disk(r.in("file"), good);
  }
  SECTION("restored in place after a chmod, which moves the stamps in the journal too") {
    REQUIRE(::chmod(r.in("file").c_str(), 0600) == 0);
    r.holdfast.text({"restore", "data:file", "--at", at(before), "--in-place"});
    require_on_disk(r.in("file"), good);
  }
  SECTION("a restore that leaves the file alone answers nothing") {
    r.holdfast.text(
        {"restore", "data:file", "--at", at(before), "--in-place", "--overwrite", "never"});
    REQUIRE(open() == 1);
    REQUIRE(::chmod(r.in("file").c_str(), 0600) == 0);
    r.holdfast.text(
        {"restore", "data:file", "--at", at(before), "--in-place", "--overwrite", "never"});
    REQUIRE(open() == 1);
    r.holdfast.text({"accept", "data:file"});
  }
  SECTION("a deleted file's verdict is accepted by its path") {
    REQUIRE(::unlink(r.in("file").c_str()) == 0);
    r.holdfast.flush();
    REQUIRE(open() == 1);
    r.holdfast.text({"accept", "data:file"});
  }
  SECTION("without a service") {
    r.holdfast.stop();
    REQUIRE(open() == 1);
    verify(r.holdfast, {"--heal"}, 0);
    REQUIRE((read_file(r.in("file")) == good));
  }
  REQUIRE(open() == 0);
  r.holdfast.require_clean(true);
}

TEST_CASE("a file with several names is healed under all of them", "[verify]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  Rotting r;
  const std::string good(20'000, 'g');
  write_file(r.in("first"), good);
  make_dir(r.in("dir"));
  REQUIRE(::link(r.in("first").c_str(), r.in("dir/second").c_str()) == 0);
  r.start();
  r.disk.flip_bit(r.in("first"), 100);
  verify(r.holdfast, {}, kFoundProblems);
  verify(r.holdfast, {"--heal"}, 0);
  struct stat first {
  }, second{};
  REQUIRE(::stat(r.in("first").c_str(), &first) == 0);
  REQUIRE(::stat(r.in("dir/second").c_str(), &second) == 0);
  REQUIRE(first.st_ino == second.st_ino);
  REQUIRE(first.st_nlink == 2);
  REQUIRE((read_file(r.in("dir/second")) == good));
  r.holdfast.require_restores(r.work, r.holdfast.flush(), read_tree(r.root));
  r.holdfast.require_clean(true);
}

TEST_CASE("the scrub finds rot by itself, goes on after a restart, and tells where it is",
          "[verify]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  Rotting r;
  for (int i = 0; i < 600; ++i) {
    write_file(r.in("f" + std::to_string(i)), random_bytes_of(20'000, static_cast<unsigned>(i)));
  }
  r.start();
  r.holdfast.stop();
  r.disk.flip_bit(r.in("f590"), 77);
  // Slow enough to be met half way: 12 MB at 4 MB/s.
  r.holdfast.start({"--scrub-every", "1s", "--scrub-rate", "4MB/s", "data=" + r.root});
  REQUIRE(r.holdfast.service().wait_for_error("scrub: begins"));
  TestJson scrub;
  do {
    r.holdfast.flush();
    scrub = r.holdfast.json({"status"}).at("scrub");
  } while (scrub.at("running") == false);
  r.holdfast.stop();
  scrub = r.holdfast.json({"status"}).at("scrub");
  REQUIRE(scrub.at("running") == true);
  REQUIRE(scrub.at("files").get<int>() < 600);
  r.holdfast.start({"--scrub-every", "1h", "--scrub-rate", "400MB/s", "data=" + r.root});
  REQUIRE(r.holdfast.service().wait_for_error("scrub: goes on after"));
  REQUIRE(r.holdfast.service().wait_for_error("f590: corrupt"));
  REQUIRE(r.holdfast.service().wait_for_error("1 problems"));
  scrub = r.holdfast.json({"status"}).at("scrub");
  REQUIRE(scrub.at("running") == false);
  REQUIRE(scrub.at("files") == 600);
  REQUIRE(scrub.at("problems") == 1);
  REQUIRE(r.holdfast.run({"status", "--check"}).exit_code == kFoundProblems);
}

TEST_CASE("a file that a scrub never finishes is passed over after three tries", "[verify]") {
  Watched w;
  write_file(w.in("huge"), random_bytes_of(65 * kMiB, 1));
  write_file(w.in("small"), "after it");
  w.mark();
  const auto times_begun = [&] {
    const std::string file = w.holdfast.state() + "/scrub";
    const TestJson json = exists(file) ? TestJson::parse(read_file(file)) : TestJson::object();
    return json.value("times_begun", 0);
  };
  w.holdfast.stop();
  const std::vector<std::string> slowly{"--scrub-every", "1s", "--scrub-rate", "100KB/s",
                                        "data=" + w.root};
  for (int tried = 1; tried <= 3; ++tried) {
    w.holdfast.start(slowly);
    REQUIRE(w.holdfast.service().wait_for_error("scrub: "));
    while (times_begun() < tried) w.holdfast.flush();
    // A crash counts as a shutdown does.
    if (tried == 2) {
      w.holdfast.kill();
    } else {
      w.holdfast.stop();
    }
    REQUIRE(w.holdfast.json({"status"}).at("scrub").at("running") == true);
  }
  w.holdfast.start(slowly);
  REQUIRE(w.holdfast.service().wait_for_error("passes over " + w.in("huge")));
  REQUIRE(w.holdfast.service().wait_for_error("scrub: 1 files"));
}

// A scrub that takes three seconds for its first file, so that what it comes to after that can be
// changed meanwhile.
struct SlowlyScrubbed : Watched {
  SlowlyScrubbed() {
    write_file(in("first"), random_bytes_of(6 * kMiB, 1));
    mark();
    make_dir(in("dir"));
    write_file(in("dir/second"), "one");
    mark();
    holdfast.stop();
    holdfast.start({"--scrub-every", "1s", "--scrub-rate", "2MB/s", "data=" + root});
    while (holdfast.json({"status"}).at("scrub").at("running") == false) holdfast.flush();
  }
  int problems() {
    REQUIRE(holdfast.service().wait_for_error("problems"));
    return holdfast.json({"status"}).at("scrub").at("problems").get<int>();
  }
};

// What was picked to be read may be gone for good when its turn comes, and nothing is wrong with
// that.
TEST_CASE("a file replaced by one that moves on is no problem of a scrub", "[verify]") {
  SlowlyScrubbed w;
  write_file(w.in("dir/second.tmp"), "another");
  rename_path(w.in("dir/second.tmp"), w.in("dir/second"));
  w.mark();
  rename_path(w.in("dir/second"), w.in("dir/third"));
  w.mark();
  const int problems = w.problems();
  INFO(w.holdfast.service().error_output());
  REQUIRE(problems == 0);
}

TEST_CASE("a scrub names what it cannot look at", "[verify]") {
  if (!is_root_for("mounting over a file")) return;
  enter_mount_namespace();
  SlowlyScrubbed w;
  write_file(w.work.path("above"), "something else");
  const Mount above(w.work.path("above"), w.in("dir/second"), "none", MS_BIND);
  REQUIRE(w.problems() == 1);
  REQUIRE_THAT(w.holdfast.service().error_output(),
               Catch::Contains("scrub: " + w.in("dir/second") +
                               " could not be looked at: something is mounted over it"));
}

TEST_CASE("neither watching nor verifying writes into the tree", "[verify]") {
  if (!is_root_for("a fanotify listener")) return;
  Rotting r;
  for (int i = 0; i < 50; ++i) {
    write_file(r.in("f" + std::to_string(i)), random_bytes_of(5000, static_cast<unsigned>(i)));
  }
  run_tool({"sync", "-f", r.root});
  TreeWitness witness(r.disk.path());
  r.start();
  verify(r.holdfast, {}, 0);
  r.holdfast.text({"ls", "-R"});
  r.holdfast.text({"snapshot"});
  r.holdfast.stop();
  verify(r.holdfast, {}, 0);
  REQUIRE(witness.words() == "");
}

}  // namespace holdfast
