// Frames, as they are and again with checksums that fit, or the fuzzer would never get past them.
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "store/frame.h"

using namespace holdfast;

namespace {

void decode(std::string_view bytes) {
  Decompressor decompressor;
  static_cast<void>(decode_frame_header(bytes).ok());
  const bool has_table = decode_frame_table(bytes).ok();
  const auto frame = decode_frame(bytes, decompressor);
  if (!frame.ok()) return;
  CHECK(has_table);
  CHECK(frame->raw.size() == frame->header.raw_bytes);
  CHECK(frame->chunks.size() == frame->header.entries);
  uint64_t sum = 0;
  for (const ChunkInFrame& chunk : frame->chunks) sum += chunk.bytes;
  CHECK(frame->header.type != FrameType::kData || sum == frame->raw.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  decode(bytes);
  if (bytes.size() < kFrameHeaderBytes) return 0;
  set_le<uint32_t>(bytes.data(), kFrameMagic);
  set_le<uint16_t>(bytes.data() + 6, 1);
  set_le<uint32_t>(bytes.data() + 20, 0);
  set_le<uint64_t>(bytes.data() + 24, xxh3_64(std::string_view(bytes).substr(kFrameHeaderBytes)));
  set_le<uint64_t>(bytes.data() + 32, 0);
  set_le<uint64_t>(bytes.data() + 40, xxh3_64(std::string_view(bytes).substr(0, 40)));
  decode(bytes);
  // And with a stored size that fits, which is hard to guess too.
  const uint64_t table = uint64_t{get_le<uint32_t>(bytes.data() + 16)} * kChunkTableEntryBytes;
  if (table > bytes.size() - kFrameHeaderBytes) return 0;
  const uint64_t stored = bytes.size() - kFrameHeaderBytes - table;
  set_le<uint32_t>(bytes.data() + 12, static_cast<uint32_t>(stored));
  set_le<uint64_t>(bytes.data() + 40, xxh3_64(std::string_view(bytes).substr(0, 40)));
  decode(bytes);
  return 0;
}
