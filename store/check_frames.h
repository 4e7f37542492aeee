// FrameChecks: worker threads that read frames in full: checksum, decompression, and the id of each
// chunk computed again. Frames are added and their answers taken by one thread, in the same order.
// Memory is bounded by what full() says, and by one decompressed frame for each worker.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "store/frame.h"

namespace holdfast {

struct FrameToCheck {
  uint32_t pack = 0;
  uint64_t at = 0;  // its offset in the pack
  FrameHeader header;
  std::string bytes;                    // all of it
  std::optional<uint64_t> batch_start;  // of a journal frame, where it is known
};

struct FrameAnswer {
  FrameToCheck frame;                 // without its bytes
  std::vector<std::string> findings;  // what is wrong with it
  std::vector<ChunkInFrame> chunks;   // of a data frame that could be decoded
};

// Of any frame but a footer. Pure, but for the decompressor's scratch.
FrameAnswer check_frame_bytes(const ChunkKey& key, FrameToCheck frame, Decompressor& decompressor);

class FrameChecks {
 public:
  FrameChecks(const ChunkKey& key, size_t workers) : key_(key), workers_(workers) {}
  ~FrameChecks();  // drops what was not taken
  FrameChecks(const FrameChecks&) = delete;
  FrameChecks& operator=(const FrameChecks&) = delete;

  void add(FrameToCheck frame);       // the workers begin with the first one
  bool full() const;                  // then take() before the next add()
  std::optional<FrameAnswer> take();  // waits for the oldest; nullopt: none is left

 private:
  struct Slot {
    FrameToCheck frame;
    uint64_t bytes = 0;
    std::optional<FrameAnswer> answer;
  };
  void work();

  const ChunkKey key_;
  const size_t workers_;
  mutable std::mutex mutex_;
  std::condition_variable work_there_, answer_there_;
  std::deque<Slot> slots_;  // added and not yet taken; pushing and popping moves no other
  size_t begun_ = 0;        // the first of them, that a worker has or had
  uint64_t bytes_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace holdfast
