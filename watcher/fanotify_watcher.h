// FanotifyWatcher: the Watcher with one mark for a whole file system, whatever the number of its
// directories, and a queue without a limit.
//
// Events name directories by file handle. Which of ours a handle stands for is remembered for those
// that were told of last; for any other the handle is opened and the caller's resolver asked with
// inode and birth time. A directory that the resolver does not know is none of ours, and its events
// are dropped: also those of a directory that was made a moment ago. Nothing is missed by that as
// long as whoever finds a new directory calls add_dir() before listing it.
// What happens to a directory is told to its parent; only that the root is moved is told for
// itself, because its parent is none of ours. (Its deletion is told when nobody has it open any
// more, and this watcher has: whoever uses it looks whether the root is still there.) Needs
// CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH. Owns the fanotify descriptor and a descriptor of the root,
// which keeps its file system from being unmounted (lazily it can be). A file that is written to
// without a pause is told of until rearm() a few times only (ignore_marks.h). One thread: the
// loop's. The sink may add and remove directories, but not drain.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "watcher/fanotify_decode.h"
#include "watcher/handle_cache.h"
#include "watcher/ignore_marks.h"
#include "watcher/watcher.h"

namespace holdfast {

class FanotifyWatcher final : public Watcher {
 public:
  // The directory with this inode number and birth time, where it is one of ours. `path` gives its
  // present absolute path, for where numbers alone do not tell (btrfs: each subvolume counts its
  // own). An error is told as an overflow, because it may hide a change.
  using Resolver = std::function<Result<std::optional<NodeId>>(
      uint64_t inode, int64_t btime_ns, const std::function<std::string()>& path)>;
  static constexpr size_t kHandlesMax = 8192;  // about 1.5 MB

  // Marks the file system of the open directory, and tries all that will be needed of it. An error
  // says what is missing here and how to get it.
  static Result<std::unique_ptr<FanotifyWatcher>> create(int root_fd, Resolver resolver,
                                                         size_t handles_max = kHandlesMax);

  const char* backend() const override { return "fanotify"; }
  int fd() const override { return fd_.get(); }
  Status add_dir(NodeId dir, int dir_fd) override;
  void remove_dir(NodeId dir) override { handles_.erase(dir); }
  // Wherever a directory that the resolver knows is on the file system, it is told of.
  bool watches(NodeId) const override { return true; }
  size_t dir_count() const override { return handles_.dir_count(); }  // of those remembered
  // Delivers at least all that was queued at the call, and not without end what is queued
  // meanwhile.
  Status drain(const std::function<void(const Hint&)>& sink) override;
  Status rearm() override;
  size_t ignored_count() const { return ignored_.size(); }  // files: see ignore_marks.h

 private:
  using Sink = std::function<void(const Hint&)>;
  FanotifyWatcher(Fd fd, Fd root_fd, Resolver resolver, size_t handles_max);
  Result<size_t> read_once(const Sink& sink);  // events read; 0: none left
  void deliver(const FanotifyEvent& event, const Sink& sink);
  void deliver_place(const FanotifyPlace& place, Hint hint, const Sink& sink);
  void ignore_more(const FanotifyPlace& place);
  Status mark_root();
  Status mark_anew();
  Result<std::optional<NodeId>> dir_of(std::string_view handle);

  Fd fd_, root_fd_;
  Resolver resolver_;
  HandleCache handles_;
  IgnoreMarks ignored_;
  std::vector<char> buffer_;
  uint32_t cookie_ = 0;
  bool draining_ = false;
  bool removed_ = false;  // a name, since the last drain
};

}  // namespace holdfast
