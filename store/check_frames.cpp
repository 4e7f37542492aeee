#include "store/check_frames.h"

#include <utility>

#include "store/pack_format.h"

namespace holdfast {

namespace {

constexpr uint64_t kBytesMax = 8ull * 1024 * 1024;

void check_ids(const ChunkKey& key, const DecodedFrame& frame, FrameAnswer& answer) {
  size_t start = 0;
  for (const ChunkInFrame& chunk : frame.chunks) {
    const std::string_view bytes = std::string_view(frame.raw).substr(start, chunk.bytes);
    start += chunk.bytes;
    if (chunk_id(key, bytes) == chunk.id) continue;
    answer.findings.push_back("the bytes of chunk " +
                              to_hex(chunk.id.bytes.data(), chunk.id.bytes.size()) +
                              " are not those of its id");
  }
}

// Words where the frame's records are not what was written.
std::optional<std::string> batch_flaw(const ChunkKey& key, const FrameToCheck& frame,
                                      std::string_view payload) {
  if (frame.header.type == FrameType::kBatches) {
    const auto batches = decode_batches(key, frame.pack, frame.at, payload);
    return batches.ok() ? std::nullopt : std::optional(batches.error().message);
  }
  const auto batch = decode_batch(key, frame.pack, frame.at, payload);
  if (!batch.ok()) return batch.error().message;
  if (frame.batch_start && batch->first_offset != *frame.batch_start) {
    return "the journal frame does not fit the frames before it";
  }
  return std::nullopt;
}

}  // namespace

FrameAnswer check_frame_bytes(const ChunkKey& key, FrameToCheck frame, Decompressor& decompressor) {
  FrameAnswer answer;
  const std::string bytes = std::exchange(frame.bytes, {});
  answer.frame = std::move(frame);
  const FrameHeader& header = answer.frame.header;
  auto decoded = decode_frame(bytes, decompressor);
  if (!decoded.ok()) {
    answer.findings.push_back((header.type == FrameType::kData
                                   ? std::to_string(header.entries) + " chunks are lost: "
                                   : "a batch of records is lost: ") +
                              decoded.error().message);
  } else if (header.type == FrameType::kData) {
    check_ids(key, *decoded, answer);
    answer.chunks = std::move(decoded->chunks);
  } else if (auto flaw = batch_flaw(key, answer.frame, decoded->raw)) {
    answer.findings.push_back(std::move(*flaw));
  }
  return answer;
}

FrameChecks::~FrameChecks() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_there_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void FrameChecks::add(FrameToCheck frame) {
  while (threads_.size() < workers_) threads_.emplace_back([this] { work(); });
  {
    const std::lock_guard lock(mutex_);
    const uint64_t bytes = frame.bytes.size();
    bytes_ += bytes;
    slots_.push_back({std::move(frame), bytes, {}});
  }
  work_there_.notify_one();
}

bool FrameChecks::full() const {
  const std::lock_guard lock(mutex_);
  return bytes_ >= kBytesMax;
}

std::optional<FrameAnswer> FrameChecks::take() {
  std::unique_lock lock(mutex_);
  if (slots_.empty()) return std::nullopt;
  answer_there_.wait(lock, [&] { return slots_.front().answer.has_value(); });
  std::optional<FrameAnswer> answer = std::move(slots_.front().answer);
  bytes_ -= slots_.front().bytes;
  slots_.pop_front();
  --begun_;
  return answer;
}

void FrameChecks::work() {
  Decompressor decompressor;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_there_.wait(lock, [&] { return stopping_ || begun_ < slots_.size(); });
    if (stopping_) return;
    Slot& slot = slots_[begun_++];
    lock.unlock();
    FrameAnswer answer = check_frame_bytes(key_, std::move(slot.frame), decompressor);
    lock.lock();
    slot.answer = std::move(answer);
    if (&slot == &slots_.front()) answer_there_.notify_one();
  }
}

}  // namespace holdfast
