// IgnoreMarks: files of which enough has been told, so that the kernel need not tell each write.
//
// A program that writes without a pause (a database's log) causes thousands of events a second, and
// each of them wakes whoever reads them, at the writer's cost. Once a file is known to have
// changed, more of the same says nothing new until somebody looks at it. So after kWritesMin reads
// in a row that told of writes to a name, what the name stands for gets an ignore mark for
// FAN_MODIFY (fanotify_mark(2), FAN_MARK_IGNORED_SURV_MODIFY); everything else about it is told as
// before.
//
// clear() has to be called before anything is looked at that was told: then a write is either seen
// by that look, because its data was there before its event would have been, or told. That also
// holds when the name stands for another file by the time of the mark, and when the file is renamed
// meanwhile: each such change is told, and leads to a look of its own after the next clear().
//
// Owns a descriptor of each file that is marked (O_PATH: the close of any other kind would drop the
// process's record locks), kFilesMax at most. Borrows the fanotify descriptor. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace holdfast {

class IgnoreMarks {
 public:
  // A mark costs as much as a few events, so a file that is written once gets none.
  static constexpr unsigned kWritesMin = 8;
  static constexpr size_t kFilesMax = 16;

  explicit IgnoreMarks(int fanotify_fd) : fanotify_fd_(fanotify_fd) {}

  // A write to `name`, in the directory of that handle, was told. True: it is time for add().
  bool count(std::string_view dir_handle, std::string_view name);
  // Where this fails there is no mark, and the writes go on being told. A file of several names
  // gets none: of the names by which others write to it not all need be looked at.
  void add(int dir_fd, const std::string& name);
  // Of files that have no name any more: a mark and a descriptor would keep their space taken.
  Status drop_removed();
  // From now on every write is told. An error: there may be a mark left.
  Status clear();
  size_t size() const { return files_.size(); }

 private:
  struct File {
    Fd fd;
    uint64_t inode = 0;  // of the one file system that is marked
  };

  Status drop(const std::function<bool(const File&)>& which);

  int fanotify_fd_;
  std::vector<File> files_;
  std::array<uint8_t, 256> writes_{};  // by a hash: who shares one is marked sooner
  bool counted_ = false;
};

}  // namespace holdfast
