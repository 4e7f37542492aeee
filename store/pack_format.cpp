#include "store/pack_format.h"

#include "base/bytes.h"

namespace holdfast {

namespace {

constexpr std::string_view kPackMagic("HFPACK\0\1", 8);
constexpr std::string_view kTrailerMagic("HFPKEND\1", 8);
constexpr size_t kPackChecksumAt = kPackHeaderBytes - 8;
constexpr size_t kSealBytes = 16;

// The algorithms of format 1. A new one gets a new number; packs of both may stand side by side.
constexpr uint8_t kChunkIdBlake2b256 = 1;
constexpr uint8_t kContentHashXxh3_128 = 1;
constexpr uint8_t kCompressionZstd = 1;
constexpr uint8_t kChunkerFastCdc = 1;

Error damaged_pack(const std::string& why) { return make_error(ErrorCode::kDamaged, why); }

// Binds a payload to its type, its pack and its place in it.
std::array<uint8_t, kSealBytes> seal_of(const ChunkKey& key, FrameType type, uint32_t pack,
                                        uint64_t offset, std::string_view payload) {
  std::string place = "holdfast place ";
  put_le<uint8_t>(place, static_cast<uint8_t>(type));
  put_le<uint32_t>(place, pack);
  put_le<uint64_t>(place, offset);
  return chain_link(key, place, payload);
}

// A payload is the seal and then what it covers.
std::string with_seal(const ChunkKey& key, FrameType type, uint32_t pack, uint64_t offset,
                      std::string payload) {
  const auto seal = seal_of(key, type, pack, offset, std::string_view(payload).substr(kSealBytes));
  std::memcpy(payload.data(), seal.data(), seal.size());
  return payload;
}

bool seal_fits(const ChunkKey& key, FrameType type, uint32_t pack, uint64_t offset,
               std::string_view payload) {
  const auto seal = seal_of(key, type, pack, offset, payload.substr(kSealBytes));
  return std::memcmp(payload.data(), seal.data(), seal.size()) == 0;
}

}  // namespace

std::string encode_pack_header(const PackHeader& header) {
  std::string out;
  out.reserve(kPackHeaderBytes);
  out.append(kPackMagic);
  put_le<uint32_t>(out, header.format);
  put_le<uint32_t>(out, header.pack);
  out.append(reinterpret_cast<const char*>(header.repository_id.data()),
             header.repository_id.size());
  put_le<int64_t>(out, header.repository_created_ns);
  out.append(reinterpret_cast<const char*>(header.key.data()), header.key.size());
  put_le<uint8_t>(out, kChunkIdBlake2b256);
  put_le<uint8_t>(out, kContentHashXxh3_128);
  put_le<uint8_t>(out, kCompressionZstd);
  put_le<uint8_t>(out, kChunkerFastCdc);
  put_le<uint32_t>(out, header.first);
  put_le<uint32_t>(out, header.last);
  out.append(kPackChecksumAt - out.size(), '\0');
  put_le<uint64_t>(out, xxh3_64(out));
  return out;
}

// Magic, format and checksum stay where they are in every future format, so the checksum comes
// first: a flipped bit in the format's number must not be reported as a newer format.
Result<PackHeader> decode_pack_header(std::string_view bytes) {
  if (bytes.size() < kPackHeaderBytes) return damaged_pack("the pack ends within its header");
  bytes = bytes.substr(0, kPackHeaderBytes);
  if (!bytes.starts_with(kPackMagic)) return damaged_pack("this is not a pack");
  if (xxh3_64(bytes.substr(0, kPackChecksumAt)) !=
      get_le<uint64_t>(bytes.data() + kPackChecksumAt)) {
    return damaged_pack("the checksum of the pack's header does not fit it");
  }
  ByteReader in(bytes.substr(kPackMagic.size()));
  PackHeader header;
  header.format = in.le<uint32_t>();
  if (header.format != kPackFormat) {
    return make_error(ErrorCode::kUnsupported,
                      "the pack has format " + std::to_string(header.format) +
                          "; this version of holdfast knows format 1: use a newer one");
  }
  header.pack = in.le<uint32_t>();
  in.copy_to(header.repository_id.data(), header.repository_id.size());
  header.repository_created_ns = in.le<int64_t>();
  in.copy_to(header.key.data(), header.key.size());
  const bool known = in.le<uint8_t>() == kChunkIdBlake2b256 &&
                     in.le<uint8_t>() == kContentHashXxh3_128 &&
                     in.le<uint8_t>() == kCompressionZstd && in.le<uint8_t>() == kChunkerFastCdc;
  if (!known) {
    return make_error(ErrorCode::kUnsupported,
                      "the pack uses algorithms that this version of holdfast does not know");
  }
  header.first = in.le<uint32_t>();
  header.last = in.le<uint32_t>();
  const bool has_range =
      header.first != 0 && header.first <= header.last && !is_compacted(header.last);
  if (is_compacted(header.pack) ? !has_range : header.first != 0 || header.last != 0) {
    return damaged_pack("the pack's header names an impossible range of packs");
  }
  return header;
}

Status check_pack_identity(const PackHeader& header, const PackHeader& expected) {
  if (header.repository_id != expected.repository_id) {
    return damaged_pack("the pack belongs to another repository (" +
                        to_hex(header.repository_id.data(), header.repository_id.size()) + ")");
  }
  if (header.pack != expected.pack) {
    return damaged_pack("the file holds pack " + std::to_string(header.pack) +
                        " under the name of pack " + std::to_string(expected.pack) +
                        ": were files renamed?");
  }
  if (header.key != expected.key) {
    return damaged_pack("the pack was written with another key than the repository's");
  }
  if (header.repository_created_ns != expected.repository_created_ns) {
    return damaged_pack("the pack says that the repository was created at another time");
  }
  return {};
}

std::string encode_footer(const ChunkKey& key, uint32_t pack, uint64_t offset,
                          const std::vector<FrameInPack>& frames) {
  CHECK(frames.size() <= kPackFramesMax);
  std::string out(kSealBytes, '\0');
  out.reserve(kFooterHeaderBytes + frames.size() * kFooterEntryBytes);
  put_le<uint32_t>(out, static_cast<uint32_t>(frames.size()));
  put_le<uint32_t>(out, 0);
  for (const FrameInPack& frame : frames) {
    put_le<uint32_t>(out, frame.offset);
    put_le<uint32_t>(out, frame.frame_bytes);
    put_le<uint32_t>(out, static_cast<uint32_t>(frame.type));  // one byte and three reserved
  }
  return with_seal(key, FrameType::kFooter, pack, offset, std::move(out));
}

Result<std::vector<FrameInPack>> decode_footer(const ChunkKey& key, uint32_t pack, uint64_t offset,
                                               std::string_view payload) {
  if (payload.size() < kFooterHeaderBytes) return damaged_pack("the footer is too short");
  if (!seal_fits(key, FrameType::kFooter, pack, offset, payload)) {
    return damaged_pack("the footer was not made for this place");
  }
  ByteReader in(payload.substr(kSealBytes));
  const uint32_t count = in.le<uint32_t>();
  if (in.le<uint32_t>() != 0) return damaged_pack("reserved bytes of the footer are in use");
  if (in.left() != uint64_t{count} * kFooterEntryBytes) {
    return damaged_pack("the footer's table does not have the size it should");
  }
  std::vector<FrameInPack> frames(count);
  uint64_t expected = kPackHeaderBytes;
  for (FrameInPack& frame : frames) {
    frame.offset = in.le<uint32_t>();
    frame.frame_bytes = in.le<uint32_t>();
    const uint32_t type = in.le<uint32_t>();
    if (type != static_cast<uint32_t>(FrameType::kData) &&
        type != static_cast<uint32_t>(FrameType::kJournal) &&
        type != static_cast<uint32_t>(FrameType::kBatches)) {
      return damaged_pack("the footer names a frame of an unknown type");
    }
    frame.type = static_cast<FrameType>(type);
    if (frame.offset < expected || frame.frame_bytes < kFrameHeaderBytes) {
      return damaged_pack("the footer's frames overlap");
    }
    expected = uint64_t{frame.offset} + frame.frame_bytes;
  }
  if (expected > offset) return damaged_pack("the footer names frames behind itself");
  return frames;
}

std::string encode_pack_trailer(uint64_t footer_offset) {
  std::string out(kTrailerMagic);
  put_le<uint64_t>(out, footer_offset);
  return out;
}

Result<uint64_t> decode_pack_trailer(std::string_view bytes) {
  if (bytes.size() != kPackTrailerBytes || !bytes.starts_with(kTrailerMagic)) {
    return damaged_pack("the pack does not end with a trailer");
  }
  const uint64_t offset = get_le<uint64_t>(bytes.data() + kTrailerMagic.size());
  if (offset < kPackHeaderBytes || offset > UINT32_MAX) {
    return damaged_pack("the pack's trailer points outside of it");
  }
  return offset;
}

std::string encode_batch(const ChunkKey& key, uint32_t pack, uint64_t offset, const Batch& batch) {
  std::string out;
  out.reserve(kBatchHeaderBytes + batch.records.size());
  out.append(kSealBytes, '\0');
  put_le<uint64_t>(out, batch.first_offset);
  put_le<uint64_t>(out, 0);
  out.append(batch.records);
  return with_seal(key, FrameType::kJournal, pack, offset, std::move(out));
}

Result<Batch> decode_batch(const ChunkKey& key, uint32_t pack, uint64_t offset,
                           std::string_view payload) {
  if (payload.size() < kBatchHeaderBytes) return damaged_pack("the journal frame is too short");
  if (!seal_fits(key, FrameType::kJournal, pack, offset, payload)) {
    return damaged_pack("the journal frame was not made for this place");
  }
  ByteReader in(payload.substr(kSealBytes, kBatchHeaderBytes - kSealBytes));
  Batch batch;
  batch.first_offset = in.le<uint64_t>();
  if (in.le<uint64_t>() != 0) return damaged_pack("reserved bytes of the journal frame are in use");
  if (batch.first_offset < kPackHeaderBytes || batch.first_offset > offset) {
    return damaged_pack("the journal frame's batch begins at an impossible place");
  }
  batch.records = payload.substr(kBatchHeaderBytes);
  return batch;
}

std::string encode_batches(const ChunkKey& key, uint32_t pack, uint64_t offset,
                           const std::vector<std::string>& batches) {
  std::string out(kSealBytes, '\0');
  for (const std::string& records : batches) {
    CHECK(!records.empty());
    put_le<uint32_t>(out, static_cast<uint32_t>(records.size()));
    out.append(records);
  }
  return with_seal(key, FrameType::kBatches, pack, offset, std::move(out));
}

Result<std::vector<std::string_view>> decode_batches(const ChunkKey& key, uint32_t pack,
                                                     uint64_t offset, std::string_view payload) {
  if (payload.size() <= kSealBytes) return damaged_pack("the batches frame is too short");
  if (!seal_fits(key, FrameType::kBatches, pack, offset, payload)) {
    return damaged_pack("the batches frame was not made for this place");
  }
  std::vector<std::string_view> batches;
  for (payload.remove_prefix(kSealBytes); !payload.empty();) {
    if (payload.size() < sizeof(uint32_t))
      return damaged_pack("the batches frame ends within a size");
    const uint32_t bytes = get_le<uint32_t>(payload.data());
    payload.remove_prefix(sizeof bytes);
    if (bytes == 0 || bytes > payload.size()) {
      return damaged_pack("the batches frame has a batch of an impossible size");
    }
    batches.push_back(payload.substr(0, bytes));
    payload.remove_prefix(bytes);
  }
  return batches;
}

}  // namespace holdfast
