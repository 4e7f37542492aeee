// FdSet: several descriptors behind one, which is readable while one of them is (epoll).
//
// For who has to give a loop its descriptors before it knows all of them. A descriptor that is
// closed leaves the set by itself. One thread.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace holdfast {

class FdSet {
 public:
  static Result<FdSet> create();
  Status add(int fd);  // stays the caller's
  int fd() const { return fd_.get(); }

 private:
  explicit FdSet(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace holdfast
