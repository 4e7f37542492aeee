// The conditions that the hard cases are tried under do what they are said to do. Where one of
// these fails, no other test of a hard case means anything.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "base/fd.h"
#include "tests/support/mapped_writer.h"
#include "tests/support/mounts.h"
#include "tests/support/tree_witness.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

constexpr uint64_t kMiB = 1 << 20;

struct Stamps {
  explicit Stamps(const std::string& path) {
    struct stat st {};
    REQUIRE(::lstat(path.c_str(), &st) == 0);
    size = st.st_size;
    mtime_ns = st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
    ctime_ns = st.st_ctim.tv_sec * 1'000'000'000 + st.st_ctim.tv_nsec;
  }
  int64_t size, mtime_ns, ctime_ns;
  bool operator==(const Stamps&) const = default;
};

}  // namespace

TEST_CASE("a flipped bit is on the disk, and neither the cache nor a stamp knows", "[hard1]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  WorkDir work;
  const std::string type = GENERATE(as<std::string>(), "ext4", "xfs");
  INFO(type);
  const LoopMount disk(work, "disk", type == "xfs" ? 320 * kMiB : 32 * kMiB, type);
  const std::string file = disk.path() + "/file";
  const std::string bytes = random_bytes_of(300'000, 1);
  write_file(file, bytes);
  const Stamps before(file);
  const auto flipped = disk.flip_bit(file, 123'456);
  const auto original = static_cast<uint8_t>(bytes[123'456]);
  REQUIRE(flipped == (original ^ 1));
  REQUIRE(cached_byte(file, 123'456) == original);
  REQUIRE(Stamps(file) == before);
  REQUIRE(byte_on_disk(file, 123'456) == flipped);
  REQUIRE(Stamps(file) == before);
  // Nothing else has changed.
  std::string expected = bytes;
  expected[123'456] = static_cast<char>(flipped);
  REQUIRE(read_file(file) == expected);
}

TEST_CASE("a second store into a dirty mapped page moves no stamp", "[hard1]") {
  WorkDir work;
  const std::string file = work.path("file");
  write_file(file, std::string(8192, 'x'));
  const Stamps before(file);
  MappedWriter writer(file, 8192);
  writer.store(0, 'a');
  const Stamps first(file);
  REQUIRE_FALSE(first == before);  // the first store faults the page in
  writer.store(1, 'b');
  REQUIRE(read_file(file).substr(0, 3) == "abx");
  REQUIRE(Stamps(file) == first);
  writer.sync();
  writer.store(2, 'c');
  REQUIRE_FALSE(Stamps(file) == first);  // written back, so that the next store faults again
}

TEST_CASE("a store into a mapped page of a tmpfs moves no stamp after the first", "[hard1]") {
  if (!is_root_for("mounting a tmpfs")) return;
  WorkDir work;
  const Mount disk = mount_tmpfs(work.make("tmpfs"));
  const std::string file = disk.path() + "/file";
  write_file(file, std::string(4096, 'x'));
  MappedWriter writer(file, 4096);
  writer.store(0, 'a');
  const Stamps first(file);
  writer.sync();
  writer.store(1, 'b');
  REQUIRE(Stamps(file) == first);
  REQUIRE(read_file(file).substr(0, 2) == "ab");
}

TEST_CASE("what is written through a loop device is in the file", "[hard1]") {
  if (!is_root_for("loop devices")) return;
  WorkDir work;
  const std::string file = work.path("file");
  write_file(file, std::string(1 * kMiB, 'x'));
  {
    const LoopDevice device(file);
    device.write(std::string(4096, 'y'), 8192);
    REQUIRE(read_file(file).substr(8192, 4096) == std::string(4096, 'y'));
  }
  REQUIRE(read_file(file).substr(0, 8192) == std::string(8192, 'x'));
}

TEST_CASE("the witness hears who changes what", "[hard1]") {
  if (!is_root_for("listening to a whole file system")) return;
  WorkDir work;
  const LoopMount disk(work, "disk", 32 * kMiB);
  write_file(disk.path() + "/read", "only read");
  TreeWitness witness(disk.path());
  REQUIRE(read_file(disk.path() + "/read") == "only read");
  REQUIRE(witness.words() == "");
  write_file(disk.path() + "/written", "text");
  REQUIRE(::chmod((disk.path() + "/read").c_str(), 0600) == 0);
  REQUIRE(::unlink((disk.path() + "/written").c_str()) == 0);
  uint64_t seen = 0;
  for (const WitnessedChange& change : witness.changes()) {
    INFO(change.text());
    REQUIRE(change.pid == ::getpid());
    REQUIRE((change.path.ends_with("/read") || change.path.ends_with("/written")));
    seen |= change.mask;
  }
  REQUIRE(seen != 0);
  run_in_other_namespace("echo elsewhere > " + disk.path() + "/from-elsewhere");
  REQUIRE_THAT(witness.words(), Catch::Contains("create") && Catch::Contains("from-elsewhere"));
  REQUIRE(witness.words() == "");
}

// Every command that has no business in the tree, on a tree that has all kinds of things in it.
TEST_CASE("watching, looking and restoring elsewhere write nothing into the tree", "[hard1]") {
  if (!is_root_for("listening to a whole file system")) return;
  WorkDir work;
  const LoopMount disk(work, "disk", 64 * kMiB);
  const std::string root = disk.path() + "/data";
  make_dir(root);
  make_dir(root + "/dir");
  write_file(root + "/dir/small", "text");
  write_file(root + "/large", random_bytes_of(9 * kMiB, 7));
  REQUIRE(::symlink("large", (root + "/link").c_str()) == 0);
  REQUIRE(::link((root + "/large").c_str(), (root + "/hard").c_str()) == 0);
  REQUIRE(::mkfifo((root + "/fifo").c_str(), 0600) == 0);
  write_file(root + "/unreadable", "for others");
  REQUIRE(::chmod((root + "/unreadable").c_str(), 0) == 0);
  TreeWitness witness(disk.path());
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t first = holdfast.flush();
  REQUIRE(witness.words() == "");
  append_file(root + "/dir/small", " and more");
  REQUIRE(witness.words() != "");  // ours; forgotten now
  const uint64_t second = holdfast.flush();
  holdfast.text({"snapshot", "-m", "quiet"});
  for (const std::string command : {"log", "ls", "status", "snapshots"}) holdfast.text({command});
  holdfast.text({"ls", "-R", "--at", at(first)});
  holdfast.text({"diff", at(first), at(second)});
  holdfast.text({"cat", "data:large"});
  holdfast.text({"history", "data:dir/small"});
  holdfast.text({"restore", "--at", at(first), "--to", work.path("elsewhere")});
  holdfast.text({"restore", "--at", at(first), "--in-place", "--dry-run", "--delete"});
  holdfast.require_clean(true);
  holdfast.stop();
  holdfast.start({"data=" + root});  // compares everything with the journal
  holdfast.flush();
  holdfast.kill();
  holdfast.text({"flush"});  // by the command itself
  REQUIRE(witness.words() == "");
  // It would have been heard: a restore in place is.
  holdfast.text({"restore", "--at", at(first), "--in-place"});
  REQUIRE_THAT(witness.words(), Catch::Contains("small"));
}

TEST_CASE("trees on every kind of file system are watched and come back", "[hard1]") {
  if (!is_root_for("mounting file systems")) return;
  const std::string type = GENERATE(as<std::string>(), "ext4", "xfs", "btrfs", "tmpfs", "overlay");
  INFO(type);
  enter_mount_namespace();
  WorkDir work;
  std::unique_ptr<LoopMount> disk;
  std::unique_ptr<Mount> memory;
  std::unique_ptr<OverlayMount> overlay;
  std::string top;
  if (type == "tmpfs") {
    memory = std::make_unique<Mount>("tmpfs", work.make("disk"), "tmpfs");
    top = memory->path();
  } else if (type == "overlay") {
    overlay = std::make_unique<OverlayMount>(work, "disk");
    top = overlay->path();
  } else {
    disk = std::make_unique<LoopMount>(work, "disk", 320 * kMiB, type);
    top = disk->path();
  }
  make_dir(top + "/data");
  make_dir(top + "/data/dir");
  write_file(top + "/data/dir/before", "there at the start");
  Watched w(top + "/data");
  w.require_present();
  write_file(w.in("dir/after"), random_bytes_of(700'000, 3));
  rename_path(w.in("dir"), w.in("renamed"));
  append_file(w.in("renamed/before"), ", and changed");
  run_in_other_namespace("echo other > " + w.in("renamed/from-elsewhere"));
  w.require_present();
  REQUIRE(w.content("renamed/before") == "there at the start, and changed");
  REQUIRE(w.content("renamed/from-elsewhere") == "other\n");
  REQUIRE(w.records("rename").size() == 1);
  w.holdfast.stop();
}

}  // namespace holdfast
