// /proc/self/mountinfo: what the kernel writes, and what it never would.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "base/mounts.h"

using namespace holdfast;

TEST_CASE("mountinfo is parsed", "[mounts]") {
  struct Row {
    const char* what;
    const char* text;
    std::vector<MountPoint> mounts;
  };
  const std::vector<Row> rows = {
      {"nothing", "", {}},
      {"plain",
       "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n",
       {{"/mnt2", "ext3", "/dev/root"}}},
      {"no tagged field, and several",
       "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
       "2 1 0:5 / /run rw shared:2 master:1 propagate_from:3 - tmpfs tmpfs rw\n",
       {{"/", "ext4", "/dev/sda1"}, {"/run", "tmpfs", "tmpfs"}}},
      {"space, tab, newline, backslash, #",
       "3 1 0:6 / /a\\040b\\011c\\012d\\134e\\043f rw - tmpfs a\\040b rw\n",
       {{"/a b\tc\nd\\e#f", "tmpfs", "a b"}}},
      {"what looks like an escape and is none",
       "3 1 0:6 / /a\\04 rw - tmpfs x rw\n4 1 0:6 / /b\\889 rw - tmpfs x rw\n",
       {{"/a\\04", "tmpfs", "x"}, {"/b\\889", "tmpfs", "x"}}},
      {"bytes that are no UTF-8", "3 1 0:6 / /\xff rw - tmpfs x rw\n", {{"/\xff", "tmpfs", "x"}}},
      {"no newline at the end", "3 1 0:6 / /x rw - tmpfs x rw", {{"/x", "tmpfs", "x"}}},
      {"an empty source", "3 1 0:6 / /x rw - tmpfs  rw\n", {{"/x", "tmpfs", ""}}},
      {"two on one path, in order",
       "3 1 0:6 / /x rw - tmpfs x rw\n4 3 0:7 / /x rw - ext4 y rw\n",
       {{"/x", "tmpfs", "x"}, {"/x", "ext4", "y"}}},
      {"lines that make no sense",
       "\nx\n3 1 0:6 / relative rw - tmpfs x rw\n3 1 0:6 / /cut rw\n3 1 0:6 / /good rw - a b c\n",
       {{"/good", "a", "b"}}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    CHECK(parse_mountinfo(row.text) == row.mounts);
  }
}

TEST_CASE("the mount table tells once that it changed", "[mounts]") {
  if (::geteuid() != 0) {
    WARN("not checked: mounting needs root");
    return;
  }
  char dir[] = "/tmp/holdfast-mounts-XXXXXX";
  REQUIRE(::mkdtemp(dir) != nullptr);
  const std::string path = dir;
  // In a child, so that the mount is seen by nobody else.
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0) ::_exit(1);
    ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    auto table = MountTable::open();
    if (!table.ok()) ::_exit(2);
    table->changed();
    if (table->changed()) ::_exit(3);
    if (::mount("none", dir, "tmpfs", 0, "size=1m") != 0) ::_exit(4);
    if (!table->changed() || table->changed()) ::_exit(5);
    const auto mounts = table->read();
    const bool there =
        mounts.ok() && std::any_of(mounts->begin(), mounts->end(), [&](const MountPoint& mount) {
          return mount.path == path && mount.fs_type == "tmpfs";
        });
    ::_exit(there ? 0 : 6);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  ::rmdir(dir);
  CHECK(status == 0);
}
