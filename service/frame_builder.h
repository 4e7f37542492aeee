// FrameBuilder: groups chunks into frames as they come. One thread; owned by a Capturer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/store.h"

namespace holdfast {

inline constexpr int kCaptureLevel = 3;  // of compression, of what comes in

class FrameBuilder {
 public:
  explicit FrameBuilder(Compressor& compressor) : compressor_(compressor) {}

  // Adds a copy of the chunk; finished frames appear in frames().
  void add(const ChunkId& id, ChunkKind kind, std::string_view bytes) {
    if (!raw_.empty() && raw_.size() + bytes.size() > kFrameTargetBytes) finish();
    raw_.append(bytes);
    chunks_.push_back({id, static_cast<uint32_t>(bytes.size()), kind});
    if (raw_.size() >= kFrameTargetBytes || chunks_.size() >= kFrameEntriesMax) finish();
  }
  void finish() {
    if (chunks_.empty()) return;
    NewFrame frame;
    frame.bytes = encode_frame(FrameType::kData, chunks_, raw_, compressor_);
    frame.chunks = std::move(chunks_);
    frames_.push_back(std::move(frame));
    chunks_.clear();
    raw_.clear();
  }
  // Takes the finished frames.
  std::vector<NewFrame> take() {
    std::vector<NewFrame> taken = std::move(frames_);
    frames_.clear();
    return taken;
  }
  size_t finished_bytes() const {
    size_t bytes = 0;
    for (const NewFrame& frame : frames_) bytes += frame.bytes.size();
    return bytes;
  }

 private:
  Compressor& compressor_;
  std::string raw_;
  std::vector<ChunkInFrame> chunks_;
  std::vector<NewFrame> frames_;
};

}  // namespace holdfast
