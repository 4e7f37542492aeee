#include "base/stamp_probe.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fs.h"

namespace holdfast {

Result<StampProbe> StampProbe::create(const std::string& path) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error(errno, "making the file that is to show the file system's clock");
  return StampProbe(std::move(fd), path);
}

StampProbe::~StampProbe() {
  if (fd_.valid()) ::unlink(path_.c_str());
}

Result<int64_t> StampProbe::stamp_ns() const {
  // Another size takes no block, so that a full disk is no hindrance, and the one who keeps the
  // inode says when it was: on a network file system that is the server.
  TRY_ASSIGN(const StatxResult before, statx_fd(fd_.get()));
  if (::ftruncate(fd_.get(), before.size == 0 ? 1 : 0) != 0) {
    return errno_error(errno, "having the file system stamp " + path_);
  }
  TRY_ASSIGN(const StatxResult after, statx_fd(fd_.get()));
  return after.mtime_ns;
}

}  // namespace holdfast
