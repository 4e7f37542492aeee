// What files may hold and be named, what changes while nobody watches, and what is left out.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "tests/support/holdfast_run.h"

namespace holdfast {

TEST_CASE("contents of every shape are restored exactly", "[contents]") {
  WorkDir work;
  const std::string root = work.make("data");
  write_file(root + "/empty", "");
  write_file(root + "/one chunk", random_bytes_of(65536, 1));
  write_file(root + "/one byte more", random_bytes_of(65537, 2));
  write_file(root + "/long", random_bytes_of(20u << 20, 3));
  const std::string sparse = root + "/sparse";
  {
    const int fd = ::open(sparse.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
    REQUIRE(fd >= 0);
    REQUIRE(::ftruncate(fd, 1 << 30) == 0);
    for (const off_t at : {off_t{0}, off_t{300} << 20, (off_t{1} << 30) - 8192}) {
      REQUIRE(::pwrite(fd, "island of data", 14, at) == 14);
    }
    ::close(fd);
  }
  write_file(root + "/old", "from before 1970");
  const timespec times[2] = {{0, UTIME_OMIT}, {-1000, 123456789}};
  REQUIRE(::utimensat(AT_FDCWD, (root + "/old").c_str(), times, 0) == 0);
  REQUIRE(::setxattr((root + "/old").c_str(), "user.note", "kept", 4, 0) == 0);
  REQUIRE(::chmod((root + "/old").c_str(), 04751) == 0);
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t seq = holdfast.flush();
  holdfast.require_restores(work, seq, read_tree(root));
  holdfast.require_clean(true);
  holdfast.text({"restore", "--at", at(seq), "--to", work.path("out")});
  CHECK(blocks_of(work.path("out/sparse")) < 1000);
}

TEST_CASE("hostile names are names", "[hostile]") {
  WorkDir work;
  const std::string root = work.make("data");
  write_file(root + "/line\nbreak", "1");
  write_file(root + "/not \xff\xfe utf8", "2");
  write_file(root + "/-rf", "3");
  write_file(root + "/" + std::string(255, 'n'), "4");
  write_file(root + "/\x1b[31mred", "5");
  // Deeper than PATH_MAX: only steps lead there.
  const std::string part(250, 'd');
  const int start = ::open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(::chdir(root.c_str()) == 0);
  for (int depth = 0; depth < 20; ++depth) {
    REQUIRE(::mkdir(part.c_str(), 0755) == 0);
    REQUIRE(::chdir(part.c_str()) == 0);
  }
  write_file("deepest", "bottom");
  REQUIRE(::fchdir(start) == 0);
  ::close(start);
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t seq = holdfast.flush();
  const auto files = holdfast.lines({"log", "--kind", "create"});
  CHECK(files.size() == 1 + 5 + 20 + 1);
  holdfast.text({"restore", "--at", at(seq), "--to", work.path("out")});
  CHECK(read_file(work.path("out/line\nbreak")) == "1");
  CHECK(read_file(work.path("out/not \xff\xfe utf8")) == "2");
  CHECK(read_file(work.path("out/-rf")) == "3");
  CHECK(read_file(work.path("out/" + std::string(255, 'n'))) == "4");
  REQUIRE(::chdir(work.path("out").c_str()) == 0);
  for (int depth = 0; depth < 20; ++depth) REQUIRE(::chdir(part.c_str()) == 0);
  CHECK(read_file("deepest") == "bottom");
  REQUIRE(::chdir("/") == 0);
}

TEST_CASE("a directory swapped for a symlink leads nowhere", "[hostile]") {
  WorkDir work;
  const std::string root = work.make("data");
  const std::string outside = work.make("outside");
  write_file(outside + "/secret", "not of this tree");
  make_dir(root + "/dir");
  write_file(root + "/dir/mine", "mine");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t before = holdfast.flush();
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    while (!stop) {
      ::rename((root + "/dir").c_str(), (root + "/aside").c_str());
      (void)!::symlink(outside.c_str(), (root + "/dir").c_str());
      ::unlink((root + "/dir").c_str());
      ::rename((root + "/aside").c_str(), (root + "/dir").c_str());
    }
  });
  for (int round = 0; round < 20; ++round) {
    append_file(root + "/touched", "x");
    holdfast.flush();
    holdfast.run(
        {"restore", "data:dir", "--at", at(before), "--in-place", "--overwrite", "always"});
  }
  stop = true;
  swapper.join();
  for (const TestJson& record : holdfast.lines({"log"})) {
    CHECK(record.value("path", std::string()).find("secret") == std::string::npos);
  }
  CHECK_FALSE(exists(outside + "/mine"));
  CHECK(read_file(outside + "/secret") == "not of this tree");
}

TEST_CASE("what happened while the service was off is journaled as that", "[offline]") {
  WorkDir work;
  const std::string root = work.make("data");
  make_dir(root + "/dir");
  write_file(root + "/dir/changed", "before");
  write_file(root + "/gone", "gone");
  write_file(root + "/moved", "moved");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t seq = holdfast.flush();
  const Tree tree = read_tree(root);
  holdfast.stop();
  write_file(root + "/dir/changed", "after, and longer");
  ::unlink((root + "/gone").c_str());
  rename_path(root + "/moved", root + "/dir/here");
  write_file(root + "/new", "new");
  holdfast.start({"data=" + root});
  const uint64_t now = holdfast.flush();
  for (const char* kind : {"modify", "delete", "rename", "create"}) {
    INFO(kind);
    const auto records = holdfast.lines({"log", "--since", at(seq + 1), "--kind", kind});
    REQUIRE(records.size() == 1);
    CHECK(records[0].at("flags").dump().find("offline") != std::string::npos);
  }
  CHECK(holdfast.lines({"log", "--since", at(seq + 1), "--kind", "gap"}).size() == 1);
  holdfast.require_restores(work, now, read_tree(root));
  holdfast.require_restores(work, seq, tree);
}

TEST_CASE("excludes and cache directories are left out", "[excludes]") {
  WorkDir work;
  const std::string root = work.make("data");
  make_dir(root + "/cache");
  make_dir(root + "/tagged");
  write_file(root + "/cache/a", "a");
  write_file(root + "/tagged/b", "b");
  write_file(root + "/tagged/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
  write_file(root + "/x.tmp", "x");
  write_file(root + "/kept", "kept");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root, "--exclude", "*.tmp", "--exclude", "cache/"});
  write_file(root + "/y.tmp", "y");
  write_file(root + "/tagged/c", "c");
  holdfast.flush();
  std::string names;
  for (const TestJson& entry : holdfast.lines({"ls", "-R"})) {
    names += entry.at("path").get<std::string>() + " ";
  }
  CHECK(names == "kept tagged tagged/CACHEDIR.TAG ");
}

}  // namespace holdfast
