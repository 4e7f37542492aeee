// Subvolumes, snapshots, bind mounts and layers in a root: other objects with the same numbers, and
// the same object with other ones.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>

#include "tests/support/mounts.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

using Catch::Contains;
constexpr uint64_t kMiB = 1 << 20;

struct Serving {
  const WorkDir& work;
  std::string root;
  Holdfast holdfast{work.path("state")};
  uint64_t begin = 0;

  Serving(const WorkDir& dir, std::string watched, const std::string& backend = "auto")
      : work(dir), root(std::move(watched)) {
    holdfast.start({"data=" + root, "--backend", backend});
    begin = holdfast.flush();
  }
  size_t count(const std::string& kind) const {
    size_t count = 0;
    for (const TestJson& record : holdfast.lines({"log", "--since", at(begin), "--kind", kind}))
      count += record.at("seq").get<uint64_t>() > begin;
    return count;
  }
  std::string gaps() const {
    std::string all;
    for (const TestJson& gap : holdfast.lines({"log", "--kind", "gap"}))
      all += gap.at("note").get<std::string>() + "\n";
    return all;
  }
  void require_present() const {
    holdfast.require_restores(work, holdfast.flush(), read_tree(root));
  }
};

}  // namespace

// A snapshot repeats inode numbers and birth times.
TEST_CASE("a snapshot below the root is not what it was taken of", "[coverage]") {
  if (!is_root_for("mounting")) return;
  const std::string backend = GENERATE("fanotify", "inotify");
  CAPTURE(backend);
  const WorkDir work;
  enter_mount_namespace();
  const LoopMount disk(work, "disk", 120 * kMiB, "btrfs");
  const std::string live = disk.path() + "/live", copy = disk.path() + "/copy";
  run_tool({"btrfs", "subvolume", "create", live});
  make_dir(live + "/dir");
  make_dir(live + "/dir/sub");
  write_file(live + "/dir/sub/file", "content");
  const Serving s(work, disk.path(), backend);
  run_tool({"btrfs", "subvolume", "snapshot", live, copy});
  s.require_present();
  write_file(live + "/dir/sub/later", "seen in what is live");
  write_file(copy + "/dir/sub/later", "seen in the snapshot");
  s.require_present();
  rename_path(live + "/dir/sub/file", live + "/dir/moved");
  rename_path(copy + "/dir/sub", copy + "/dir/renamed");
  append_file(live + "/dir/moved", ", and more");
  s.require_present();
  REQUIRE(s.count("delete") == 0);
  REQUIRE(s.count("rename") == 2);
  REQUIRE(s.gaps().empty());
  s.holdfast.require_clean();
}

TEST_CASE("a snapshot of the root in the root is no ring", "[coverage]") {
  if (!is_root_for("mounting")) return;
  const WorkDir work;
  enter_mount_namespace();
  const LoopMount disk(work, "disk", 120 * kMiB, "btrfs");
  const std::string root = disk.path() + "/root";
  run_tool({"btrfs", "subvolume", "create", root});
  make_dir(root + "/dir");
  write_file(root + "/dir/file", "content");
  const Serving s(work, root);
  run_tool({"btrfs", "subvolume", "snapshot", root, root + "/snapshot"});
  s.require_present();
  append_file(root + "/dir/file", ", and more");
  append_file(root + "/snapshot/dir/file", ", but here");
  s.require_present();
  REQUIRE(s.count("delete") == 0);
  REQUIRE(s.count("rename") == 0);
  s.holdfast.require_clean();
}

// The first change copies a directory or a file up from the lower layer, with a new birth time.
TEST_CASE("what an overlay copies up is what it was", "[coverage]") {
  if (!is_root_for("mounting")) return;
  const WorkDir work;
  enter_mount_namespace();
  const Mount layers("none", work.make("layers"), "tmpfs");
  for (const char* name : {"/lower", "/upper", "/work", "/lower/dir", "/lower/dir/sub"})
    make_dir(layers.path() + name);
  for (const char* name : {"/lower/dir/a", "/lower/dir/sub/b"})
    write_file(layers.path() + name, "content");
  const Mount overlay("overlay", work.make("data"), "overlay", 0,
                      "lowerdir=" + layers.path() + "/lower,upperdir=" + layers.path() +
                          "/upper,workdir=" + layers.path() + "/work");
  Serving s(work, overlay.path());
  append_file(s.root + "/dir/sub/b", ", and more");
  write_file(s.root + "/dir/new", "new");
  s.require_present();
  write_file(s.root + "/dir/sub/later", "watched still");
  s.require_present();
  REQUIRE(s.count("delete") == 0);
  REQUIRE(s.count("create") == 2);
  s.holdfast.stop();
  s.holdfast.start({"data=" + s.root});
  s.require_present();
  REQUIRE(s.count("delete") == 0);
  REQUIRE(s.count("create") == 2);
}

TEST_CASE("what is mounted below a root that comes back is a gap", "[coverage]") {
  if (!is_root_for("mounting")) return;
  const WorkDir work;
  enter_mount_namespace();
  const std::string disk = work.make("disk");
  make_dir(disk + "/dir");
  write_file(disk + "/dir/file", "content");
  auto mounted = std::make_unique<Mount>(disk, work.make("data"), "none", MS_BIND);
  const Serving s(work, mounted->path());
  mounted.reset();
  REQUIRE(s.holdfast.run({"flush"}).exit_code == 1);
  const Mount again(disk, s.root, "none", MS_BIND);
  const Mount over = mount_tmpfs(s.root + "/dir");
  s.holdfast.flush();
  s.holdfast.flush();
  REQUIRE_THAT(s.gaps(), Contains("dir is hidden by a mount"));
  REQUIRE(s.count("delete") == 0);
}

TEST_CASE("a directory of the root that is mounted once more in the root stays where it is",
          "[coverage]") {
  if (!is_root_for("mounting")) return;
  const std::string backend = GENERATE("fanotify", "inotify");
  CAPTURE(backend);
  const WorkDir work;
  enter_mount_namespace();
  const std::string root = work.make("data");
  make_dir(root + "/a");
  make_dir(root + "/a/sub");
  write_file(root + "/a/sub/file", "content");
  const Serving s(work, root, backend);
  make_dir(root + "/b");
  const std::unique_ptr<Mount> again =
      std::make_unique<Mount>(root + "/a", root + "/b", "none", MS_BIND);
  write_file(root + "/a/sub/later", "seen");
  const uint64_t seq = s.holdfast.flush();
  REQUIRE(s.count("rename") == 0);
  REQUIRE(s.count("delete") == 0);
  append_file(root + "/a/sub/file", ", and more");
  s.holdfast.flush();
  REQUIRE(s.holdfast.text({"cat", "data:a/sub/file"}) == "content, and more");
  REQUIRE(s.holdfast.text({"cat", "data:a/sub/later", "--at", at(seq)}) == "seen");
  REQUIRE(s.holdfast.run({"cat", "data:b/sub/file"}).exit_code == 4);
}

}  // namespace holdfast
