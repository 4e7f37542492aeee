// Contents and attributes at their edges: sizes around every threshold, holes, large files, ACLs,
// odd modes and times, devices.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <functional>

#include "base/fd.h"
#include "tests/support/holdfast_run.h"

namespace holdfast {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// A POSIX ACL as the kernel takes it: version 2, then (tag, permissions, id) each, little-endian.
std::string acl_bytes() {
  struct Row {
    uint16_t tag, permissions;
    uint32_t id;
  };
  constexpr uint32_t kNoId = 0xffffffff;
  const Row rows[] = {
      {0x01, 6, kNoId}, {0x02, 4, 12345}, {0x04, 4, kNoId}, {0x10, 4, kNoId}, {0x20, 0, kNoId}};
  std::string bytes("\x02\0\0\0", 4);
  for (const Row& row : rows) {
    for (int shift = 0; shift < 16; shift += 8) bytes += static_cast<char>(row.tag >> shift);
    for (int shift = 0; shift < 16; shift += 8)
      bytes += static_cast<char>(row.permissions >> shift);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(row.id >> shift);
  }
  return bytes;
}

void set_xattr(const std::string& path, const char* name, const std::string& value) {
  const int failed = ::lsetxattr(path.c_str(), name, value.data(), value.size(), 0);
  const int why = failed != 0 ? errno : 0;
  INFO("setting " << name << " of " << path << ": errno " << why);
  if (why == ENOTSUP) {
    WARN("left out: this file system takes no " << name);
    return;
  }
  REQUIRE(failed == 0);
}

void set_mtime(const std::string& path, int64_t seconds, long nanoseconds) {
  const timespec times[2] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

void write_islands(const std::string& path, uint64_t size) {
  const Fd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
  REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
  for (const uint64_t at : {uint64_t{0}, size / 2 + 12'345, size - 70'000}) {
    const std::string island = random_bytes_of(65'536, static_cast<unsigned>(at));
    REQUIRE(::pwrite(fd.get(), island.data(), island.size(), static_cast<off_t>(at)) == 65'536);
  }
}

// Both ways in: found by the first look, and seen while it runs.
void require_round_trip(const WorkDir& work, const std::string& root,
                        const std::function<void()>& fill) {
  Holdfast holdfast(work.path("state"));
  SECTION("there at the start") {
    fill();
    holdfast.start({"data=" + root});
  }
  SECTION("made while it runs") {
    holdfast.start({"data=" + root});
    fill();
  }
  const uint64_t seq = holdfast.flush();
  holdfast.require_restores(work, seq, read_tree(root));
  holdfast.require_clean(true);
  holdfast.stop();
}

}  // namespace

TEST_CASE("contents of every size come back", "[contents]") {
  WorkDir work;
  const std::string root = work.make("data");
  require_round_trip(work, root, [&] {
    unsigned seed = 0;
    for (const size_t size : {0u, 1u, 4095u, 65'535u, 65'536u, 65'537u, 131'072u, 262'144u,
                              262'145u, 1'048'577u, 5'000'000u}) {
      write_file(root + "/random" + std::to_string(size), random_bytes_of(size, ++seed));
      write_file(root + "/zeros" + std::to_string(size), std::string(size, '\0'));
      write_file(root + "/text" + std::to_string(size), std::string(size, 't'));
    }
  });
}

TEST_CASE("a large file comes back, and a change in it costs little", "[contents]") {
  WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  // Whole at once: what is captured while it grows is cut as the smaller file that it is then.
  auto put_whole = [&](const std::string& content) {
    write_file(work.path("large"), content);
    rename_path(work.path("large"), root + "/large");
  };
  const auto stored = [&] {
    return holdfast.json({"status"}).at("store").at("bytes").get<uint64_t>();
  };
  const std::string bytes = random_bytes_of(100 * kMiB, 3);
  put_whole(bytes);
  const uint64_t first = holdfast.flush();
  const Tree before = read_tree(root);
  const uint64_t once = stored();
  REQUIRE(once >= 100 * kMiB);
  REQUIRE(once < 110 * kMiB);
  put_whole("inserted" + bytes);
  const uint64_t second = holdfast.flush();
  REQUIRE(stored() - once < 20 * kMiB);
  holdfast.require_restores(work, first, before);
  holdfast.require_restores(work, second, read_tree(root));
  holdfast.stop();
}

TEST_CASE("holes stay holes", "[contents]") {
  constexpr uint64_t kSize = 1024 * kMiB;
  WorkDir work;
  const std::string root = work.make("data");
  write_islands(root + "/islands", kSize);
  write_file(root + "/all hole", "");
  REQUIRE(::truncate((root + "/all hole").c_str(), 300'000'000) == 0);
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  const uint64_t seq = holdfast.flush();
  REQUIRE(holdfast.json({"status"}).at("store").at("bytes").get<uint64_t>() < 4 * kMiB);
  const std::string target = work.path("out");
  holdfast.text({"restore", "--at", at(seq), "--to", target});
  REQUIRE(differences(read_tree(root), read_tree(target)) == "");
  REQUIRE(blocks_of(target + "/islands") < 4 * kMiB / 512);
  REQUIRE(blocks_of(target + "/all hole") < 4 * kMiB / 512);
  holdfast.stop();
}

TEST_CASE("attributes at their edges come back", "[contents]") {
  WorkDir work;
  const std::string root = work.make("data");
  require_round_trip(work, root, [&] {
    for (const std::string name : {"acl", "xattr", "setuid", "old", "future", "nothing"}) {
      write_file(root + "/" + name, name);
    }
    make_dir(root + "/dir");
    make_dir(root + "/sticky");
    set_xattr(root + "/acl", "system.posix_acl_access", acl_bytes());
    set_xattr(root + "/dir", "system.posix_acl_default", acl_bytes());
    write_file(root + "/dir/inherits", "its ACL from the directory");
    set_xattr(root + "/xattr", "user.text", "value");
    set_xattr(root + "/xattr", "user.empty", "");
    set_xattr(root + "/xattr", "user.binary", std::string("\0\xff\0", 3));
    set_xattr(root + "/xattr", "user.long", std::string(2000, 'x'));
    set_xattr(root + "/dir", "user.of-a-directory", "yes");
    REQUIRE(::chmod((root + "/setuid").c_str(), 06755) == 0);
    REQUIRE(::chmod((root + "/nothing").c_str(), 0) == 0);
    REQUIRE(::chmod((root + "/sticky").c_str(), 03777) == 0);
    REQUIRE(::symlink("target", (root + "/link").c_str()) == 0);
    set_mtime(root + "/old", -1, 999'999'999);
    set_mtime(root + "/future", 4'000'000'000, 1);
    set_mtime(root + "/link", 1'000'000'000, 123'456'789);
    set_mtime(root + "/sticky", -86'400 * 365, 1);
  });
}

TEST_CASE("devices and owners come back", "[contents]") {
  if (!is_root_for("device nodes and other owners")) return;
  WorkDir work;
  const std::string root = work.make("data");
  require_round_trip(work, root, [&] {
    REQUIRE(::mknod((root + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0);
    REQUIRE(::mknod((root + "/block").c_str(), S_IFBLK | 0600, makedev(7, 250)) == 0);
    REQUIRE(::mkfifo((root + "/fifo").c_str(), 0620) == 0);
    write_file(root + "/owned", "by another");
    REQUIRE(::symlink("owned", (root + "/link").c_str()) == 0);
    for (const std::string name : {"null", "fifo", "owned", "link"}) {
      REQUIRE(::lchown((root + "/" + name).c_str(), 12345, 54321) == 0);
    }
    // A change of owner takes these bits away, so that a restore has to put them back after it.
    REQUIRE(::chmod((root + "/owned").c_str(), 06711) == 0);
    set_xattr(root + "/owned", "security.capability",
              std::string("\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
  });
}

}  // namespace holdfast
