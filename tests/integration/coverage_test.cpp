// Coverage: each backend sees what happens; what cannot be watched is polled, told with its fix,
// and watched again when it can be; mounts over and under a root; kinds of file systems.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "base/fd.h"
#include "tests/support/churn.h"
#include "tests/support/mounts.h"

namespace holdfast {
namespace {

using Catch::Contains;

std::vector<std::string> notes(const Holdfast& holdfast) {
  std::vector<std::string> all;
  for (const TestJson& gap : holdfast.lines({"log", "--kind", "gap"}))
    all.push_back(gap.at("note").get<std::string>());
  return all;
}

size_t count_notes(const Holdfast& holdfast, const std::string& words) {
  size_t count = 0;
  for (const std::string& note : notes(holdfast)) count += note.find(words) != std::string::npos;
  return count;
}

std::string backend_of(const Holdfast& holdfast) {
  return holdfast.json({"status"}).at("roots").at(0).at("backend");
}
std::string coverage_of(const Holdfast& holdfast) {
  return holdfast.json({"status"}).at("roots").at(0).at("coverage");
}

void require_present(const WorkDir& work, const Holdfast& holdfast, const std::string& root) {
  holdfast.require_restores(work, holdfast.flush(), read_tree(root));
}

// Files, directories, moves and removals, and a look after each round.
void churn_and_compare(const WorkDir& work, const Holdfast& holdfast, const std::string& root) {
  const std::string base = root + "/churn";
  make_dir(base);
  for (int round = 0; round < 3; ++round) {
    const std::string dir = base + "/d" + std::to_string(round);
    make_dir(dir);
    make_dir(dir + "/sub");
    for (int i = 0; i < 20; ++i) write_file(dir + "/sub/f" + std::to_string(i), "first");
    holdfast.flush();
    write_file(dir + "/sub/f1", "second");
    append_file(dir + "/sub/f2", " and more");
    REQUIRE(::unlink((dir + "/sub/f3").c_str()) == 0);
    rename_path(dir + "/sub/f4", dir + "/moved");
    REQUIRE(::link((dir + "/sub/f5").c_str(), (dir + "/linked").c_str()) == 0);
    REQUIRE(::chmod((dir + "/sub/f6").c_str(), 0600) == 0);
    rename_path(dir + "/sub", dir + "/renamed");
    write_file(dir + "/renamed/f7", "after the rename");
    require_present(work, holdfast, root);
  }
  holdfast.require_clean();
}

// A mount that nobody but this program and its children sees.
class Mounted {
 public:
  Mounted(const std::vector<std::string>& mount_args, std::string path) : path_(std::move(path)) {
    enter_mount_namespace();
    std::vector<std::string> args{"mount"};
    args.insert(args.end(), mount_args.begin(), mount_args.end());
    args.push_back(path_);
    run_tool(args);
  }
  ~Mounted() { unmount(); }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;
  void unmount() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
    mounted_ = false;
  }

 private:
  std::string path_;
  bool mounted_ = true;
};

// Waits until the service tells it: the coverage begins with these words.
void wait_for_coverage(const Holdfast& holdfast, const std::string& begin) {
  for (int i = 0; i < 30; ++i) {
    holdfast.flush();
    if (coverage_of(holdfast).starts_with(begin)) return;
  }
  FAIL("the coverage is \"" << coverage_of(holdfast) << "\", not \"" << begin << "\"");
}

}  // namespace

TEST_CASE("each backend sees what happens", "[coverage]") {
  const std::string backend = GENERATE("auto", "fanotify", "inotify", "poll");
  if (backend == "fanotify" && !is_root_for("the fanotify backend")) return;
  CAPTURE(backend);
  const WorkDir work;
  const std::string root = work.make("data");
  write_file(root + "/early", "before the start");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root, "--backend", backend});
  holdfast.flush();
  if (backend != "auto") REQUIRE(backend_of(holdfast) == backend);
  const std::string coverage = coverage_of(holdfast);
  REQUIRE(coverage.starts_with(backend == "poll" ? "polled every 10 s" : "full"));
  REQUIRE(holdfast.json({"status"}).at("healthy") == true);
  churn_and_compare(work, holdfast, root);
  REQUIRE(notes(holdfast).empty());  // polling is no gap either
  holdfast.stop();
}

TEST_CASE("a backend of no such name is refused", "[coverage]") {
  const WorkDir work;
  const Holdfast holdfast(work.path("state"));
  auto service = holdfast.launch({work.make("data"), "--backend", "kqueue"});
  const Outcome outcome = service->wait(60'000);
  REQUIRE(outcome.exit_code == 2);
  REQUIRE_THAT(outcome.err, Contains("auto, fanotify, inotify, poll"));
}

TEST_CASE("fanotify without its capabilities says what it takes, and auto does without",
          "[coverage]") {
  if (!is_root_for("becoming another user")) return;
  const WorkDir work;
  REQUIRE(::chmod(work.path().c_str(), 0777) == 0);
  const std::string root = work.make("data");
  REQUIRE(::chmod(root.c_str(), 0777) == 0);
  const Holdfast holdfast(work.path("state"));
  auto refused = holdfast.launch({root, "--backend", "fanotify"}, 65534);
  const Outcome outcome = refused->wait(60'000);
  REQUIRE(outcome.exit_code == 1);
  REQUIRE_THAT(outcome.err, Contains("AmbientCapabilities=CAP_SYS_ADMIN CAP_DAC_READ_SEARCH"));
  auto service = holdfast.launch({"data=" + root}, 65534);
  REQUIRE(service->wait_for_error(", ready", 60'000));
  const TestJson status = holdfast.json({"status"});
  REQUIRE(status.at("roots").at(0).at("backend") == "inotify");
  REQUIRE_THAT(status.at("roots").at(0).at("backend_why").get<std::string>(),
               Contains("CAP_DAC_READ_SEARCH"));
  REQUIRE(status.at("healthy") == true);
  service->signal(SIGTERM);
  REQUIRE(service->wait(60'000).exit_code == 0);
}

TEST_CASE("a stopped reader loses nothing, and at most one gap says why", "[coverage]") {
  const std::string backend = GENERATE("fanotify", "inotify");
  if (!is_root_for("the fanotify backend")) return;
  const char* text = std::getenv("HOLDFAST_TEST_CREATES");
  const int creates = text != nullptr ? std::atoi(text) : 40'000;
  CAPTURE(backend, creates);
  const WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root, "--backend", backend});
  make_dir(root + "/many");
  holdfast.flush();
  holdfast.service().signal(SIGSTOP);
  for (int i = 0; i < creates; ++i) {
    const std::string path = root + "/many/f" + std::to_string(i);
    const Fd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    REQUIRE(fd.valid());
  }
  const auto begin = std::chrono::steady_clock::now();
  holdfast.service().signal(SIGCONT);
  REQUIRE(holdfast.run({"flush", "--timeout", "1h"}).exit_code == 0);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  if (text != nullptr) WARN(backend << ": " << creates << " creates in " << took.count() << " s");
  REQUIRE(holdfast.json({"status"}).at("roots").at(0).at("files") == creates);
  REQUIRE(count_notes(holdfast, "overflow") == (backend == "inotify" ? 1 : 0));
  REQUIRE(notes(holdfast).size() == (backend == "inotify" ? 1 : 0));
}

TEST_CASE("directories beyond the watch limit are polled alone, and watched when there is room",
          "[coverage]") {
  if (!is_root_for("a user namespace with limits of its own")) return;
  const WorkDir work;
  const std::string root = work.make("data");
  for (int i = 0; i < 20; ++i) {
    make_dir(root + "/d" + std::to_string(i));
    write_file(root + "/d" + std::to_string(i) + "/f", "first");
  }
  // The limit of a user namespace concerns nobody outside of it.
  const std::string limit_file = work.path("limit");
  REQUIRE(::mkfifo(limit_file.c_str(), 0600) == 0);
  Command command;
  command.args = {"unshare",
                  "--user",
                  "--map-root-user",
                  "sh",
                  "-c",
                  "echo 12 > /proc/sys/user/max_inotify_watches && \"$0\" --state \"$1\" watch "
                  "data=\"$2\" & child=$!; trap 'kill $child' TERM; cat \"$3\" > "
                  "/proc/sys/user/max_inotify_watches; wait; wait",
                  holdfast_binary(),
                  work.path("state"),
                  root,
                  limit_file};
  Process service(command);
  REQUIRE(service.wait_for_error(", ready", 60'000));
  const Holdfast holdfast(work.path("state"));
  holdfast.flush();
  REQUIRE(backend_of(holdfast) == "inotify");
  REQUIRE_THAT(coverage_of(holdfast),
               Contains("partial: 9 of 21 directories are polled every 10 s"));
  const TestJson status = holdfast.json({"status"});
  REQUIRE(status.at("healthy") == false);
  REQUIRE_THAT(status.at("problems").dump(), Contains("sysctl -w fs.inotify.max_user_watches="));
  REQUIRE(count_notes(holdfast, "not everything can be watched") == 1);
  // A flush covers what is polled, and what it finds was announced by nobody.
  for (int i = 0; i < 20; ++i) write_file(root + "/d" + std::to_string(i) + "/f", "second");
  for (int i = 0; i < 20; ++i) write_file(root + "/d" + std::to_string(i) + "/g", "new");
  require_present(work, holdfast, root);
  REQUIRE(count_notes(holdfast, "watched") == 1);  // told once
  write_file(limit_file, "1000\n");
  wait_for_coverage(holdfast, "full");
  REQUIRE(count_notes(holdfast, "everything is watched again") == 1);
  REQUIRE(holdfast.json({"status"}).at("healthy") == true);
  for (int i = 0; i < 20; ++i) write_file(root + "/d" + std::to_string(i) + "/f", "third");
  require_present(work, holdfast, root);
  service.signal(SIGTERM);
  REQUIRE(service.wait(60'000).exit_code != 1);
}

TEST_CASE("without an inotify instance a root is polled, and says how to get one", "[coverage]") {
  if (!is_root_for("a user namespace with limits of its own")) return;
  const WorkDir work;
  const std::string root = work.make("data");
  Command command;
  command.args = {"unshare",
                  "--user",
                  "--map-root-user",
                  "sh",
                  "-c",
                  "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" --state \"$1\" "
                  "watch data=\"$2\"",
                  holdfast_binary(),
                  work.path("state"),
                  root};
  Process service(command);
  REQUIRE(service.wait_for_error(", ready", 60'000));
  const Holdfast holdfast(work.path("state"));
  churn_and_compare(work, holdfast, root);
  REQUIRE(backend_of(holdfast) == "poll");
  REQUIRE_THAT(coverage_of(holdfast), Contains("polled every 10 s"));
  REQUIRE_THAT(holdfast.json({"status"}).at("problems").dump(),
               Contains("sysctl -w fs.inotify.max_user_instances="));
  service.signal(SIGTERM);
  REQUIRE(service.wait(60'000).exit_code == 0);
}

TEST_CASE("a root is watched as soon as there is one inotify instance", "[coverage]") {
  if (!is_root_for("a user namespace with limits of its own")) return;
  const WorkDir work;
  const std::string root = work.make("data");
  const std::string limit_file = work.path("limit");
  REQUIRE(::mkfifo(limit_file.c_str(), 0600) == 0);
  Command command;
  command.args = {"unshare",
                  "--user",
                  "--map-root-user",
                  "sh",
                  "-c",
                  "echo 0 > /proc/sys/user/max_inotify_instances && \"$0\" --state \"$1\" watch "
                  "data=\"$2\" & child=$!; trap 'kill $child' TERM; cat \"$3\" > "
                  "/proc/sys/user/max_inotify_instances; wait; wait",
                  holdfast_binary(),
                  work.path("state"),
                  root,
                  limit_file};
  Process service(command);
  REQUIRE(service.wait_for_error(", ready", 60'000));
  const Holdfast holdfast(work.path("state"));
  holdfast.flush();
  REQUIRE(backend_of(holdfast) == "poll");
  Process follower(
      {{holdfast_binary(), "--state", holdfast.state(), "log", "--follow"}, "", {}, 0});
  write_file(limit_file, "1\n");
  REQUIRE(follower.wait_for_output("the root is watched again", 60'000));
  REQUIRE(backend_of(holdfast) == "inotify");
  REQUIRE(count_notes(holdfast, "not everything can be watched") == 1);
  REQUIRE(count_notes(holdfast, "watched again") == 1);
  churn_and_compare(work, holdfast, root);
  REQUIRE(holdfast.json({"status"}).at("healthy") == true);
  service.signal(SIGTERM);
  REQUIRE(service.wait(60'000).exit_code != 1);
}

TEST_CASE("a root that is unmounted is lost, whatever lies under it, and found when it is back",
          "[coverage]") {
  if (!is_root_for("mounting")) return;
  const std::string backend = GENERATE("fanotify", "inotify");
  CAPTURE(backend);
  const bool empty_below = GENERATE(true, false);
  CAPTURE(empty_below);
  const WorkDir work;
  LoopMount disk(work, "disk", 64 << 20);
  const std::string root = work.make("data");
  if (!empty_below) write_file(root + "/under the mount", "not the root's");
  Mounted mounted({"--bind", disk.path()}, root);
  make_dir(root + "/dir");
  write_file(root + "/dir/file", "content");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root, "--backend", backend});
  const uint64_t before = holdfast.flush();
  const Tree tree = read_tree(root);
  mounted.unmount();
  REQUIRE(holdfast.run({"flush"}).exit_code == 1);
  REQUIRE_THAT(coverage_of(holdfast), Contains("lost"));
  REQUIRE(holdfast.lines({"log", "--kind", "delete"}).empty());
  write_file(disk.path() + "/dir/while away", "unseen");
  const Mounted again({"--bind", disk.path()}, root);
  const uint64_t after = holdfast.flush();
  REQUIRE(coverage_of(holdfast) == "full");
  holdfast.require_restores(work, before, tree);
  holdfast.require_restores(work, after, read_tree(root));
  REQUIRE(holdfast.lines({"log", "--kind", "delete"}).empty());
  churn_and_compare(work, holdfast, root);
  holdfast.stop();
}

TEST_CASE("what is mounted over a directory hides it, and deletes nothing", "[coverage]") {
  if (!is_root_for("mounting")) return;
  const std::string backend = GENERATE("fanotify", "inotify", "poll");
  CAPTURE(backend);
  const WorkDir work;
  const std::string root = work.make("data");
  const std::string hidden = root + "/a dir";
  make_dir(hidden);
  make_dir(hidden + "/sub");
  write_file(hidden + "/sub/file", "kept");
  make_dir(root + "/empty");
  Holdfast holdfast(work.path("state"));
  enter_mount_namespace();  // before the service, which has to see the mounts
  holdfast.start({"data=" + root, "--backend", backend});
  holdfast.flush();
  const Tree tree = read_tree(root);
  const Fd inside(::open((hidden + "/sub").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  {
    const Mounted over({"-t", "tmpfs", "none"}, hidden);
    const Mounted harmless({"-t", "tmpfs", "none"}, root + "/empty");
    write_file(hidden + "/other", "of another file system");
    write_file(root + "/beside", "so that the parent is looked at");
    // Under the mount things can still change.
    const Fd fd(::openat(inside.get(), "under", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    REQUIRE(fd.valid());
    holdfast.flush();
    REQUIRE(count_notes(holdfast, "a dir is hidden by a mount (tmpfs)") == 1);
    REQUIRE(notes(holdfast).size() == 1);
    REQUIRE(holdfast.lines({"log", "--kind", "delete"}).empty());
    REQUIRE(holdfast.text({"cat", "data:a dir/sub/file"}) == "kept");
    REQUIRE(holdfast.run({"cat", "data:a dir/other"}).exit_code == 4);
    REQUIRE(::unlink((root + "/beside").c_str()) == 0);
    holdfast.flush();
  }
  require_present(work, holdfast, root);
  REQUIRE(count_notes(holdfast, "the mount over a dir is gone") == 1);
  REQUIRE(notes(holdfast).size() == 2);
  REQUIRE(::unlink((hidden + "/sub/under").c_str()) == 0);
  require_present(work, holdfast, root);
  REQUIRE(differences(tree, read_tree(root)).find("file") == std::string::npos);
  holdfast.stop();
}

TEST_CASE("a mount that is there before the service starts deletes nothing either", "[coverage]") {
  if (!is_root_for("mounting")) return;
  const WorkDir work;
  const std::string root = work.make("data");
  make_dir(root + "/dir");
  write_file(root + "/dir/file", "kept");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.flush();
  holdfast.stop();
  Mounted over({"-t", "tmpfs", "none"}, root + "/dir");
  holdfast.start({"data=" + root});
  holdfast.flush();
  REQUIRE(holdfast.lines({"log", "--kind", "delete"}).empty());
  REQUIRE(count_notes(holdfast, "dir is hidden by a mount") == 1);
  over.unmount();
  write_file(root + "/dir/file", "changed");
  require_present(work, holdfast, root);
}

TEST_CASE("every kind of file system is covered by what works on it", "[coverage]") {
  if (!is_root_for("mounting")) return;
  const WorkDir work;
  enter_mount_namespace();
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  std::vector<std::unique_ptr<Mounted>> mounts;
  const auto mount = [&](const std::vector<std::string>& args, const std::string& path) {
    mounts.push_back(std::make_unique<Mounted>(args, path));
  };
  std::string backend = "fanotify", watched = root;
  SECTION("tmpfs") { mount({"-t", "tmpfs", "none"}, root); }
  SECTION("a bind mount of a directory") { mount({"--bind", work.make("source")}, root); }
  SECTION("overlay, which has no handles to open") {
    const std::string layers = work.make("layers");
    mount({"-t", "tmpfs", "none"}, layers);
    for (const char* name : {"/lower", "/upper", "/work"}) make_dir(layers + name);
    write_file(layers + "/lower/from below", "lower");
    mount(
        {"-t", "overlay", "-o",
         "lowerdir=" + layers + "/lower,upperdir=" + layers + "/upper,workdir=" + layers + "/work",
         "none"},
        root);
    backend = "inotify";
  }
  SECTION("btrfs") {
    const std::string image = work.path("btrfs.img");
    write_file(image, "");
    REQUIRE(::truncate(image.c_str(), 200 << 20) == 0);
    run_tool({"mkfs.btrfs", "-q", image});
    mount({"-o", "loop", image}, root);
    SECTION("its top, with a subvolume in it") {
      run_tool({"btrfs", "subvolume", "create", root + "/nested"});
      write_file(root + "/nested/f", "in the subvolume");
    }
    SECTION("a subvolume, which cannot be marked") {
      run_tool({"btrfs", "subvolume", "create", root + "/nested"});
      watched = root + "/nested";
      backend = "inotify";
    }
  }
  holdfast.start({"data=" + watched});
  holdfast.flush();
  REQUIRE(backend_of(holdfast) == backend);
  REQUIRE(coverage_of(holdfast) == "full");
  churn_and_compare(work, holdfast, watched);
  if (exists(watched + "/nested")) {
    write_file(watched + "/nested/f", "changed");
    make_dir(watched + "/nested/d");
    write_file(watched + "/nested/d/g", "new");
  }
  if (exists(watched + "/from below")) append_file(watched + "/from below", " copied up");
  require_present(work, holdfast, watched);
  REQUIRE(notes(holdfast).empty());
  holdfast.stop();
}

}  // namespace holdfast
