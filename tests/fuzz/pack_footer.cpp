// Header, footer, trailer and batch of a pack, as they are and again with checksums and seals that
// fit.
#include <cstdint>
#include <cstring>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "store/pack_format.h"

using namespace holdfast;

namespace {

const ChunkKey kKey{};
constexpr uint32_t kPack = 1;
constexpr uint64_t kOffset = 100'000;

void decode(std::string_view bytes) {
  if (const auto header = decode_pack_header(bytes); header.ok()) {
    static_cast<void>(check_pack_identity(*header, PackHeader{}).ok());
  }
  static_cast<void>(decode_pack_trailer(bytes).ok());
  if (const auto frames = decode_footer(kKey, kPack, kOffset, bytes); frames.ok()) {
    uint64_t end = kPackHeaderBytes;
    for (const FrameInPack& frame : *frames) {
      CHECK(frame.offset >= end);
      end = uint64_t{frame.offset} + frame.frame_bytes;
    }
    CHECK(end <= kOffset);
    CHECK(encode_footer(kKey, kPack, kOffset, *frames) == bytes);
  }
  if (const auto batch = decode_batch(kKey, kPack, kOffset, bytes); batch.ok()) {
    CHECK(encode_batch(kKey, kPack, kOffset, *batch) == bytes);
  }
}

// The seal that encode_footer() or encode_batch() would write: 16 bytes, over type, place and the
// rest.
void fix_seal(std::string& bytes, FrameType type) {
  std::string place = "holdfast place ";
  put_le<uint8_t>(place, static_cast<uint8_t>(type));
  put_le<uint32_t>(place, kPack);
  put_le<uint64_t>(place, kOffset);
  const auto seal = chain_link(kKey, place, std::string_view(bytes).substr(16));
  std::memcpy(bytes.data(), seal.data(), seal.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  decode(bytes);
  if (bytes.size() >= kPackHeaderBytes) {
    std::string header = bytes;
    std::memcpy(header.data(), "HFPACK\0\1", 8);
    set_le<uint64_t>(header.data() + 120, xxh3_64(std::string_view(header).substr(0, 120)));
    decode(header);
  }
  if (bytes.size() < 16) return 0;
  for (const FrameType type : {FrameType::kFooter, FrameType::kJournal}) {
    fix_seal(bytes, type);
    decode(bytes);
  }
  return 0;
}
