// The mounts that this process sees: /proc/self/mountinfo, parsed, and whether it changed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace holdfast {

struct MountPoint {
  std::string path;     // absolute
  std::string fs_type;  // "ext4"
  std::string source;   // "/dev/sda1"
  bool operator==(const MountPoint&) const = default;
};

// Pure. Lines that make no sense are left out; what is mounted later on the same path comes later.
std::vector<MountPoint> parse_mountinfo(std::string_view text);

// One thread.
class MountTable {
 public:
  static Result<MountTable> open();
  // For poll: POLLPRI when the table changed since it was polled last.
  int fd() const { return fd_.get(); }
  bool changed() const;  // asks poll, so that the answer is true once for each change
  Result<std::vector<MountPoint>> read() const;

 private:
  explicit MountTable(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace holdfast
