// Hard cases of seeing: what the kernel tells late, merged, in pieces or not at all. The numbers
// are those of docs/hard-cases.md.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "base/fd.h"
#include "base/hash.h"
#include "tests/support/mapped_writer.h"
#include "tests/support/mounts.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

constexpr uint64_t kMiB = 1 << 20;

uint64_t inode_of(const std::string& path) {
  struct stat st {};
  REQUIRE(::lstat(path.c_str(), &st) == 0);
  return st.st_ino;
}

void set_mtime_of(const std::string& path, const timespec& mtime) {
  const timespec times[2] = {{0, UTIME_OMIT}, mtime};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

timespec mtime_of(const std::string& path) {
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  return st.st_mtim;
}

// Appends to a file without a pause, as a program does that logs too much.
class Grower {
 public:
  explicit Grower(const std::string& path)
      : fd_(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC)) {
    REQUIRE(fd_.valid());
    thread_ = std::thread([this] {
      const std::string line(16, 'g');  // short, so that the bound is seconds away
      while (!ending_ && written_ < 64 * kMiB) {
        const ssize_t got = ::write(fd_.get(), line.data(), line.size());
        if (got > 0) written_ += static_cast<uint64_t>(got);
      }
    });
  }
  ~Grower() {
    ending_ = true;
    thread_.join();
  }
  Grower(const Grower&) = delete;
  Grower& operator=(const Grower&) = delete;

 private:
  Fd fd_;
  std::atomic<bool> ending_{false};
  std::atomic<uint64_t> written_{0};
  std::thread thread_;
};

}  // namespace

TEST_CASE("hard 05: rename a to b and back keeps the node", "[hard1]") {
  Watched w;
  write_file(w.in("a"), "same");
  w.mark();
  const size_t known = w.holdfast.lines({"history", "data:a"}).size();
  rename_path(w.in("a"), w.in("b"));
  w.holdfast.flush();
  rename_path(w.in("b"), w.in("a"));
  w.holdfast.flush();
  const auto renames = w.records("rename");
  REQUIRE(renames.size() == 2);
  REQUIRE(renames[0].at("from") == "a");
  REQUIRE(renames[0].at("path") == "b");
  REQUIRE(renames[1].at("from") == "b");
  REQUIRE(renames[1].at("path") == "a");
  for (const std::string kind : {"delete", "create", "modify"}) {
    INFO(kind);
    REQUIRE(w.records(kind).empty());
  }
  // The same file goes on: what it was before is what the next record compares with.
  append_file(w.in("a"), " and more");
  w.holdfast.flush();
  const TestJson last = w.last_of("a");
  REQUIRE(last.at("kind") == "modify");
  REQUIRE(last.at("prev").at("size") == 4);
  REQUIRE(w.holdfast.lines({"history", "data:a"}).size() > known);
  w.require_present();
}

// Events of one length, several reads of them, and in one of the two runs one more before all
// others: then a pair falls on both sides of a read's end. Fewer than a thousand, which is what the
// kernel's queue holds while another test has it made short.
TEST_CASE("hard 06: the halves of a rename are read apart", "[hard1]") {
  constexpr int kRenames = 450;
  const bool one_more = GENERATE(false, true);
  const auto name = [](int i, char last) {
    std::string text = std::to_string(1000 + i);
    return text + std::string(195, 'n') + last;
  };
  Watched w;
  for (int i = 0; i < kRenames; ++i) write_file(w.in(name(i, 'a')), "x");
  write_file(w.in(name(9999, 'a')), "x");
  w.mark();
  w.holdfast.service().signal(SIGSTOP);
  if (one_more) REQUIRE(::unlink(w.in(name(9999, 'a')).c_str()) == 0);
  for (int i = 0; i < kRenames; ++i) rename_path(w.in(name(i, 'a')), w.in(name(i, 'b')));
  w.holdfast.service().signal(SIGCONT);
  w.holdfast.flush();
  for (const TestJson& gap : w.records("gap")) FAIL(gap.dump());
  REQUIRE(w.records("rename").size() == kRenames);
  REQUIRE(w.records("delete").size() == (one_more ? 1 : 0));
  REQUIRE(w.records("create").empty());
  w.require_present();
}

TEST_CASE("hard 06: a rename that crosses the root's border is a delete or a create", "[hard1]") {
  Watched w;
  write_file(w.in("leaves"), "inside");
  write_file(w.in("replaced"), "old");
  write_file(w.out("comes"), "outside");
  write_file(w.out("takes the place"), "new");
  w.mark();
  rename_path(w.in("leaves"), w.out("leaves"));
  rename_path(w.out("comes"), w.in("comes"));
  rename_path(w.out("takes the place"), w.in("replaced"));
  w.holdfast.flush();
  REQUIRE(w.records("rename").empty());
  REQUIRE(paths_of(w.records("delete")) == std::vector<std::string>{"leaves"});
  REQUIRE(paths_of(w.records("create")) == std::vector<std::string>{"comes", "replaced"});
  const TestJson replaced = w.last_of("replaced");
  REQUIRE(has_flag(replaced, "replaced"));
  REQUIRE(replaced.at("prev").at("size") == 3);
  REQUIRE(w.content("leaves", w.begin) == "inside");
  w.require_present();
}

// First half: a store that moved the stamps. Once the file is closed and unmapped, the last byte of
// the mapping is the journal's, whatever the stamps said.
TEST_CASE("hard 10: what was stored through a mapping is captured", "[hard1]") {
  Watched w;
  write_file(w.in("mapped"), std::string(8192, 'x'));
  w.mark();
  {
    MappedWriter writer(w.in("mapped"), 8192);
    writer.store(0, 'a');
  }
  w.holdfast.flush();
  REQUIRE(w.content("mapped")[0] == 'a');
  REQUIRE(w.records("modify").size() == 1);
  w.require_present();
}

TEST_CASE("hard 15: a file written and set back to its old mtime is found", "[hard1]") {
  Watched w;
  write_file(w.in("file"), "before");
  w.mark();
  const timespec mtime = mtime_of(w.in("file"));
  const bool same_size = GENERATE(true, false);
  w.holdfast.service().signal(SIGSTOP);  // else it may see the one before the other
  write_file(w.in("file"), same_size ? "behind" : "something longer");
  set_mtime_of(w.in("file"), mtime);
  w.holdfast.service().signal(SIGCONT);
  w.holdfast.flush();
  const TestJson last = w.last_of("file");
  REQUIRE(last.at("kind") == "modify");
  REQUIRE(last.at("verdict") == "mtime_preserved");
  REQUIRE(last.at("prev").at("mtime_ns") == last.at("mtime_ns"));
  REQUIRE(last.at("prev").at("hash") != last.at("hash"));
  REQUIRE(w.content("file", w.begin) == "before");
  w.require_present();
}

TEST_CASE("hard 20: all that changed after a kill is found, with both hashes", "[hard1]") {
  constexpr int kFiles = 40;
  Watched w;
  auto name = [](int i) { return "f" + std::to_string(i); };
  auto hash = [](const std::string& bytes) {
    const ContentHash of = content_hash(bytes);
    return "xxh3:" + to_hex(of.bytes.data(), of.bytes.size());
  };
  for (int i = 0; i < kFiles; ++i) write_file(w.in(name(i)), "before " + std::to_string(i));
  w.mark();
  w.holdfast.kill();
  for (int i = 0; i < kFiles; ++i) {
    const timespec mtime = mtime_of(w.in(name(i)));
    write_file(w.in(name(i)), "behind " + std::to_string(i));  // of the same size
    if (i % 2 == 0) set_mtime_of(w.in(name(i)), mtime);
  }
  w.holdfast.start({"data=" + w.root});
  w.holdfast.flush();
  REQUIRE(w.records("modify").size() == kFiles);
  for (int i = 0; i < kFiles; ++i) {
    const TestJson last = w.last_of(name(i));
    INFO(last.dump());
    REQUIRE(last.at("verdict") == "modified_offline");
    REQUIRE(last.at("hash") == hash("behind " + std::to_string(i)));
    REQUIRE(last.at("prev").at("hash") == hash("before " + std::to_string(i)));
  }
  w.require_present();
}

// As the kubelet does it: the files are symlinks through ..data, which is swapped by one rename.
TEST_CASE("hard 24: the swap of a ConfigMap's ..data is one change", "[hard1]") {
  Watched w;
  auto make_version = [&](const std::string& dir, const std::string& value) {
    make_dir(w.in(dir));
    write_file(w.in(dir + "/key"), value);
    write_file(w.in(dir + "/other"), "always");
  };
  make_version("..2026_01", "one");
  REQUIRE(::symlink("..2026_01", w.in("..data").c_str()) == 0);
  REQUIRE(::symlink("..data/key", w.in("key").c_str()) == 0);
  REQUIRE(::symlink("..data/other", w.in("other").c_str()) == 0);
  const uint64_t before = w.holdfast.flush();
  const Tree old_tree = read_tree(w.root);
  w.mark();

  make_version("..2026_02", "two");
  REQUIRE(::symlink("..2026_02", w.in("..data_tmp").c_str()) == 0);
  rename_path(w.in("..data_tmp"), w.in("..data"));
  REQUIRE(::unlink(w.in("..2026_01/key").c_str()) == 0);
  REQUIRE(::unlink(w.in("..2026_01/other").c_str()) == 0);
  REQUIRE(::rmdir(w.in("..2026_01").c_str()) == 0);
  const uint64_t after = w.holdfast.flush();

  // The links of the user did not change, and nothing was journaled of them.
  REQUIRE(w.holdfast.lines({"history", "data:key"}).size() == 1);
  REQUIRE(w.holdfast.lines({"history", "data:other"}).size() == 1);
  REQUIRE(w.last_of("..data").at("target") == "..2026_02");
  REQUIRE(has_flag(w.last_of("..data"), "replaced"));
  REQUIRE(w.content("..2026_02/key") == "two");
  // Both moments are whole: the links of each lead to the content of then.
  w.holdfast.require_restores(w.work, before, old_tree);
  w.holdfast.require_restores(w.work, after, read_tree(w.root));
  const std::string target = w.work.path("then");
  w.holdfast.text({"restore", "--at", at(before), "--to", target});
  REQUIRE(read_file(target + "/key") == "one");
}

TEST_CASE("hard 25: an open file that is unlinked has no name any more", "[hard1]") {
  Watched w;
  write_file(w.in("doomed"), "before");
  w.mark();
  Fd file(::open(w.in("doomed").c_str(), O_RDWR | O_APPEND | O_CLOEXEC));
  REQUIRE(file.valid());
  REQUIRE(::unlink(w.in("doomed").c_str()) == 0);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(::write(file.get(), "unseen", 6) == 6);
    w.holdfast.flush();
  }
  file.reset();
  w.holdfast.flush();
  REQUIRE(paths_of(w.records("delete")) == std::vector<std::string>{"doomed"});
  REQUIRE(w.records("modify").empty());
  REQUIRE(w.holdfast.lines({"ls"}).empty());
  REQUIRE(w.content("doomed", w.begin) == "before");
  w.require_present();
}

TEST_CASE("hard 25: a file that grows while it is captured is unstable, then whole", "[hard1]") {
  Watched w;
  write_file(w.in("grows"), random_bytes_of(8 * kMiB, 1));
  w.mark();
  bool unstable = false;
  {
    const Grower grower(w.in("grows"));
    for (int i = 0; i < 200 && !unstable; ++i) {
      w.holdfast.flush();
      unstable = has_flag(w.last_of("grows"), "unstable");
    }
  }
  REQUIRE(unstable);
  w.require_present();
  const TestJson last = w.last_of("grows");
  REQUIRE_FALSE(has_flag(last, "unstable"));
  for (const TestJson& record : w.holdfast.lines({"history", "data:grows"})) {
    const std::string verdict = record.at("verdict");
    INFO(record.dump());
    REQUIRE(verdict.find("corrupt") == std::string::npos);
  }
}

// ext4 gives a freed inode number to the next file that is made.
TEST_CASE("hard 26: an inode number used again inherits nothing", "[hard1]") {
  if (!is_root_for("mounting a small ext4")) return;
  WorkDir work;
  const LoopMount disk(work, "disk", 32 * kMiB);
  make_dir(disk.path() + "/data");
  const std::string root = disk.path() + "/data";
  write_file(root + "/old", "what the old file held");
  Watched w(root);
  const uint64_t inode = inode_of(w.in("old"));
  const TestJson before = w.last_of("old");
  const std::string name = GENERATE(as<std::string>(), "new", "old");
  const std::string how = GENERATE(as<std::string>(), "live", "at once", "offline");
  INFO(name << " " << how);
  if (how == "offline") w.holdfast.kill();
  if (how == "at once") w.holdfast.service().signal(SIGSTOP);
  REQUIRE(::unlink(w.in("old").c_str()) == 0);
  if (how == "live") w.holdfast.flush();
  // The same size and mtime, too: nothing but the time of birth tells them apart. Made outside, so
  // that nobody sees it half done.
  const std::string aside = disk.path() + "/aside";
  write_file(aside, "what the new one holds");
  REQUIRE(inode_of(aside) == inode);  // else this shows nothing
  const auto ns = before.at("mtime_ns").get<int64_t>();
  set_mtime_of(aside, {static_cast<time_t>(ns / 1'000'000'000), ns % 1'000'000'000});
  rename_path(aside, w.in(name));
  if (how == "offline") w.holdfast.start({"data=" + root});
  if (how == "at once") w.holdfast.service().signal(SIGCONT);
  w.holdfast.flush();

  REQUIRE(w.records("rename").empty());
  REQUIRE(w.records("modify").empty());
  const TestJson created = w.last_of(name);
  REQUIRE(created.at("kind") == "create");
  REQUIRE(created.at("inode") == inode);
  if (name == "new") {
    REQUIRE_FALSE(created.contains("prev"));
    REQUIRE(w.last_of("old").at("kind") == "delete");
  }
  REQUIRE(w.content(name) == "what the new one holds");
  REQUIRE(w.content("old", w.begin) == "what the old file held");
  w.require_present();
}

}  // namespace holdfast
