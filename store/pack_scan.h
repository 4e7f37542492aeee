// PackScan: walks through a pack's frames, and finds its way again after damage. One thread; the
// storage must outlive it. Memory is bounded by one frame and the read-ahead.
//
// An Error from here means that the storage could not be read. Bytes that are not what they should
// be are no error but an answer (Found::damage): the caller decides what they mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "store/frame.h"
#include "store/pack_format.h"
#include "store/pack_storage.h"

namespace holdfast {

class PackScan {
 public:
  // Looks at the first `pack_bytes` of the pack. `read_ahead_bytes`: large to read everything,
  // small to walk from header to header.
  PackScan(PackStorage& storage, uint32_t pack, uint64_t pack_bytes, size_t read_ahead_bytes);

  uint32_t pack() const { return pack_; }
  std::string name() const { return storage_.name(pack_); }
  uint64_t pack_bytes() const { return pack_bytes_; }

  // Up to `size` bytes at `offset`, fewer where the pack ends. Valid until the next call of
  // anything here.
  Result<std::string_view> bytes_at(uint64_t offset, uint64_t size);

  template <class T>
  struct Found {
    std::optional<T> value;
    Error damage;  // where there is no value
  };
  Result<Found<FrameHeader>> header_at(uint64_t offset);
  // All bytes of the frame, which the header promised and the pack has.
  Result<Found<std::string_view>> frame_at(uint64_t offset, const FrameHeader& header);
  // The first offset at or after `from` where a frame's magic and a valid header stand.
  Result<std::optional<uint64_t>> find_header(uint64_t from);

 private:
  PackStorage& storage_;
  const uint32_t pack_;
  const uint64_t pack_bytes_;
  const size_t read_ahead_bytes_;
  std::string window_;
  uint64_t window_offset_ = 0;
};

inline constexpr size_t kReadAheadAllBytes = 1024 * 1024;
inline constexpr size_t kReadAheadHeaderBytes = 4096;

}  // namespace holdfast
