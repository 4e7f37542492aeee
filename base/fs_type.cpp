#include "base/fs_type.h"

#include <sys/utsname.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "base/clock.h"

namespace holdfast {

namespace {

constexpr int64_t kTickNs = 10'000'000;  // CONFIG_HZ=100, the coarsest in use
constexpr uint64_t kOverlay = 0x794C7630;
constexpr KernelVersion kMultigrain{6, 13};

struct Row {
  uint64_t magic;
  const char* name;
  bool network, stamps_trusted, multigrain;
  int64_t granularity_ns;
  bool stable_inodes;
};

// Numbers from linux/magic.h and the file systems' own headers.
constexpr std::array<Row, 25> kRows{{
    {0xEF53, "ext4", false, true, true, kTickNs, true},
    {0x58465342, "xfs", false, true, true, kTickNs, true},
    {0x9123683E, "btrfs", false, true, true, kTickNs, true},
    {0xF2F52010, "f2fs", false, true, false, kTickNs, true},
    {0xCA451A4E, "bcachefs", false, true, false, kTickNs, true},
    {0x2FC12FC1, "zfs", false, true, false, kTickNs, true},
    {0x01021994, "tmpfs", false, false, true, kTickNs, true},
    {0x858458F6, "ramfs", false, false, false, kTickNs, true},
    {kOverlay, "overlay", false, false, false, kTickNs, true},
    {0x4D44, "vfat", false, false, false, 2 * kSecondNs, false},
    {0x2011BAB0, "exfat", false, false, false, 2 * kSecondNs, false},
    {0x6969, "nfs", true, false, false, kSecondNs, true},
    {0xFF534D42, "cifs", true, false, false, kSecondNs, true},
    {0xFE534D42, "smb2", true, false, false, kSecondNs, true},
    {0x01021997, "9p", true, false, false, kSecondNs, true},
    {0x65735546, "fuse", true, false, false, kSecondNs, true},
    {0x00C36400, "ceph", true, false, false, kSecondNs, true},
    {0x786F4256, "vboxsf", true, false, false, kSecondNs, true},
    {0x7461636F, "ocfs2", true, false, false, kSecondNs, true},
    {0x01161970, "gfs2", true, false, false, kSecondNs, true},
    {0x0BD00BD0, "lustre", true, false, false, kSecondNs, true},
    {0x5346414F, "afs", true, false, false, kSecondNs, true},
    {0x6B414653, "kafs", true, false, false, kSecondNs, true},
    {0x47504653, "gpfs", true, false, false, kSecondNs, true},
    {0x19830326, "beegfs", true, false, false, kSecondNs, true},
}};

}  // namespace

FsTraits fs_traits(uint64_t magic, KernelVersion kernel) {
  FsTraits traits;
  const auto row = std::find_if(kRows.begin(), kRows.end(),
                                [&](const Row& known) { return known.magic == magic; });
  if (row == kRows.end()) {
    char hex[24];
    std::snprintf(hex, sizeof hex, "0x%llx", static_cast<unsigned long long>(magic));
    traits.name = hex;
    traits.stable_inodes = true;
    return traits;
  }
  traits.name = row->name;
  traits.network = row->network;
  traits.stamps_trusted = row->stamps_trusted;
  traits.fine_stamps = row->multigrain && kernel >= kMultigrain;
  traits.granularity_ns = row->granularity_ns;
  traits.stable_inodes = row->stable_inodes;
  traits.stable_btime = magic != kOverlay;
  return traits;
}

KernelVersion running_kernel() {
  utsname name{};
  KernelVersion version;
  if (::uname(&name) != 0 ||
      std::sscanf(name.release, "%d.%d", &version.major, &version.minor) != 2)
    return {};
  return version;
}

Result<FsTraits> fs_traits_of(int fd) {
  struct statfs fs {};
  if (::fstatfs(fd, &fs) != 0) return errno_error(errno, "asking for the kind of file system");
  return fs_traits(static_cast<uint64_t>(static_cast<uint32_t>(fs.f_type)), running_kernel());
}

}  // namespace holdfast
