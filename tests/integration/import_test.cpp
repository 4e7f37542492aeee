// Archives that become moments: what GNU tar and our own export write, sound, hostile and cut off.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/support/churn.h"
#include "tests/support/mounts.h"
#include "tests/support/raw_put.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

using Catch::Contains;

struct Imported {
  WorkDir work;
  Holdfast holdfast{work.path("state")};
  int made = 0;

  std::string tar_of(const std::string& dir, const std::vector<std::string>& more = {}) {
    const std::string file = work.path("a" + std::to_string(++made) + ".tar");
    std::vector<std::string> args{"tar", "--create", "--format=pax", "--xattrs", "--file", file};
    args.insert(args.end(), more.begin(), more.end());
    args.insert(args.end(), {"-C", dir, "."});
    run_tool(args);
    return file;
  }
  TestJson import(const std::string& file, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> args{"import", "old", file};
    args.insert(args.end(), more.begin(), more.end());
    return holdfast.json(args);
  }
  Tree restored(const TestJson& imported) {
    const std::string to = work.path("restored" + std::to_string(++made));
    holdfast.text({"restore", "old:", "--at", imported.at("snapshot"), "--to", to});
    return read_tree(to);
  }
  std::vector<std::string> kinds_since(uint64_t seq) const {
    std::vector<std::string> kinds;
    for (const TestJson& record : holdfast.lines({"log", "--since", at(seq + 1)})) {
      const std::string kind = record.at("kind");
      if (kind != "service" && kind != "gap") kinds.push_back(kind);  // of starts and stops
    }
    return kinds;
  }
  uint64_t head() const { return holdfast.json({"status"}).at("seq"); }
};

}  // namespace

TEST_CASE("export, import and export give the same tree", "[import]") {
  const unsigned seed = announced_seed("import");
  INFO("HOLDFAST_TEST_SEED=" << seed);
  Watched w;
  Churn churn(w.root, w.outside, seed);
  churn.steps(150);
  write_file(w.in("of two names"), "x");
  REQUIRE(::link(w.in("of two names").c_str(), w.in("a second name").c_str()) == 0);
  write_file(w.in("no \xff UTF-8"), "bytes");
  write_file(w.in("large"), random_bytes_of(3'000'000, seed));
  make_dir(w.in(std::string(200, 'd')));
  write_file(w.in(std::string(200, 'd') + "/" + std::string(200, 'f')), "deep");
  REQUIRE(::setxattr(w.in("large").c_str(), "user.of", "import", 6, 0) == 0);
  REQUIRE(::mkfifo(w.in("fifo").c_str(), 0640) == 0);
  w.mark();
  const Tree tree = read_tree(w.root);
  write_file(w.work.path("one.tar"), w.holdfast.text({"export", "data:"}));
  const auto import = [&](const std::string& file) {
    return w.holdfast.json({"import", "copy", w.work.path(file), "--strip", "1", "-m", file});
  };
  const TestJson first = import("one.tar");
  REQUIRE(first.at("left_out") == 0);
  w.holdfast.text({"restore", "copy:", "--at", first.at("snapshot"), "--to", w.out("restored")});
  REQUIRE(differences(tree, read_tree(w.out("restored"))) == "");
  write_file(w.work.path("two.tar"), w.holdfast.text({"export", "copy:"}));
  const std::string unpacked = w.work.make("unpacked");
  run_tool({"tar", "--extract", "--preserve-permissions", "--xattrs", "--xattrs-include=*",
            "--numeric-owner", "--strip-components=1", "-C", unpacked, "-f",
            w.work.path("two.tar")});
  Tree again = read_tree(unpacked);
  again[""] = tree.at("");  // tar --strip-components passes the directory itself over
  REQUIRE(differences(tree, again) == "");

  run_tool({"gzip", w.work.path("two.tar")});
  const uint64_t before = w.holdfast.flush();
  const TestJson second = import("two.tar.gz");
  REQUIRE(second.at("created") == 0);
  REQUIRE(second.at("changed") == 0);
  REQUIRE(second.at("deleted") == 0);
  const auto records = w.holdfast.lines({"log", "--since", at(before + 1)});
  REQUIRE(records.size() == 1);
  REQUIRE(records[0].at("kind") == "snapshot");
  REQUIRE_THAT(w.holdfast.text({"snapshots"}), Contains("import=copy  two.tar.gz"));
  w.holdfast.require_clean(true);
  w.holdfast.stop();
  w.holdfast.text({"rebuild"});
  w.holdfast.text({"restore", "copy:", "--at", first.at("snapshot"), "--to", w.out("rebuilt")});
  REQUIRE(differences(tree, read_tree(w.out("rebuilt"))) == "");
}

TEST_CASE("what a watched root has is not stored again", "[import]") {
  Watched w;
  write_file(w.in("small"), "small");
  write_file(w.in("medium"), random_bytes_of(3'000'000, 1));
  write_file(w.in("large"), random_bytes_of(70'000'000, 2));
  w.mark();
  run_tool({"tar", "-C", w.root, "-cf", w.work.path("x.tar"), "."});
  const TestJson imported = w.holdfast.json({"import", "old", w.work.path("x.tar")});
  REQUIRE(imported.at("bytes") == 73'000'005);
  REQUIRE(imported.at("new_bytes") == 0);
}

TEST_CASE("each archive is a moment, and what it lacks is deleted", "[import]") {
  Imported i;
  const bool service = GENERATE(true, false);
  INFO("with a service: " << service);
  if (service) i.holdfast.start({"data=" + i.work.make("data")});
  const std::string dir = i.work.make("then");
  make_dir(dir + "/sub");
  make_dir(dir + "/becomes a file");
  write_file(dir + "/stays", "same");
  write_file(dir + "/becomes a file/in it", "gone");
  write_file(dir + "/sub/changes", "old");
  write_file(dir + "/sub/goes", "bye");
  write_file(dir + "/becomes a directory", "file");
  write_file(dir + "/two a", "linked");
  REQUIRE(::link((dir + "/two a").c_str(), (dir + "/two b").c_str()) == 0);
  REQUIRE(::link((dir + "/two a").c_str(), (dir + "/two c").c_str()) == 0);
  REQUIRE(::symlink("stays", (dir + "/link").c_str()) == 0);
  const Tree old_tree = read_tree(dir);
  const TestJson first = i.import(i.tar_of(dir, {"--gzip"}));
  REQUIRE(first.at("files") == 9);
  REQUIRE(first.at("dirs") == 2);

  run_tool({"rm", "-r", dir + "/becomes a file", dir + "/sub/goes", dir + "/becomes a directory",
            dir + "/two b", dir + "/link"});
  write_file(dir + "/becomes a file", "now");
  make_dir(dir + "/becomes a directory");
  write_file(dir + "/becomes a directory/x", "x");
  write_file(dir + "/sub/changes", "new content");
  REQUIRE(::symlink("elsewhere", (dir + "/link").c_str()) == 0);
  const Tree new_tree = read_tree(dir);
  const TestJson second = i.import(i.tar_of(dir, {"--zstd"}), {"-m", "the second"});
  REQUIRE(second.at("deleted") == 4);  // a file and what was a directory, sub/goes, two b
  REQUIRE(differences(old_tree, i.restored(first)) == "");
  REQUIRE(differences(new_tree, i.restored(second)) == "");
  const auto history = i.holdfast.lines({"history", "old:sub/changes"});
  REQUIRE(history.size() == 2);
  REQUIRE(history[1].at("kind") == "modify");
  REQUIRE(history[1].at("prev").at("size") == 3);
  REQUIRE(i.holdfast.text({"cat", "old:sub/changes", "--at", first.at("snapshot")}) == "old");
  REQUIRE(i.holdfast.json({"status"}).at("problems").dump().find("again") == std::string::npos);
  i.holdfast.require_clean(true);
}

TEST_CASE("hostile names are taken as tar takes them, or left out by name", "[import]") {
  Imported i;
  const std::string dir = i.work.make("d");
  for (const char* name : {"plain", "evil", "inner", "dup", "abs"}) {
    write_file(dir + "/" + name, name);
  }
  const std::string file = i.work.path("hostile.tar");
  const auto add = [&](const std::string& change, const std::string& name) {
    run_tool({"tar", "-P", "-C", dir, "--transform", change, "-rf", file, name});
  };
  add("s,x,x,", "plain");
  add("s,^evil$,../../evil,", "evil");
  add("s,^inner$,a/../inner,", "inner");
  add("s,^abs$,//opt/.//abs,", "abs");
  add("s,x,x,", "dup");
  add("s,^plain$,dup/below a file,", "plain");
  write_file(dir + "/dup", "the later one");
  add("s,x,x,", "dup");
  const Outcome done = i.holdfast.run({"import", "old", file});
  INFO(done.err);
  REQUIRE(done.exit_code == 5);
  REQUIRE_THAT(done.err, Contains("left out: ../../evil: its name has a \"..\"") &&
                             Contains("left out: a/../inner:") &&
                             Contains("left out: dup/below a file: it is below dup, which is no"));
  REQUIRE(paths_of(i.holdfast.lines({"ls", "-R", "old:"})) ==
          std::vector<std::string>{"dup", "opt", "opt/abs", "plain"});
  REQUIRE(i.holdfast.text({"cat", "old:dup"}) == "the later one");
  i.holdfast.require_clean(true);
  // Directories that no member names stay as they were made.
  const uint64_t before = i.head();
  REQUIRE(i.holdfast.run({"import", "old", file}).exit_code == 5);
  REQUIRE(i.kinds_since(before) == std::vector<std::string>{"snapshot"});
}

TEST_CASE("an archive that is cut off or damaged changes nothing", "[import]") {
  Imported i;
  const std::string dir = i.work.make("d");
  write_file(dir + "/a", random_bytes_of(100'000, 1));
  write_file(dir + "/b", std::string(4096, '\0'));  // its blocks look like an archive's end
  const std::string tar = read_file(i.tar_of(dir, {"--sort=name"}));
  const TestJson good = i.import(i.tar_of(dir));
  const uint64_t before = i.head();
  const size_t end = tar.find_last_not_of('\0') / 512 * 512;  // of b's header
  const auto refused = [&](const std::string& bytes, const std::string& why) {
    write_file(i.work.path("bad"), bytes);
    const Outcome done = i.holdfast.run({"import", "old", i.work.path("bad")});
    INFO(why << ": " << done.err);
    REQUIRE(done.exit_code == 1);
    REQUIRE_THAT(done.err, Contains(why));
    REQUIRE(i.kinds_since(before).empty());
  };
  refused("", "lacks its end");
  refused("this is no tar", "Unrecognized archive format");
  refused(tar.substr(0, 1000), "before its first member");
  refused(tar.substr(0, 50'000), "at or behind ./a, which begins at byte");
  refused(tar.substr(0, end), "at or behind ./a");
  refused(tar.substr(0, end - 1024), "the tar lacks its end");  // before b's extended header
  refused(tar.substr(0, end + 512 + 4096),
          "the tar lacks its end: it was cut off (at or behind ./b");
  std::string flipped = tar;
  flipped[end + 3] = '!';  // in b's name
  refused(flipped, "at or behind ./a");
  write_file(i.work.path("x.tar"), tar);
  run_tool({"gzip", "-k", i.work.path("x.tar")});
  run_tool({"zstd", "-q", i.work.path("x.tar")});
  const std::string gz = read_file(i.work.path("x.tar.gz"));
  refused(gz.substr(0, gz.size() - 4), "the gzip data is cut off");
  std::string crc = gz;
  crc[crc.size() - 8] = static_cast<char>(crc[crc.size() - 8] ^ 1);
  refused(crc, "the gzip data is damaged");
  const std::string zst = read_file(i.work.path("x.tar.zst"));
  refused(zst.substr(0, zst.size() - 3), "nothing of it is journaled");
  run_tool({"tar", "-cf", i.work.path("empty.tar"), "-T", "/dev/null"});
  refused(read_file(i.work.path("empty.tar")), "holds nothing");
  REQUIRE(differences(read_tree(dir), i.restored(good)) == "");
}

TEST_CASE("a service that is killed in an import has nothing of it, and takes it again",
          "[import]") {
  Imported i;
  const std::string data = i.work.make("data"), dir = i.work.make("d");
  for (unsigned n = 0; n < 12; ++n) {
    write_file(dir + "/" + std::to_string(n), random_bytes_of(1'000'000, n));
  }
  const std::string tar = read_file(i.tar_of(dir));
  const std::string fifo = i.work.path("fifo");
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  i.holdfast.start({"data=" + data});
  Process import(
      {{holdfast_binary(), "--state", i.holdfast.state(), "import", "old", fifo}, "", {}, 0});
  Fd into(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(into);
  for (size_t sent = 0; sent < tar.size() / 2;) {
    const ssize_t more = ::write(into.get(), tar.data() + sent, tar.size() / 2 - sent);
    REQUIRE(more > 0);
    sent += static_cast<size_t>(more);
  }
  const Outcome busy = i.holdfast.run({"import", "old", i.tar_of(dir)});
  REQUIRE(busy.exit_code == 1);
  REQUIRE_THAT(put_content(i.holdfast.state(), "old:x", "x"), Contains("busy"));
  i.holdfast.kill();
  into.reset();
  REQUIRE(import.wait().exit_code == 1);
  i.holdfast.start({"data=" + data});
  REQUIRE(i.holdfast.run({"ls", "old:"}).exit_code == 4);
  write_file(i.work.path("whole.tar"), tar);
  const TestJson imported = i.import(i.work.path("whole.tar"));
  REQUIRE(differences(read_tree(dir), i.restored(imported)) == "");
  i.holdfast.require_clean(true);
}

TEST_CASE("an import takes no root that something else writes to", "[import]") {
  Watched w;
  write_file(w.in("a"), "a");
  run_tool({"tar", "-C", w.root, "-cf", w.work.path("x.tar"), "."});
  put_content(w.holdfast.state(), "given:x", "x");
  for (const std::string name : {"data", "dumps", "given", "no/name", ".."}) {
    const Outcome done = w.holdfast.run({"import", name, w.work.path("x.tar")});
    INFO(name << ": " << done.err);
    REQUIRE(done.exit_code == 2);
  }
  REQUIRE(w.holdfast.text({"cat", "given:x"}) == "x");
  REQUIRE(w.holdfast.run({"import", "old", w.work.path("none.tar")}).exit_code == 4);
}

TEST_CASE("an import that fills the disk changes nothing", "[import]") {
  if (!is_root_for("mounting a small file system to fill")) return;
  WorkDir work;
  const LoopMount disk(work, "disk", 64 << 20);
  Holdfast holdfast(disk.path() + "/state");
  const std::string dir = work.make("d");
  write_file(dir + "/large", random_bytes_of(90'000'000, 1));
  run_tool({"tar", "-C", dir, "-cf", work.path("large.tar"), "."});
  holdfast.start({"data=" + work.make("data")});
  const Outcome done = holdfast.run({"import", "old", work.path("large.tar")});
  REQUIRE(done.exit_code == 1);
  REQUIRE_THAT(done.err, Contains("importing into old: ") && Contains("is full"));
  REQUIRE(holdfast.run({"ls", "old:"}).exit_code == 4);
  REQUIRE(holdfast.running());
}

}  // namespace holdfast
