#include "tests/support/mounts.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstring>

#include "base/fd.h"

namespace holdfast {

namespace {

// Where the byte lies on the device.
uint64_t physical_offset(int fd, uint64_t offset) {
  alignas(fiemap) char space[sizeof(fiemap) + sizeof(fiemap_extent)] = {};
  auto* map = reinterpret_cast<fiemap*>(space);
  map->fm_start = offset;
  map->fm_length = 1;
  map->fm_flags = FIEMAP_FLAG_SYNC;
  map->fm_extent_count = 1;
  REQUIRE(::ioctl(fd, FS_IOC_FIEMAP, map) == 0);
  REQUIRE(map->fm_mapped_extents == 1);
  const fiemap_extent& extent = map->fm_extents[0];
  constexpr uint32_t kElsewhere = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |
                                  FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_DATA_INLINE;
  REQUIRE((extent.fe_flags & kElsewhere) == 0);
  return extent.fe_physical + (offset - extent.fe_logical);
}

// Without the line's end.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

uint8_t read_byte(int fd, uint64_t offset) {
  uint8_t byte = 0;
  REQUIRE(::pread(fd, &byte, 1, static_cast<off_t>(offset)) == 1);
  return byte;
}

}  // namespace

void enter_mount_namespace() {
  static bool entered = false;
  if (entered) return;
  REQUIRE(::unshare(CLONE_NEWNS) == 0);
  // EINVAL: in a chroot, whose root is no mount. Then each mount is undone by its destructor alone.
  const bool is_private = ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  REQUIRE((is_private || errno == EINVAL));
  entered = true;
}

Mount::Mount(const std::string& source, const std::string& target, const std::string& type,
             unsigned long flags, const std::string& options)
    : target_(target) {
  enter_mount_namespace();
  const int failed = ::mount(source.c_str(), target.c_str(), type.c_str(), flags, options.c_str());
  INFO("mounting " << type << " on " << target << ": " << std::strerror(errno));
  REQUIRE(failed == 0);
}

Mount::~Mount() { ::umount2(target_.c_str(), MNT_DETACH); }

Mount mount_tmpfs(const std::string& target) { return {"tmpfs", target, "tmpfs"}; }

Mount mount_bind(const std::string& from, const std::string& target) {
  return {from, target, "none", MS_BIND};
}

OverlayMount::OverlayMount(const WorkDir& work, const std::string& name)
    : lower_(work.make(name + ".lower")),
      upper_(work.make(name + ".upper")),
      mount_(
          "overlay", work.make(name), "overlay", 0,
          "lowerdir=" + lower_ + ",upperdir=" + upper_ + ",workdir=" + work.make(name + ".work")) {}

LoopMount::LoopMount(const WorkDir& work, const std::string& name, uint64_t bytes, std::string type)
    : image_(work.path(name + ".img")), path_(work.make(name)), type_(std::move(type)) {
  enter_mount_namespace();
  write_file(image_, "");
  REQUIRE(::truncate(image_.c_str(), static_cast<off_t>(bytes)) == 0);
  if (type_ == "ext4") {
    run_tool({"mkfs.ext4", "-q", "-F", "-m", "0", image_});
  } else if (type_ == "ext3") {  // as it used to be made: inodes of 128 bytes, without nanoseconds
    run_tool({"mkfs.ext3", "-q", "-F", "-m", "0", "-I", "128", image_});
  } else {
    run_tool({"mkfs." + type_, "-q", "-f", image_});
  }
  mount();
}

LoopMount::~LoopMount() { ::umount2(path_.c_str(), MNT_DETACH); }

void LoopMount::mount() { run_tool({"mount", "-t", type_, "-o", "loop", image_, path_}); }

void LoopMount::unmount() { REQUIRE(::umount2(path_.c_str(), MNT_DETACH) == 0); }

std::string LoopMount::device() const {
  return first_line(run_tool({"losetup", "--noheadings", "-O", "NAME", "-j", image_}).out);
}

uint8_t LoopMount::flip_bit(const std::string& file, uint64_t offset) const {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  INFO("flipping a bit of " << file);
  REQUIRE(fd.valid());
  REQUIRE(::fsync(fd.get()) == 0);
  const uint64_t at = physical_offset(fd.get(), offset);
  const Fd image(::open(image_.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(image.valid());
  const uint8_t before = read_byte(image.get(), at);
  REQUIRE(before == cached_byte(file, offset));  // else this is another file's block
  const uint8_t after = before ^ 1;
  REQUIRE(::pwrite(image.get(), &after, 1, static_cast<off_t>(at)) == 1);
  REQUIRE(::fsync(image.get()) == 0);
  // The device has a cache of its own, which must not keep the old byte.
  const Fd dev(::open(device().c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(dev.valid());
  REQUIRE(::ioctl(dev.get(), BLKFLSBUF, 0) == 0);
  return after;
}

void LoopMount::set_size(const std::string& file, uint64_t bytes) {
  struct stat st {};
  REQUIRE(::stat(file.c_str(), &st) == 0);
  unmount();
  run_tool({"debugfs", "-w", "-R",
            "set_inode_field <" + std::to_string(st.st_ino) + "> size " + std::to_string(bytes),
            image_});
  mount();
}

LoopDevice::LoopDevice(const std::string& file)
    : device_(first_line(run_tool({"losetup", "--find", "--show", file}).out)) {}

LoopDevice::~LoopDevice() { run_process({{"losetup", "-d", device_}, "", {}, 0}); }

void LoopDevice::write(const std::string& bytes, uint64_t offset) const {
  const Fd dev(::open(device_.c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(dev.valid());
  REQUIRE(::pwrite(dev.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
          static_cast<ssize_t>(bytes.size()));
  REQUIRE(::fsync(dev.get()) == 0);
}

void run_in_other_namespace(const std::string& script) {
  run_tool({"unshare", "--mount", "sh", "-c", script});
}

uint8_t cached_byte(const std::string& path, uint64_t offset) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(fd.valid());
  return read_byte(fd.get(), offset);
}

uint8_t byte_on_disk(const std::string& path, uint64_t offset) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(fd.valid());
  REQUIRE(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
  return read_byte(fd.get(), offset);
}

}  // namespace holdfast
