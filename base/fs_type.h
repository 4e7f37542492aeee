// FsTraits: what a file system's stamps, inode numbers and events are worth. A table by the magic
// number of statfs(2); what is not in it gets the cautious answers. Pure but for fs_traits_of();
// any thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace holdfast {

struct FsTraits {
  std::string name;  // "ext4", or its magic number in hex
  // Others may change it without this kernel knowing: no events for their changes, and the server's
  // clock in the stamps. NFS, SMB, 9p, FUSE (virtiofs too), Ceph, AFS, the folders of virtual
  // machines, and disks that several machines share (OCFS2, GFS2, Lustre, GPFS, BeeGFS).
  bool network = false;
  // Every change of content moves mtime and ctime, but for a store through a mapping that is dirty
  // already. Not so on tmpfs and overlay (stamps freeze after the first fault), nor over a network.
  bool stamps_trusted = false;
  // Each change after a statx() gets a ctime of its own (multigrain stamps, Linux 6.13: ext4, xfs,
  // btrfs, tmpfs). Else two changes within `granularity_ns` may share one.
  bool fine_stamps = false;
  int64_t granularity_ns = 2'000'000'000;
  bool stable_inodes = false;  // an inode number stays the same over a remount
  // The birth time stays the same too. Not so on overlay, where the first change copies a file or
  // directory up from a lower layer and keeps only its number.
  bool stable_btime = true;
};

struct KernelVersion {
  int major = 0, minor = 0;
  auto operator<=>(const KernelVersion&) const = default;
};

FsTraits fs_traits(uint64_t statfs_magic, KernelVersion kernel);
KernelVersion running_kernel();
Result<FsTraits> fs_traits_of(int fd);  // any descriptor, O_PATH too

}  // namespace holdfast
