// PollWatcher: the Watcher for where the kernel tells nothing: it asks for a look at everything,
// again and again.
//
// Never an overflow: nothing was promised, so nothing was lost. Owns a timer descriptor; keeps
// nothing of a directory. One thread: the loop's.
#pragma once

#include <cstdint>
#include <memory>

#include "base/fd.h"
#include "watcher/watcher.h"

namespace holdfast {

class PollWatcher final : public Watcher {
 public:
  static Result<std::unique_ptr<PollWatcher>> create(int64_t interval_ns);

  const char* backend() const override { return "poll"; }
  int fd() const override { return fd_.get(); }
  Status add_dir(NodeId dir, int dir_fd) override;  // refuses what is no directory
  void remove_dir(NodeId) override {}
  bool watches(NodeId) const override { return true; }  // each sweep covers all
  size_t dir_count() const override { return 0; }
  void ask() override;
  Status drain(const std::function<void(const Hint&)>& sink) override;

 private:
  PollWatcher(Fd fd, int64_t interval_ns) : fd_(std::move(fd)), interval_ns_(interval_ns) {}
  bool set_timer(int64_t first_ns);

  Fd fd_;
  int64_t interval_ns_;
  bool asked_ = false;
};

}  // namespace holdfast
