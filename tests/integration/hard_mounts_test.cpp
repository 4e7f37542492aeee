// Hard cases of mounts and limits: a root whose file system goes and comes, something mounted over
// what is watched, writers in other namespaces.
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

void fill(const std::string& root) {
  make_dir(root + "/dir");
  write_file(root + "/dir/file", "content");
  write_file(root + "/other", "more");
}

// The file system goes and comes; `gone` and `back` are what the service has to do at that moment.
template <typename Gone, typename Back>
void unmount_and_mount(Gone gone, Back back) {
  WorkDir work;
  LoopMount disk(work, "disk", 32 * kMiB);
  run_tool({"rmdir", disk.path() + "/lost+found"});
  fill(disk.path());
  Watched w(disk.path());
  const Tree tree = read_tree(w.root);
  gone(w, disk);
  REQUIRE(read_tree(w.root).size() == 1);  // the empty mount point
  const Outcome flushed = w.holdfast.run({"flush"});
  INFO(flushed.err);
  REQUIRE(flushed.exit_code == 1);
  REQUIRE_THAT(flushed.err, Contains("lost"));
  REQUIRE(w.holdfast.json({"status"}).at("healthy") == false);
  REQUIRE(w.records("delete").empty());
  REQUIRE_FALSE(w.records("gap").empty());

  disk.mount();
  back(w);
  append_file(w.in("dir/file"), ", written when it was back");
  const uint64_t found = w.holdfast.flush();
  REQUIRE(w.records("delete").empty());
  REQUIRE(w.records("create").empty());
  w.holdfast.require_restores(w.work, w.begin, tree);
  w.holdfast.require_restores(w.work, found, read_tree(w.root));
  // It is watched again.
  write_file(w.in("dir/later"), "seen by an event");
  w.require_present();
  REQUIRE_FALSE(has_flag(w.last_of("dir/later"), "offline"));
}

}  // namespace

TEST_CASE("hard 21: a root that was unmounted while nobody looked loses nothing", "[hard2]") {
  if (!is_root_for("mounting and unmounting the root")) return;
  unmount_and_mount(
      [](Watched& w, LoopMount& disk) {
        w.holdfast.stop();
        disk.unmount();
        w.holdfast.start({"data=" + w.root});
      },
      [](Watched&) {});
}

// Not run before the service looks at the table of mounts.
TEST_CASE("hard 21: a root that is unmounted is lost and resumes when it is back", "[hard2]") {
  if (!is_root_for("mounting and unmounting the root")) return;
  unmount_and_mount([](Watched&, LoopMount& disk) { disk.unmount(); }, [](Watched&) {});
}

TEST_CASE("hard 21: another file system in the root's place is not taken for the root", "[hard2]") {
  if (!is_root_for("mounting and unmounting the root")) return;
  enter_mount_namespace();
  WorkDir work;
  fill(work.make("data"));
  Watched w(work.path("data"));
  const Tree tree = read_tree(w.root);
  {
    const Mount over = mount_tmpfs(w.root);
    REQUIRE(w.holdfast.run({"flush"}).exit_code == 1);
    REQUIRE(w.records("delete").empty());
    REQUIRE(w.records("gap").size() == 1);
  }
  append_file(w.in("other"), " than before");
  w.require_present();
  REQUIRE(w.records("delete").empty());
  w.holdfast.require_restores(w.work, w.begin, tree);
}

TEST_CASE("hard 22: something mounted over a directory is a gap", "[hard2]") {
  if (!is_root_for("mounting over a watched directory")) return;
  enter_mount_namespace();
  WorkDir work;
  fill(work.make("data"));
  Watched w(work.path("data"));
  {
    const Mount over = mount_tmpfs(w.in("dir"));
    w.holdfast.flush();
    const auto gaps = w.records("gap");
    REQUIRE(gaps.size() == 1);
    REQUIRE_THAT(gaps[0].at("note").get<std::string>(), Contains("dir") && Contains("mount"));
    REQUIRE_THAT(w.holdfast.json({"status"}).dump(), Contains("mount"));
  }
  w.holdfast.flush();
  REQUIRE(w.holdfast.json({"status"}).at("healthy") == true);
  w.require_present();
}

// What is hidden below the mount is still there, so that nothing of it may be journaled as gone,
// and what is mounted is another file system's.
TEST_CASE("hard 22: something mounted over a directory deletes nothing", "[hard2]") {
  if (!is_root_for("mounting over a watched directory")) return;
  enter_mount_namespace();
  WorkDir work;
  fill(work.make("data"));
  Watched w(work.path("data"));
  std::unique_ptr<Mount> over;
  SECTION("a tmpfs") { over = std::make_unique<Mount>("tmpfs", w.in("dir"), "tmpfs"); }
  SECTION("a bind mount") {
    write_file(w.out("foreign"), "another place");
    over = std::make_unique<Mount>(w.outside, w.in("dir"), "none", MS_BIND);
  }
  write_file(w.in("dir/on the mount"), "not ours");
  write_file(w.in("beside"), "ours");
  w.holdfast.flush();
  REQUIRE(w.records("delete").empty());
  REQUIRE(w.content("beside") == "ours");
  REQUIRE(w.holdfast.run({"cat", "data:dir/on the mount"}).exit_code == 4);
  over.reset();
  append_file(w.in("dir/file"), ", and more");
  w.holdfast.flush();
  REQUIRE(w.content("dir/file") == "content, and more");
  w.require_present();
}

TEST_CASE("what another mount namespace writes is seen", "[hard2]") {
  if (!is_root_for("mount namespaces")) return;
  Watched w;
  run_in_other_namespace("cd " + w.root + " && mkdir -p a/b && echo one > a/b/f && echo two > g");
  w.require_present();
  REQUIRE(w.content("a/b/f") == "one\n");
  // Through a bind mount that the service does not see.
  run_in_other_namespace("mount --bind " + w.in("a") + " " + w.outside + " && echo three > " +
                         w.out("b/h"));
  w.require_present();
  REQUIRE(w.content("a/b/h") == "three\n");
}

namespace {

// A user namespace has limits of its own: lowering those disturbs nobody else on the machine.
std::vector<std::string> with_limit(const std::string& limit, int value) {
  return {"unshare",
          "--user",
          "--map-root-user",
          "sh",
          "-c",
          "echo " + std::to_string(value) + " > /proc/sys/user/" + limit + " && exec \"$@\"",
          "sh"};
}

struct Limited {
  static constexpr int kDirs = 100;
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};

  explicit Limited(const std::vector<std::string>& wrapper) {
    for (int i = 0; i < kDirs; ++i) {
      make_dir(root + "/d" + std::to_string(i));
      write_file(root + "/d" + std::to_string(i) + "/file", "first");
    }
    holdfast.start_under(wrapper);
    holdfast.start({"data=" + root, "--backend", "inotify"});
  }
  void require_told(const std::string& limit) const {
    const TestJson status = holdfast.json({"status"});
    INFO(status.dump());
    REQUIRE(status.at("healthy") == false);
    REQUIRE_THAT(status.at("roots")[0].at("degraded").dump(),
                 Contains(limit) && Contains("sysctl"));
    REQUIRE(holdfast.lines({"log", "--kind", "gap"}).size() == 1);
    REQUIRE(holdfast.run({"status", "--check"}).exit_code == 3);
  }
  // Nobody tells of a change in most of these directories.
  void require_polled() const {
    for (int i = 0; i < kDirs; i += 7) {
      append_file(root + "/d" + std::to_string(i) + "/file", " and second");
    }
    holdfast.require_restores(work, holdfast.flush(), read_tree(root));
  }
};

}  // namespace

TEST_CASE("hard 23: the limit of watches is told, with what to do", "[hard2]") {
  if (!is_root_for("limits in a user namespace")) return;
  const Limited limited(with_limit("max_inotify_watches", 40));
  limited.holdfast.require_restores(limited.work, limited.holdfast.flush(),
                                    read_tree(limited.root));
  limited.require_told("max_user_watches");
}

TEST_CASE("hard 23: what cannot be watched is looked at by every flush", "[hard2]") {
  if (!is_root_for("limits in a user namespace")) return;
  const Limited limited(with_limit("max_inotify_watches", 40));
  limited.holdfast.flush();
  limited.require_polled();
  limited.require_polled();
}

TEST_CASE("a root that is gone is lost also where not everything is watched", "[hard2]") {
  if (!is_root_for("limits in a user namespace")) return;
  const Limited limited(with_limit("max_inotify_watches", 40));
  limited.holdfast.flush();
  rename_path(limited.root, limited.work.path("aside"));
  REQUIRE(limited.holdfast.run({"flush"}).exit_code == 1);
  REQUIRE(limited.holdfast.lines({"log", "--kind", "delete"}).empty());
}

// Not run before a root without a watcher is polled.
TEST_CASE("hard 23: a root that cannot be watched at all is polled", "[hard2]") {
  if (!is_root_for("limits in a user namespace")) return;
  const Limited limited(with_limit("max_inotify_instances", 0));
  limited.holdfast.flush();
  limited.require_told("max_user_instances");
  limited.require_polled();
}

}  // namespace holdfast
