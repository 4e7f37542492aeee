#include "store/pack_scan.h"

#include <algorithm>

#include "base/bytes.h"

namespace holdfast {

PackScan::PackScan(PackStorage& storage, uint32_t pack, uint64_t pack_bytes,
                   size_t read_ahead_bytes)
    : storage_(storage),
      pack_(pack),
      pack_bytes_(pack_bytes),
      read_ahead_bytes_(read_ahead_bytes) {}

Result<std::string_view> PackScan::bytes_at(uint64_t offset, uint64_t size) {
  if (offset >= pack_bytes_) return std::string_view();
  size = std::min(size, pack_bytes_ - offset);
  const bool inside = offset >= window_offset_ && offset + size <= window_offset_ + window_.size();
  if (!inside) {
    const uint64_t wanted = std::max<uint64_t>(size, read_ahead_bytes_);
    TRY_ASSIGN(window_, storage_.read(pack_, offset, std::min(wanted, pack_bytes_ - offset)));
    window_offset_ = offset;
  }
  return std::string_view(window_).substr(offset - window_offset_, size);
}

Result<PackScan::Found<FrameHeader>> PackScan::header_at(uint64_t offset) {
  TRY_ASSIGN(const std::string_view bytes, bytes_at(offset, kFrameHeaderBytes));
  auto header = decode_frame_header(bytes);
  if (!header.ok()) return Found<FrameHeader>{std::nullopt, header.error()};
  return Found<FrameHeader>{*header, {}};
}

Result<PackScan::Found<std::string_view>> PackScan::frame_at(uint64_t offset,
                                                             const FrameHeader& header) {
  TRY_ASSIGN(const std::string_view bytes, bytes_at(offset, header.frame_bytes()));
  if (bytes.size() < header.frame_bytes()) {
    return Found<std::string_view>{
        std::nullopt, make_error(ErrorCode::kDamaged, "the pack ends within the frame")};
  }
  return Found<std::string_view>{bytes, {}};
}

Result<std::optional<uint64_t>> PackScan::find_header(uint64_t from) {
  std::string magic;
  put_le<uint32_t>(magic, kFrameMagic);
  while (from + kFrameHeaderBytes <= pack_bytes_) {
    TRY_ASSIGN(const std::string_view bytes, bytes_at(from, kReadAheadAllBytes));
    for (size_t at = bytes.find(magic); at != std::string_view::npos;
         at = bytes.find(magic, at + 1)) {
      if (at + kFrameHeaderBytes > bytes.size()) break;  // cut off by the window: met again below
      if (decode_frame_header(bytes.substr(at)).ok()) return std::optional<uint64_t>(from + at);
    }
    // The next window begins where a header could begin that this one does not hold completely.
    from += bytes.size() - kFrameHeaderBytes + 1;
  }
  return std::optional<uint64_t>();
}

}  // namespace holdfast
