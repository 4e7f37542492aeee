// Conditions that only a file system of one's own can show: small disks of several types, mounts
// over what is watched, a device under a mounted file system whose bits flip.
//
// All mounts are made in a mount namespace of this test program, so that they are gone with it,
// however it ends. A service sees them only when it was started after the namespace was entered.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/holdfast_run.h"

namespace holdfast {

// Mounts made from now on are seen by this program and its children alone. Once is enough.
void enter_mount_namespace();

// One mount(2), undone at the end.
class Mount {
 public:
  Mount(const std::string& source, const std::string& target, const std::string& type,
        unsigned long flags = 0, const std::string& options = "");
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;
  const std::string& path() const { return target_; }

 private:
  std::string target_;
};

Mount mount_tmpfs(const std::string& target);
Mount mount_bind(const std::string& from, const std::string& target);

// An overlay with an upper and a lower layer, which a test may look into.
class OverlayMount {
 public:
  OverlayMount(const WorkDir& work, const std::string& name);
  const std::string& lower() const { return lower_; }
  const std::string& upper() const { return upper_; }
  const std::string& path() const { return mount_.path(); }

 private:
  std::string lower_, upper_;
  Mount mount_;
};

// A file system of its own in a file: ext4, ext3, xfs or btrfs. xfs wants 300 MiB, btrfs 110 MiB.
class LoopMount {
 public:
  LoopMount(const WorkDir& work, const std::string& name, uint64_t bytes,
            std::string type = "ext4");
  ~LoopMount();
  LoopMount(const LoopMount&) = delete;
  LoopMount& operator=(const LoopMount&) = delete;
  const std::string& path() const { return path_; }
  void unmount();  // what has files open there keeps it alive
  void mount();    // again

  // Flips one bit of a file behind the file system's back: no event, no stamp moves, and what the
  // page cache holds of the file stays. ext4 and xfs. Returns the byte as the disk has it now.
  uint8_t flip_bit(const std::string& file, uint64_t offset) const;
  // Gives a file another size behind the file system's back, unmounting it meanwhile: no stamp
  // moves. ext4.
  void set_size(const std::string& file, uint64_t bytes);

 private:
  std::string device() const;
  const std::string image_, path_, type_;
};

// A block device whose bytes are those of a file: writes to it change the file, and no event says
// so.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& file);
  ~LoopDevice();
  LoopDevice(const LoopDevice&) = delete;
  LoopDevice& operator=(const LoopDevice&) = delete;
  void write(const std::string& bytes, uint64_t offset) const;  // durable in the file on return

 private:
  std::string device_;
};

// Runs a shell script in a second mount namespace, as a program in another container would run.
void run_in_other_namespace(const std::string& script);

// One byte of a file, through the page cache and past it. The second drops the file's pages first,
// so that it must not be dirty.
uint8_t cached_byte(const std::string& path, uint64_t offset);
uint8_t byte_on_disk(const std::string& path, uint64_t offset);

}  // namespace holdfast
