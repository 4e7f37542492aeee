// InotifyWatcher: the Watcher that needs no privilege; one kernel watch a directory.
//
// Watch descriptors belong to inodes: adding the inode again under another id moves the watch, and
// a directory that is renamed keeps it. Descriptor numbers are handed out in a cycle and the kernel
// does not check for unread events of an earlier owner (inotify(7), BUGS), so events of a removed
// watch are dropped until its IN_IGNORED has been read.
// A directory's own deletion is told when its last descriptor is closed; its parent's event comes
// at once. Owns the inotify descriptor. One thread: the loop's. The sink may add and remove
// directories, but not drain.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

#include "base/fd.h"
#include "watcher/inotify_decode.h"
#include "watcher/watch_table.h"
#include "watcher/watcher.h"

namespace holdfast {

class InotifyWatcher final : public Watcher {
 public:
  // kUnsupported: no inotify here. EMFILE: the message says which limit and how to raise it.
  static Result<std::unique_ptr<InotifyWatcher>> create();

  const char* backend() const override { return "inotify"; }
  int fd() const override { return fd_.get(); }
  Status add_dir(NodeId dir, int dir_fd) override;
  void remove_dir(NodeId dir) override;
  bool watches(NodeId dir) const override { return watches_.wd_of(dir).has_value(); }
  size_t dir_count() const override { return watches_.size(); }
  // Stops before EAGAIN only when it has delivered more events than the kernel's queue can hold:
  // all that was there at the call is then done, and a writer that never rests cannot keep the loop
  // in here.
  Status drain(const std::function<void(const Hint&)>& sink) override;

  size_t memory_bytes() const;  // of the tables, for measurements

 private:
  using Sink = std::function<void(const Hint&)>;
  InotifyWatcher(Fd fd, uint64_t queue_events_max);
  Result<bool> read_once(const Sink& sink, uint64_t& delivered);  // false: EAGAIN
  void deliver(const InotifyEvent& event, const Sink& sink);
  void unwatch(int32_t wd);

  Fd fd_;
  uint64_t queue_events_max_;
  WatchTable watches_;
  std::unordered_set<int32_t> retired_;  // removed, IN_IGNORED not read yet
  std::vector<char> buffer_;
  bool draining_ = false;
};

}  // namespace holdfast
