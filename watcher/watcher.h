// Watcher: tells where to look. The contract that inotify, fanotify and polling share.
//
// Hints say where something may have happened, never what: kernels merge and reorder events.
// Everything that finished before drain() was called has its hint delivered by that drain() (both
// kernel interfaces queue inside the modifying system call), which is why flush needs no cookie
// file in the user's tree. Directories are known by the NodeId the caller gave them, so a renamed
// directory needs no update here. One thread: the loop's. The fd becomes readable when drain() has
// something to deliver.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace holdfast {

enum class HintKind : uint8_t {
  kEntry,     // something about `name` in `dir`
  kSelf,      // the directory's own attributes
  kDirGone,   // the directory was deleted, moved or unmounted; if `unwatched`, its watch ended
  kOverflow,  // events were lost: everything may have changed
  kSweep,     // time to look at everything; nothing was lost, this backend is told nothing
};

enum HintWhat : uint8_t {
  kWhatCreated = 1,   // or moved in
  kWhatRemoved = 2,   // or moved out
  kWhatModified = 4,  // written to, a writer may still have it open
  kWhatClosed = 8,    // closed after writing: a good moment to capture
  kWhatAttributes = 16,
  kWhatMoved = 32,  // created/removed is one half of a rename; `cookie` pairs the halves
};

struct Hint {
  HintKind kind = HintKind::kEntry;
  NodeId dir;
  std::string_view name;  // valid during the callback
  uint8_t what = 0;
  bool is_dir = false;
  bool unwatched = false;
  uint32_t cookie = 0;
};
inline Hint overflow_hint() {
  Hint hint;
  hint.kind = HintKind::kOverflow;
  return hint;
}

class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual const char* backend() const = 0;  // "inotify", "fanotify", "poll"
  virtual int fd() const = 0;               // for poll; owned by the watcher
  // Watches one directory (not its children), open as `dir_fd` (O_PATH will do). Adding a directory
  // again under another id moves the watch to that id. kNoSpace: the watch limit is reached; the
  // message says how to raise it.
  virtual Status add_dir(NodeId dir, int dir_fd) = 0;
  virtual void remove_dir(NodeId dir) = 0;     // unknown ids are ignored
  virtual bool watches(NodeId dir) const = 0;  // false: what happened in it was not told
  virtual size_t dir_count() const = 0;
  // The next drain() must cover all that happened until now. Nothing to do where the kernel tells.
  virtual void ask() {}
  // Reads events until the kernel has none left (EAGAIN) and hands each on, in order.
  virtual Status drain(const std::function<void(const Hint&)>& sink) = 0;
  // To be called after a drain() and before anything is looked at of which it told: until then,
  // more writes to the same file need not be told. An error: of some files nothing may have been
  // told since the last call.
  virtual Status rearm() { return {}; }
};

}  // namespace holdfast
