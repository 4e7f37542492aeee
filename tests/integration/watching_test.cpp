// What happens to a watched tree ends up in the journal, in whatever order and however merged the
// kernel tells it: after each case the newest moment is the live tree, and the records say what
// happened.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "base/fd.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

using Catch::Contains;

// A limit of the kernel, back to what it was at the end.
class KernelLimit {
 public:
  KernelLimit(std::string path, int value) : path_(std::move(path)) {
    std::ifstream(path_) >> before_;
    put(value);
  }
  ~KernelLimit() { put(before_); }
  KernelLimit(const KernelLimit&) = delete;
  KernelLimit& operator=(const KernelLimit&) = delete;

 private:
  void put(int value) { std::ofstream(path_) << value << std::flush; }
  const std::string path_;
  int before_ = 0;
};

}  // namespace

TEST_CASE("a tree that is made at once is seen whole", "[watching]") {
  Watched w;
  run_tool({"sh", "-c", "cd " + w.root + " && mkdir -p a/b/c/d/e && echo deep > a/b/c/d/e/f"});
  w.holdfast.flush();
  REQUIRE(paths_of(w.records("create")) ==
          std::vector<std::string>{"a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/e", "a/b/c/d/e/f"});
  w.require_present();
}

TEST_CASE("a tree that moves in is read, and edits in it are seen", "[watching]") {
  Watched w;
  make_dir(w.out("tree"));
  make_dir(w.out("tree/sub"));
  write_file(w.out("tree/sub/file"), "before");
  rename_path(w.out("tree"), w.in("tree"));
  write_file(w.in("tree/sub/file"), "edited at once");
  w.holdfast.flush();
  REQUIRE(w.holdfast.text({"cat", "data:tree/sub/file"}) == "edited at once");
  write_file(w.in("tree/sub/file"), "edited later");
  w.require_present();
}

TEST_CASE("a tree that moves out is gone, and nothing outside is followed", "[watching]") {
  Watched w;
  make_dir(w.in("tree"));
  make_dir(w.in("tree/sub"));
  write_file(w.in("tree/sub/file"), "inside");
  w.mark();
  rename_path(w.in("tree"), w.out("tree"));
  write_file(w.out("tree/sub/file"), "written outside");
  write_file(w.out("tree/sub/more"), "written outside");
  w.holdfast.flush();
  REQUIRE(w.holdfast.lines({"ls", "-R"}).empty());
  REQUIRE(w.records("modify").empty());
  REQUIRE(w.records("create").empty());
  REQUIRE(w.holdfast.text({"cat", "--at", at(w.begin), "data:tree/sub/file"}) == "inside");
  w.require_present();
}

TEST_CASE("renaming a directory with a thousand files is one record", "[watching]") {
  Watched w;
  make_dir(w.in("old"));
  make_dir(w.in("new-parent"));
  for (int i = 0; i < 1000; ++i) write_file(w.in("old/f" + std::to_string(i)), std::to_string(i));
  w.mark();
  rename_path(w.in("old"), w.in("new-parent/renamed"));
  w.holdfast.flush();
  const auto renames = w.records("rename");
  REQUIRE(renames.size() == 1);
  REQUIRE(renames[0].at("from") == "old");
  REQUIRE(renames[0].at("path") == "new-parent/renamed");
  REQUIRE(w.records("create").empty());
  REQUIRE(w.records("delete").empty());
  REQUIRE(w.records("modify").empty());
  REQUIRE(w.holdfast.text({"cat", "data:new-parent/renamed/f7"}) == "7");
  // It is still watched under its new name.
  write_file(w.in("new-parent/renamed/f7"), "changed");
  w.require_present();
  REQUIRE(paths_of(w.records("modify")) == std::vector<std::string>{"new-parent/renamed/f7"});
}

TEST_CASE("there and back again is the same file", "[watching]") {
  Watched w;
  write_file(w.in("a"), "same");
  w.mark();
  const auto inode = w.holdfast.lines({"history", "data:a"}).back().at("inode");
  for (int i = 0; i < 20; ++i) {
    rename_path(w.in("a"), w.in("b"));
    rename_path(w.in("b"), w.in("a"));
  }
  w.holdfast.flush();
  REQUIRE(w.records("delete").empty());
  REQUIRE(w.holdfast.lines({"history", "data:a"}).back().at("inode") == inode);
  REQUIRE(w.holdfast.lines({"ls"}).size() == 1);
  w.require_present();
}

TEST_CASE("history goes on under the path when the file is replaced", "[watching]") {
  Watched w;
  for (const std::string version : {"one", "two", "three"}) {
    write_file(w.in("config.tmp"), version);
    rename_path(w.in("config.tmp"), w.in("config"));
    w.holdfast.flush();
  }
  std::vector<std::string> contents;
  for (const TestJson& record : w.holdfast.lines({"history", "data:config"})) {
    const auto content = w.holdfast.text({"cat", "--at", at(record.at("seq")), "data:config"});
    if (contents.empty() || contents.back() != content) contents.push_back(content);
  }
  REQUIRE(contents == std::vector<std::string>{"one", "two", "three"});
  REQUIRE(w.holdfast.lines({"ls"}).size() == 1);
  w.require_present();
}

TEST_CASE("hard links are one file with several names", "[watching]") {
  Watched w;
  make_dir(w.in("sub"));
  write_file(w.in("first"), "shared");
  REQUIRE(::link(w.in("first").c_str(), w.in("sub/second").c_str()) == 0);
  w.require_present();
  append_file(w.in("sub/second"), " and changed");
  w.require_present();
  REQUIRE(w.holdfast.text({"cat", "data:first"}) == "shared and changed");
  REQUIRE(::unlink(w.in("first").c_str()) == 0);
  w.require_present();
  REQUIRE(w.holdfast.text({"cat", "data:sub/second"}) == "shared and changed");
}

TEST_CASE("a FIFO, a socket and a symlink are recorded and not read", "[watching]") {
  Watched w;
  REQUIRE(::mkfifo(w.in("fifo").c_str(), 0640) == 0);
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string socket_path = w.in("socket");
  socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::symlink("/etc/passwd", w.in("link").c_str()) == 0);
  REQUIRE(::symlink("nowhere", w.in("dangling").c_str()) == 0);
  write_file(w.in("file"), "after them");
  w.require_present();
  REQUIRE(w.holdfast.text({"cat", "data:file"}) == "after them");
  REQUIRE(w.holdfast.run({"cat", "data:fifo"}).exit_code == 2);
}

TEST_CASE("a file that is linked in without ever being open under its name is captured",
          "[watching]") {
  Watched w;
  const Fd file(::open(w.root.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0644));
  REQUIRE(file.valid());
  REQUIRE(::write(file.get(), "unnamed", 7) == 7);
  const std::string proc = "/proc/self/fd/" + std::to_string(file.get());
  REQUIRE(::linkat(AT_FDCWD, proc.c_str(), AT_FDCWD, w.in("named").c_str(), AT_SYMLINK_FOLLOW) ==
          0);
  w.require_present();
  REQUIRE(w.holdfast.text({"cat", "data:named"}) == "unnamed");
}

TEST_CASE("merged events lead to the right end", "[watching]") {
  Watched w;
  for (int i = 0; i < 50; ++i) {
    write_file(w.in("gone"), "x");
    write_file(w.in("stays"), "first");
    REQUIRE(::unlink(w.in("gone").c_str()) == 0);
    REQUIRE(::unlink(w.in("stays").c_str()) == 0);
    write_file(w.in("stays"), std::to_string(i));
  }
  make_dir(w.in("was a directory"));
  REQUIRE(::rmdir(w.in("was a directory").c_str()) == 0);
  write_file(w.in("was a directory"), "now a file");
  w.require_present();
  REQUIRE(w.holdfast.text({"cat", "data:stays"}) == "49");
  REQUIRE(w.holdfast.lines({"ls"}).size() == 2);
}

TEST_CASE("a file that stays open and grows is captured at each flush", "[watching]") {
  Watched w;
  const Fd file(::open(w.in("growing.log").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  REQUIRE(file.valid());
  std::vector<std::pair<uint64_t, std::string>> moments;
  std::string all;
  for (int i = 0; i < 5; ++i) {
    // One by one: the service reads the events of each, until it asks for no more of them.
    for (int write = 0; write < 20; ++write) {
      const std::string line(1000 + i, static_cast<char>('a' + i));
      REQUIRE(::write(file.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size()));
      all += line;
      ::poll(nullptr, 0, 2);
    }
    moments.emplace_back(w.holdfast.flush(), all);
  }
  for (const auto& [seq, content] : moments) {
    REQUIRE(w.holdfast.text({"cat", "--at", at(seq), "data:growing.log"}) == content);
  }
}

TEST_CASE("attributes of files and directories are followed", "[watching]") {
  Watched w;
  make_dir(w.in("dir"));
  write_file(w.in("dir/file"), "content");
  w.mark();
  REQUIRE(::chmod(w.in("dir").c_str(), 02750) == 0);
  REQUIRE(::chmod(w.in("dir/file").c_str(), 0600) == 0);
  w.require_present();
  REQUIRE(w.records("modify").empty());
  REQUIRE(w.records("attrib").size() >= 2);
}

TEST_CASE("an overflow of the kernel's queue is one gap, and nothing is missing", "[watching]") {
  if (!is_root_for("lowering fs.inotify.max_queued_events")) return;
  constexpr int kFiles = 20'000;
  const KernelLimit limit("/proc/sys/fs/inotify/max_queued_events", 1000);
  Watched w;
  make_dir(w.in("many"));
  w.mark();
  w.holdfast.service().signal(SIGSTOP);
  for (int i = 0; i < kFiles; ++i) {
    const std::string path = w.in("many/f" + std::to_string(i));
    const Fd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    REQUIRE(::write(fd.get(), path.data(), path.size()) == static_cast<ssize_t>(path.size()));
  }
  w.holdfast.service().signal(SIGCONT);
  w.holdfast.flush();
  const auto gaps = w.records("gap");
  // fanotify's queue has no limit.
  const bool limited = w.holdfast.json({"status"}).at("roots").at(0).at("backend") == "inotify";
  REQUIRE(gaps.size() == (limited ? 1 : 0));
  if (limited) REQUIRE_THAT(gaps[0].at("note").get<std::string>(), Contains("overflow"));
  REQUIRE(w.records("create").size() == kFiles);
  w.require_present();
}

}  // namespace holdfast
