// Compressor and Decompressor: the owners of zstd's contexts. Nothing else includes <zstd.h>.

#include <zstd.h>

#include <algorithm>

#include "store/frame.h"

namespace holdfast {

namespace {

constexpr size_t kProbeBytes = 64 * 1024;
constexpr size_t kSampleBytes = 8 * 1024;

// The most that `raw_bytes` may take up compressed and still save 3 %.
size_t worthwhile_bytes(size_t raw_bytes) { return raw_bytes - (raw_bytes * 3 + 99) / 100; }

}  // namespace

Compressor::Compressor(int level) : context_(ZSTD_createCCtx()), level_(level) {
  CHECK(context_ != nullptr);
}
Compressor::~Compressor() = default;
void Compressor::Free::operator()(ZSTD_CCtx_s* context) const { ZSTD_freeCCtx(context); }

size_t Compressor::compress_into_scratch(std::string_view raw, size_t bytes_max) {
  if (scratch_bytes_ < bytes_max) {
    scratch_ = std::make_unique_for_overwrite<char[]>(bytes_max);
    scratch_bytes_ = bytes_max;
  }
  const size_t size =
      ZSTD_compressCCtx(context_.get(), scratch_.get(), bytes_max, raw.data(), raw.size(), level_);
  return ZSTD_isError(size) ? 0 : size;  // the only error to expect: it did not fit
}

std::string_view Compressor::compress_view(std::string_view raw) {
  if (raw.size() > kProbeBytes) {
    // Most input shows in its first bytes that it is worth the effort. Only the rest is asked for
    // more: what is compressed for the probe is compressed twice.
    const auto saves = [&](size_t bytes) {
      return compress_into_scratch(raw.substr(0, bytes), worthwhile_bytes(bytes)) != 0;
    };
    if (!saves(kSampleBytes) && !saves(kProbeBytes)) return {};
  }
  const size_t bytes_max = worthwhile_bytes(raw.size());
  if (bytes_max == 0) return {};
  const size_t size = compress_into_scratch(raw, bytes_max);  // may replace the buffer
  return {scratch_.get(), size};
}

bool Compressor::compress(std::string_view raw, std::string& out) {
  const std::string_view compressed = compress_view(raw);
  if (compressed.empty()) return false;
  out.assign(compressed);
  return true;
}

Decompressor::Decompressor() : context_(ZSTD_createDCtx()) { CHECK(context_ != nullptr); }
Decompressor::~Decompressor() = default;
void Decompressor::Free::operator()(ZSTD_DCtx_s* context) const { ZSTD_freeDCtx(context); }

Result<std::string> Decompressor::decompress(std::string_view stored, uint32_t raw_bytes) {
  // Asked before anything is allocated. CONTENTSIZE_UNKNOWN and _ERROR are larger than any size.
  if (ZSTD_getFrameContentSize(stored.data(), stored.size()) != raw_bytes) {
    return make_error(ErrorCode::kDamaged, "the compressed data does not have the size it should");
  }
  std::string raw(raw_bytes, '\0');
  const size_t size =
      ZSTD_decompressDCtx(context_.get(), raw.data(), raw.size(), stored.data(), stored.size());
  if (ZSTD_isError(size)) {
    return make_error(ErrorCode::kDamaged,
                      std::string("the data cannot be decompressed: ") + ZSTD_getErrorName(size));
  }
  if (size != raw_bytes) {
    return make_error(ErrorCode::kDamaged, "the compressed data ends too soon");
  }
  return raw;
}

}  // namespace holdfast
