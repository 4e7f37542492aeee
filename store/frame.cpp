#include "store/frame.h"

#include "base/bytes.h"
#include "base/hash.h"

namespace holdfast {

namespace {

constexpr uint16_t kFrameFormat = 1;
constexpr uint8_t kCodecRaw = 0;
constexpr uint8_t kCodecZstd = 1;
constexpr size_t kHeaderChecksumAt = 40;  // the checksum covers what is before it

Error damaged_frame(const char* why) { return make_error(ErrorCode::kDamaged, why); }

void put_header(std::string& out, const FrameHeader& header) {
  const size_t start = out.size();
  put_le<uint32_t>(out, kFrameMagic);
  put_le<uint8_t>(out, static_cast<uint8_t>(header.type));
  put_le<uint8_t>(out, header.compressed ? kCodecZstd : kCodecRaw);
  put_le<uint16_t>(out, kFrameFormat);
  put_le<uint32_t>(out, header.raw_bytes);
  put_le<uint32_t>(out, header.stored_bytes);
  put_le<uint32_t>(out, header.entries);
  put_le<uint32_t>(out, 0);
  put_le<uint64_t>(out, header.body_checksum);
  put_le<uint64_t>(out, 0);
  put_le<uint64_t>(out, xxh3_64(std::string_view(out).substr(start, kHeaderChecksumAt)));
}

void put_table(std::string& out, const std::vector<ChunkInFrame>& chunks) {
  for (const ChunkInFrame& chunk : chunks) {
    char entry[kChunkTableEntryBytes] = {};
    std::memcpy(entry, chunk.id.bytes.data(), chunk.id.bytes.size());
    set_le<uint32_t>(entry + 32, chunk.bytes);
    entry[36] = static_cast<char>(chunk.kind);
    out.append(entry, sizeof entry);
  }
}

Status check_bounds(const FrameHeader& header) {
  const bool has_table = header.type == FrameType::kData;
  if (header.raw_bytes > kFrameRawBytesMax)
    return damaged_frame("the frame claims to be too large");
  if (header.stored_bytes > header.raw_bytes) {
    return damaged_frame("the frame claims to be larger than its content");
  }
  if (!header.compressed && header.stored_bytes != header.raw_bytes) {
    return damaged_frame("the frame's sizes contradict each other");
  }
  if (has_table && (header.entries == 0 || header.entries > kFrameEntriesMax)) {
    return damaged_frame("the frame has an impossible number of chunks");
  }
  if (!has_table && header.entries != 0) {
    return damaged_frame("the frame has chunks where there can be none");
  }
  return {};
}

// The chunks of a frame, whose sizes must add up to the payload.
Result<std::vector<ChunkInFrame>> decode_table(const FrameHeader& header, std::string_view body) {
  std::vector<ChunkInFrame> chunks(header.entries);
  ByteReader in(body.substr(0, header.entries * kChunkTableEntryBytes));
  uint64_t sum = 0;
  for (ChunkInFrame& chunk : chunks) {
    in.copy_to(chunk.id.bytes.data(), chunk.id.bytes.size());
    chunk.bytes = in.le<uint32_t>();
    const uint32_t kind = in.le<uint32_t>();  // with the three reserved bytes
    if (kind > static_cast<uint32_t>(ChunkKind::kRecipe)) {
      return damaged_frame("the frame has a chunk of an unknown kind");
    }
    chunk.kind = static_cast<ChunkKind>(kind);
    sum += chunk.bytes;
  }
  if (in.failed()) return damaged_frame("the frame ends within its table");
  if (header.type == FrameType::kData && sum != header.raw_bytes) {
    return damaged_frame("the frame's chunks do not add up to its size");
  }
  return chunks;
}

// The header of a frame that is all there and whose body is what was written.
Result<FrameHeader> verify_whole(std::string_view bytes) {
  TRY_ASSIGN(const FrameHeader header, decode_frame_header(bytes));
  if (bytes.size() != header.frame_bytes()) {
    return damaged_frame("the frame does not have the size that its header says");
  }
  if (xxh3_64(bytes.substr(kFrameHeaderBytes)) != header.body_checksum) {
    return damaged_frame("the frame's checksum does not fit its bytes");
  }
  return header;
}

}  // namespace

std::string encode_frame(FrameType type, const std::vector<ChunkInFrame>& chunks,
                         std::string_view raw, Compressor& compressor) {
  CHECK(raw.size() <= kFrameRawBytesMax);
  const std::string_view compressed = compressor.compress_view(raw);
  const std::string_view payload = compressed.empty() ? raw : compressed;
  FrameHeader header;
  header.type = type;
  header.compressed = !compressed.empty();
  header.raw_bytes = static_cast<uint32_t>(raw.size());
  header.stored_bytes = static_cast<uint32_t>(payload.size());
  header.entries = static_cast<uint32_t>(chunks.size());
  CHECK(check_bounds(header).ok());

  std::string out;
  out.reserve(header.frame_bytes());
  out.append(kFrameHeaderBytes, '\0');
  put_table(out, chunks);
  out.append(payload);
  header.body_checksum = xxh3_64(std::string_view(out).substr(kFrameHeaderBytes));
  std::string head;
  put_header(head, header);
  std::memcpy(out.data(), head.data(), head.size());
  return out;
}

Result<FrameHeader> decode_frame_header(std::string_view bytes) {
  if (bytes.size() < kFrameHeaderBytes) return damaged_frame("the frame ends within its header");
  ByteReader in(bytes.substr(0, kFrameHeaderBytes));
  if (in.le<uint32_t>() != kFrameMagic)
    return damaged_frame("there is no frame where one should begin");
  const uint64_t checksum = get_le<uint64_t>(bytes.data() + kHeaderChecksumAt);
  if (xxh3_64(bytes.substr(0, kHeaderChecksumAt)) != checksum) {
    return damaged_frame("the checksum of the frame's header does not fit it");
  }
  const uint8_t type = in.le<uint8_t>();
  const uint8_t codec = in.le<uint8_t>();
  const uint16_t format = in.le<uint16_t>();
  if (format != kFrameFormat) {
    return make_error(ErrorCode::kUnsupported, "the frame has format " + std::to_string(format) +
                                                   "; this version of holdfast knows format 1");
  }
  FrameHeader header;
  header.raw_bytes = in.le<uint32_t>();
  header.stored_bytes = in.le<uint32_t>();
  header.entries = in.le<uint32_t>();
  const uint32_t reserved = in.le<uint32_t>();
  header.body_checksum = in.le<uint64_t>();
  if (reserved != 0 || in.le<uint64_t>() != 0) return damaged_frame("reserved bytes are in use");
  if (type < 1 || type > 4) return damaged_frame("the frame is of an unknown type");
  if (codec > kCodecZstd) return damaged_frame("the frame's compression is unknown");
  header.type = static_cast<FrameType>(type);
  header.compressed = codec == kCodecZstd;
  TRY(check_bounds(header));
  return header;
}

Result<DecodedFrame> decode_frame(std::string_view bytes, Decompressor& decompressor) {
  DecodedFrame frame;
  TRY_ASSIGN(frame.header, verify_whole(bytes));
  const std::string_view body = bytes.substr(kFrameHeaderBytes);
  TRY_ASSIGN(frame.chunks, decode_table(frame.header, body));
  const std::string_view payload = body.substr(frame.header.entries * kChunkTableEntryBytes);
  if (frame.header.compressed) {
    TRY_ASSIGN(frame.raw, decompressor.decompress(payload, frame.header.raw_bytes));
  } else {
    frame.raw = payload;
  }
  return frame;
}

Result<std::vector<ChunkInFrame>> decode_unverified_table(const FrameHeader& header,
                                                          std::string_view bytes) {
  if (bytes.size() < kFrameHeaderBytes) return damaged_frame("the frame ends within its header");
  return decode_table(header, bytes.substr(kFrameHeaderBytes));
}

Result<std::vector<ChunkInFrame>> decode_frame_table(std::string_view bytes) {
  TRY_ASSIGN(const FrameHeader header, verify_whole(bytes));
  return decode_table(header, bytes.substr(kFrameHeaderBytes));
}

}  // namespace holdfast
