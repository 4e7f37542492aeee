// MappedWriter: a process that has a file mapped, and stores into the mapping when it is told.
//
// The kernel tells nobody of a store: that is the point. Every call returns when the process has
// done what it was told, so that a test can put a flush between two stores.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.h"

namespace holdfast {

class MappedWriter {
 public:
  // Maps the first `size` bytes, shared and writable; the file must have them.
  MappedWriter(const std::string& path, size_t size);
  ~MappedWriter();  // the process ends, and the mapping with it
  MappedWriter(const MappedWriter&) = delete;
  MappedWriter& operator=(const MappedWriter&) = delete;

  void store(uint64_t offset, char byte) { ask('s', offset, byte); }
  void sync() { ask('m', 0, 0); }        // msync: stamps move with the next store after it
  void close_file() { ask('c', 0, 0); }  // the descriptor; the mapping goes on
  void unmap() { ask('u', 0, 0); }
  pid_t pid() const { return pid_; }

 private:
  void ask(char what, uint64_t offset, char byte);
  pid_t pid_ = -1;
  Fd socket_;
};

}  // namespace holdfast
