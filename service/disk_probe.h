// DiskProbe: asks for the free space of file systems that may not answer.
//
// What hangs in one (its server is gone, the program behind a FUSE mount is stopped) cannot be
// called off. So each path is asked on a thread of its own, which is left to itself where it takes
// too long, and on one only: who asks again meanwhile waits for the same answer. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/fs.h"

namespace holdfast {

struct Disk {
  uint64_t device = 0;  // its number (st_dev)
  FreeSpace space;
};

class DiskProbe {
 public:
  using Ask = std::function<Result<Disk>(const std::string& path)>;
  DiskProbe();
  explicit DiskProbe(Ask ask) : ask_(std::move(ask)) {}

  // In the order of the paths, within the time for all of them; kBusy where one does not answer.
  std::vector<Result<Disk>> ask_all(const std::vector<std::string>& paths, int64_t timeout_ns);
  Result<Disk> ask(const std::string& path, int64_t timeout_ns) {
    return std::move(ask_all({path}, timeout_ns)[0]);
  }

 private:
  struct Question;
  std::shared_ptr<Question> question_of(const std::string& path);

  const Ask ask_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Question>> open_;
};

}  // namespace holdfast
