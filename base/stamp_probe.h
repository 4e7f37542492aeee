// StampProbe: a file of ours whose times the file system sets, to see what its clock says. Blocking
// calls; one owner.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace holdfast {

class StampProbe {
 public:
  // Makes `path`, or takes the one that is there. It is removed again by the destructor.
  static Result<StampProbe> create(const std::string& path);
  StampProbe(StampProbe&&) = default;
  StampProbe& operator=(StampProbe&&) = default;
  ~StampProbe();
  // Has the file system set the file's mtime to its own now, and returns that.
  Result<int64_t> stamp_ns() const;

 private:
  StampProbe(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::string path_;
};

}  // namespace holdfast
