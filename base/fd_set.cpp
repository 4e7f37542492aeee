#include "base/fd_set.h"

#include <sys/epoll.h>

#include <cerrno>

namespace holdfast {

Result<FdSet> FdSet::create() {
  Fd fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd) return errno_error(errno, "making an epoll descriptor");
  return FdSet(std::move(fd));
}

Status FdSet::add(int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return errno_error(errno, "polling a descriptor");
  }
  return {};
}

}  // namespace holdfast
