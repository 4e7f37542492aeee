// Hard cases that only reading again finds: rot below the file system, stores through mappings,
// writes that no event tells.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <set>

#include "base/fd.h"
#include "tests/support/mapped_writer.h"
#include "tests/support/mounts.h"
#include "tests/support/tree_witness.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr int kFoundProblems = 3;

// What one `verify` said.
struct Verified {
  int exit_code = 0;
  TestJson result;

  Verified(const Holdfast& holdfast, std::vector<std::string> args = {}) {
    args.insert(args.begin(), {"--json", "verify"});
    const Outcome outcome = holdfast.run(args);
    INFO("verify said: " << outcome.out << outcome.err);
    exit_code = outcome.exit_code;
    const auto lines = parse_lines(outcome.out);
    REQUIRE(lines.size() == 1);
    result = lines[0];
  }
  int count(const std::string& verdict) const { return result.at("verdicts").value(verdict, 0); }
  std::string verdict_of(const std::string& path) const {
    for (const TestJson& finding : result.at("findings")) {
      if (finding.at("path") == path) return finding.at("verdict");
    }
    return "";
  }
};

int64_t mtime_ns_of(const std::string& path) {
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  return st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec;
}

void set_mtime_ns(const std::string& path, int64_t ns) {
  const timespec times[2] = {{0, UTIME_OMIT}, {ns / 1'000'000'000, ns % 1'000'000'000}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

void require_no_alarm(const Holdfast& holdfast) {
  const std::vector<TestJson> alarms = holdfast.lines(
      {"log", "--verdict",
       "corrupt,corrupt_metadata,stealth_modify,rollback_suspicious,read_error,unstable_media"});
  for (const TestJson& alarm : alarms) FAIL(alarm.dump());
}

// A file of a watched root that has a second name outside of it.
struct LinkedOutside {
  Watched w;
  LinkedOutside() {
    write_file(w.out("file"), "linked from two places");
    REQUIRE(::link(w.out("file").c_str(), w.in("file").c_str()) == 0);
    w.mark();
  }
};

// A root on an ext4 of its own whose bits can be flipped.
struct OnDisk {
  WorkDir work;
  LoopMount disk{work, "disk", 64 * kMiB};
  std::string root = disk.path() + "/data";
  Holdfast holdfast{work.path("state")};
  std::string good = random_bytes_of(400'000, 14);
  uint64_t begin = 0;

  OnDisk() {
    make_dir(root);
    write_file(root + "/rots", good);
    write_file(root + "/stays", "as it is");
    run_tool({"sync", "-f", root});
    holdfast.start({"data=" + root});
    begin = holdfast.flush();
  }
  std::string rotten() const {
    std::string bytes = good;
    bytes[200'000] = static_cast<char>(bytes[200'000] ^ 1);
    return bytes;
  }
};

}  // namespace

TEST_CASE("hard 09: an edit through an unwatched hard link is unseen, not corrupt", "[hard3]") {
  LinkedOutside linked;
  Watched& w = linked.w;
  append_file(w.out("file"), ", edited through the other");
  const Verified verified(w.holdfast);
  REQUIRE(verified.count("corrupt") == 0);
  REQUIRE(verified.count("modified_unseen") == 1);
  REQUIRE(w.last_of("file").at("verdict") == "modified_unseen");
  REQUIRE(w.content("file") == "linked from two places, edited through the other");
  REQUIRE(w.content("file", w.begin) == "linked from two places");
  REQUIRE(Verified(w.holdfast).exit_code == 0);
  require_no_alarm(w.holdfast);
}

TEST_CASE("hard 10: a second store into a dirty page is unstable, then without a stamp",
          "[hard3]") {
  Watched w;
  write_file(w.in("mapped"), std::string(8192, 'x'));
  {
    MappedWriter writer(w.in("mapped"), 8192);
    writer.store(0, 'a');
    append_file(w.in("mapped"), "");  // an event of the file: it is captured as it is now
    w.mark();
    writer.store(1, 'b');  // no event, no stamp
    const Verified verified(w.holdfast);
    REQUIRE(verified.count("corrupt") == 0);
    REQUIRE(verified.count("unstable") == 1);
  }
  w.holdfast.flush();  // the mapping's end is an event, and no stamp has moved
  REQUIRE(w.last_of("mapped").at("verdict") == "modified_no_stamp");
  REQUIRE(w.content("mapped").substr(0, 3) == "abx");
  require_no_alarm(w.holdfast);
}

TEST_CASE("hard 11: stores into a mapped file of a tmpfs are never corruption", "[hard3]") {
  if (!is_root_for("mounting a tmpfs")) return;
  WorkDir work;
  const Mount disk = mount_tmpfs(work.make("tmpfs"));
  make_dir(disk.path() + "/data");
  write_file(disk.path() + "/data/mapped", std::string(4096, 'x'));
  Watched w(disk.path() + "/data");
  {
    MappedWriter writer(w.in("mapped"), 4096);
    writer.store(0, 'a');
    w.mark();
    for (const char byte : {'b', 'c', 'd'}) {
      writer.store(1, byte);
      const Verified verified(w.holdfast);
      REQUIRE(verified.count("corrupt") == 0);
      REQUIRE(verified.count("corrupt_metadata") == 0);
    }
  }
  REQUIRE(Verified(w.holdfast).count("corrupt") == 0);
  w.holdfast.flush();
  REQUIRE(w.content("mapped").substr(0, 3) == "adx");
  require_no_alarm(w.holdfast);
}

TEST_CASE("hard 12: stores after the close event on an overlay are suspect at most", "[hard3]") {
  if (!is_root_for("mounting an overlay")) return;
  WorkDir work;
  const OverlayMount overlay(work, "disk");
  make_dir(overlay.path() + "/data");
  write_file(overlay.path() + "/data/mapped", std::string(4096, 'x'));
  Watched w(overlay.path() + "/data");
  {
    MappedWriter writer(w.in("mapped"), 4096);
    writer.store(0, 'a');
    writer.close_file();
    w.mark();
    writer.store(1, 'b');
    const Verified verified(w.holdfast);
    REQUIRE(verified.count("corrupt") == 0);
    REQUIRE(verified.count("corrupt_metadata") == 0);
    // None, where the page has not been written back when the disk is read.
    const std::set<std::string> allowed{"", "suspect", "unstable", "modified_no_stamp",
                                        "modified_unseen"};
    INFO("the verdict is \"" << verified.verdict_of("mapped") << "\"");
    REQUIRE(allowed.contains(verified.verdict_of("mapped")));
  }
  // The store is kept, and what was before it.
  REQUIRE(Verified(w.holdfast).exit_code == 0);
  REQUIRE(w.content("mapped").substr(0, 3) == "abx");
  REQUIRE(w.content("mapped", w.begin).substr(0, 3) == "axx");
  require_no_alarm(w.holdfast);
}

TEST_CASE("a file that is read while it is unpacked was not rolled back", "[hard3]") {
  Watched w;
  Fd file(::open(w.in("unpacked").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  REQUIRE(file.valid());
  REQUIRE(::write(file.get(), "the first half", 14) == 14);
  w.mark();  // captured under the writer
  REQUIRE(::write(file.get(), ", and the second", 16) == 16);
  const timespec old[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  REQUIRE(::futimens(file.get(), old) == 0);
  file.reset();
  w.holdfast.flush();
  REQUIRE(w.last_of("unpacked").at("verdict") == "mtime_preserved");
  REQUIRE(w.content("unpacked") == "the first half, and the second");
  REQUIRE(w.holdfast.lines({"log", "--verdict", "rollback_suspicious"}).empty());
}

TEST_CASE("hard 13: writes through a loop device are found by reading again", "[hard3]") {
  if (!is_root_for("loop devices")) return;
  Watched w;
  write_file(w.in("image"), std::string(1 * kMiB, 'x'));
  const LoopDevice device(w.in("image"));  // opening it is an event; writing to it is none
  w.mark();
  device.write(std::string(4096, 'y'), 8192);
  const Verified verified(w.holdfast);
  REQUIRE(verified.count("corrupt") == 0);
  REQUIRE(verified.count("stealth_modify") == 0);
  REQUIRE(w.last_of("image").at("verdict") == "modified_unseen");
  REQUIRE(w.content("image").substr(8192, 4096) == std::string(4096, 'y'));
  REQUIRE(w.content("image", w.begin) == std::string(1 * kMiB, 'x'));
}

TEST_CASE("hard 14: a bit that flips on the disk is found under a warm cache", "[hard3]") {
  if (!is_root_for("flipping bits under a mounted file system")) return;
  OnDisk d;
  d.disk.flip_bit(d.root + "/rots", 200'000);
  REQUIRE(read_file(d.root + "/rots") == d.good);  // as every program still sees it
  TreeWitness witness(d.disk.path());
  const Verified verified(d.holdfast);
  REQUIRE(verified.exit_code == kFoundProblems);
  REQUIRE(verified.count("corrupt") == 1);
  REQUIRE(verified.count("ok") == 1);
  REQUIRE(verified.verdict_of("rots") == "corrupt");
  const auto records = d.holdfast.lines({"log", "--kind", "verify", "--verdict", "corrupt"});
  REQUIRE(records.size() == 1);
  REQUIRE(records[0].at("path") == "rots");
  REQUIRE((read_file(d.root + "/rots") == d.rotten()));
  REQUIRE(witness.words() == "");
  REQUIRE(d.holdfast.json({"status"}).at("verdicts").at("corrupt") == 1);
  REQUIRE(d.holdfast.run({"status", "--check"}).exit_code == kFoundProblems);
  // The verdict stands, and the good version is what the journal has.
  REQUIRE(Verified(d.holdfast).verdict_of("rots") == "corrupt");
  REQUIRE((d.holdfast.text({"cat", "data:rots"}) == d.good));
  SECTION("and is healed") {
    const int64_t mtime = mtime_ns_of(d.root + "/rots");
    d.holdfast.run({"verify", "--heal"});
    REQUIRE((read_file(d.root + "/rots") == d.good));
    REQUIRE(mtime_ns_of(d.root + "/rots") == mtime);
    REQUIRE(Verified(d.holdfast).exit_code == 0);
    const auto corrupt = d.holdfast.lines({"log", "--verdict", "corrupt"});
    REQUIRE(corrupt.size() == 2);  // the finding, and the damaged bytes, which are kept
    REQUIRE(has_flag(corrupt[1], "damaged"));
    const uint64_t damaged = corrupt[1].at("seq");
    REQUIRE((d.holdfast.text({"cat", "--at", at(damaged), "data:rots"}) == d.rotten()));
    REQUIRE(d.holdfast.json({"status"}).at("verdicts").empty());
    REQUIRE(d.holdfast.run({"status", "--check"}).exit_code == 0);
  }
  SECTION("and is accepted") {
    d.holdfast.text({"accept", "data:rots"});
    REQUIRE(Verified(d.holdfast).exit_code == 0);
    REQUIRE((d.holdfast.text({"cat", "data:rots"}) == d.rotten()));
    REQUIRE((d.holdfast.text({"cat", "--at", at(d.begin), "data:rots"}) == d.good));
  }
  SECTION("and is still found after a restart") {
    d.holdfast.stop();
    d.holdfast.start({"data=" + d.root});
    REQUIRE(Verified(d.holdfast).verdict_of("rots") == "corrupt");
    REQUIRE((d.holdfast.text({"cat", "data:rots"}) == d.good));
  }
}

TEST_CASE("hard 15: an unseen write with its mtime set back is stealthy", "[hard3]") {
  LinkedOutside linked;
  Watched& w = linked.w;
  const int64_t mtime = mtime_ns_of(w.out("file"));
  write_file(w.out("file"), "LINKED FROM TWO PLACES");
  set_mtime_ns(w.out("file"), mtime);
  const Verified verified(w.holdfast);
  REQUIRE(verified.exit_code == kFoundProblems);
  REQUIRE(verified.verdict_of("file") == "stealth_modify");
  REQUIRE(w.content("file", w.begin) == "linked from two places");
}

TEST_CASE("hard 16: older contents that come back are no alarm", "[hard3]") {
  constexpr int64_t kSecond = 1'000'000'000;
  Watched w;
  write_file(w.in("config"), "version one");
  set_mtime_ns(w.in("config"), 1'700'000'000 * kSecond);
  run_tool({"cp", "-p", w.in("config"), w.out("backup")});
  w.holdfast.flush();
  write_file(w.in("config"), "version two");
  w.mark();
  SECTION("the bytes are in the path's own history") {
    w.holdfast.service().signal(SIGSTOP);  // else it may see the bytes before the mtime
    run_tool({"cp", "-p", w.out("backup"), w.in("config")});
    w.holdfast.service().signal(SIGCONT);
    w.holdfast.flush();
    REQUIRE(w.last_of("config").at("verdict") == "restored_older");
  }
  SECTION("a new file with a new content, as a package downgrade puts it") {
    write_file(w.out("package"), "version zero");
    set_mtime_ns(w.out("package"), 1'600'000'000 * kSecond);
    rename_path(w.out("package"), w.in("config"));
    w.holdfast.flush();
    REQUIRE(w.last_of("config").at("verdict") == "replaced_older");
  }
  REQUIRE(Verified(w.holdfast).exit_code == 0);
  require_no_alarm(w.holdfast);
}

// A ramfs has the coarse clock that all file systems had before Linux 6.13: writes within a few
// milliseconds share their stamps.
TEST_CASE("hard 17: a second write within one tick of the clock is not missed", "[hard3]") {
  if (!is_root_for("mounting a ramfs")) return;
  WorkDir work;
  const Mount disk("ramfs", work.make("ramfs"), "ramfs");
  make_dir(disk.path() + "/data");
  Watched w(disk.path() + "/data");
  int same_tick = 0;
  std::vector<std::string> names, expected;
  for (int i = 0; i < 300; ++i) {
    names.push_back("f" + std::to_string(i));
    const std::string path = w.in(names.back());
    write_file(path, "first " + std::to_string(1000 + i));
    const int64_t mtime = mtime_ns_of(path);
    // Somewhere in between the service reads the first content.
    for (int spin = 0; spin < i * 4; ++spin) REQUIRE(exists(path));
    expected.push_back("other " + std::to_string(1000 + i));
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(::write(fd.get(), expected.back().data(), expected.back().size()) > 0);
    if (mtime_ns_of(path) == mtime) ++same_tick;
  }
  REQUIRE(same_tick > 0);  // else this shows nothing
  w.holdfast.flush();
  for (size_t i = 0; i < names.size(); ++i) REQUIRE(w.content(names[i]) == expected[i]);
  require_no_alarm(w.holdfast);
}

TEST_CASE("hard 27: a restore raises no alarm about its own writes", "[hard3]") {
  Watched w;
  write_file(w.in("file"), "one");
  make_dir(w.in("dir"));
  write_file(w.in("dir/gone"), "soon");
  w.mark();
  const Tree tree = read_tree(w.root);
  write_file(w.in("file"), "two, and longer");
  REQUIRE(::unlink(w.in("dir/gone").c_str()) == 0);
  write_file(w.in("new"), "later");
  w.holdfast.flush();
  w.holdfast.text({"restore", "--at", at(w.begin), "--in-place", "--delete"});
  REQUIRE(differences(tree, read_tree(w.root)) == "");
  w.holdfast.flush();
  for (const char* written : {"file", "dir/gone"}) {
    INFO(w.last_of(written).dump());
    REQUIRE(has_flag(w.last_of(written), "own"));
  }
  require_no_alarm(w.holdfast);
  REQUIRE(Verified(w.holdfast).exit_code == 0);
}

}  // namespace holdfast
