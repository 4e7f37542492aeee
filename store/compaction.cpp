#include "store/compaction.h"

#include <algorithm>

#include "store/pack_scan.h"

namespace holdfast {

namespace {

constexpr size_t kRegroupBytesMax = 1024 * 1024;
constexpr size_t kBatchesBytesTarget = 1024 * 1024;  // of records, in one frame
constexpr uint64_t kPackBytesMax = UINT32_MAX - 64ull * 1024 * 1024;

// Takes the ranges that cover [at, last] from `sorted`, finest first; false where there is a gap.
bool cover(const std::vector<PackRange>& sorted, uint64_t& at, uint64_t last,
           std::vector<PackRange>& out) {
  while (at <= last) {
    const auto [begin, end] =
        std::equal_range(sorted.begin(), sorted.end(), PackRange{0, static_cast<uint32_t>(at), 0},
                         [](const PackRange& a, const PackRange& b) { return a.first < b.first; });
    bool found = false;
    for (auto range = begin; range != end && !found; ++range) {
      if (range->last > last) break;
      // A finer one was tried before: this one is taken where what follows that has a gap.
      const bool coarser = std::next(range) != end && std::next(range)->last <= last;
      std::vector<PackRange> rest{*range};
      uint64_t next = uint64_t{range->last} + 1;
      if (coarser && !cover(sorted, next, std::next(range)->last, rest)) continue;
      out.insert(out.end(), rest.begin(), rest.end());
      at = next;
      found = true;
    }
    if (!found) return false;
  }
  return true;
}

Error damaged_at(const std::string& name, uint64_t at, const std::string& why) {
  return make_error(ErrorCode::kDamaged,
                    "the pack " + name + " at offset " + std::to_string(at) + ": " + why);
}

// Whether the pack ends with a footer and a trailer that fit it.
Result<bool> is_complete(PackStorage& storage, const RepositoryInfo& info, uint32_t pack) {
  TRY_ASSIGN(const uint64_t bytes, storage.size(pack));
  if (bytes < kPackHeaderBytes + kPackTrailerBytes) return false;
  TRY_ASSIGN(const std::string tail,
             storage.read(pack, bytes - kPackTrailerBytes, kPackTrailerBytes));
  const auto footer_at = decode_pack_trailer(tail);
  if (!footer_at.ok() || *footer_at >= bytes - kPackTrailerBytes) return false;
  TRY_ASSIGN(const std::string frame,
             storage.read(pack, *footer_at, bytes - kPackTrailerBytes - *footer_at));
  Decompressor decompressor;
  const auto decoded = decode_frame(frame, decompressor);
  return decoded.ok() && decoded->header.type == FrameType::kFooter &&
         decode_footer(info.key, pack, *footer_at, decoded->raw).ok();
}

}  // namespace

std::vector<PackRange> choose_packs(std::vector<PackRange> available) {
  std::sort(available.begin(), available.end(), [](const PackRange& a, const PackRange& b) {
    return std::pair(a.first, a.last) < std::pair(b.first, b.last);
  });
  std::vector<PackRange> chosen;
  for (uint64_t at = 1;;) {
    // The widest range from here on, or as much of it as there is.
    uint64_t last = 0;
    for (const PackRange& range : available) {
      if (range.first == at) last = std::max<uint64_t>(last, range.last);
    }
    if (last == 0 || !cover(available, at, last, chosen)) return chosen;
  }
}

Result<std::vector<PackRange>> pack_ranges(PackStorage& storage, const RepositoryInfo& info) {
  TRY_ASSIGN(const std::vector<uint32_t> packs, storage.list());
  std::vector<PackRange> ranges;
  for (const uint32_t pack : packs) {
    if (!is_compacted(pack)) {
      ranges.push_back({pack, pack, pack});
      continue;
    }
    TRY_ASSIGN(const uint64_t bytes, storage.size(pack));
    TRY_ASSIGN(const std::string head,
               storage.read(pack, 0, std::min<uint64_t>(bytes, kPackHeaderBytes)));
    const auto header = decode_pack_header(head);
    if (!header.ok() || header->pack != pack || header->repository_id != info.id) continue;
    TRY_ASSIGN(const bool complete, is_complete(storage, info, pack));
    if (complete) ranges.push_back({pack, header->first, header->last});
  }
  return ranges;
}

Result<std::unique_ptr<CompactedPackWriter>> CompactedPackWriter::create(PackStorage& storage,
                                                                         const RepositoryInfo& info,
                                                                         const PackRange& range,
                                                                         int level) {
  CHECK(is_compacted(range.pack) && range.first != 0 && range.first <= range.last);
  TRY(storage.create(range.pack));
  std::unique_ptr<CompactedPackWriter> writer(new CompactedPackWriter(storage, info, range, level));
  writer->pending_ = encode_pack_header(
      {kPackFormat, range.pack, info.id, info.created_ns, info.key, range.first, range.last});
  writer->end_ = writer->pending_.size();
  return writer;
}

CompactedPackWriter::~CompactedPackWriter() {
  if (!finished_) (void)storage_.remove(range_.pack);
}

Status CompactedPackWriter::write_pending() {
  if (pending_.empty()) return {};
  const uint64_t begin = end_ - pending_.size(), bytes = pending_.size();
  TRY(storage_.append(range_.pack, begin, pending_));
  pending_.clear();
  TRY(storage_.write_back(range_.pack, begin, bytes));
  return {};
}

ChunkLocation CompactedPackWriter::next_location(size_t frame_bytes) const {
  return {range_.pack, static_cast<uint32_t>(end_), static_cast<uint32_t>(frame_bytes), 0};
}

Status CompactedPackWriter::add_frame(FrameType type, std::string_view bytes) {
  if (end_ + bytes.size() > kPackBytesMax || frames_.size() >= kPackFramesMax) {
    return make_error(ErrorCode::kUsage, "a compacted pack would become too large");
  }
  frames_.push_back({static_cast<uint32_t>(end_), static_cast<uint32_t>(bytes.size()), type});
  pending_ += bytes;
  end_ += bytes.size();
  return pending_.size() < kRegroupBytesMax ? Status() : write_pending();
}

Status CompactedPackWriter::add_chunk(const ChunkInFrame& chunk, const ChunkLocation& from,
                                      std::string_view bytes) {
  CHECK(!chunks_ended_ && chunk.bytes == bytes.size());
  if (filling_.raw.size() + bytes.size() > kFrameTargetBytes) TRY(write_chunks());
  filling_.raw.append(bytes);
  filling_.table.push_back(chunk);
  filling_.from.push_back(from);
  const bool full =
      filling_.raw.size() >= kFrameTargetBytes || filling_.table.size() >= kFrameEntriesMax;
  return full ? write_chunks() : Status();
}

// Stands before the chunks that wait for more of them; in which order they stand means nothing.
Status CompactedPackWriter::add_stored(const ChunkLocation& from, std::string_view frame) {
  CHECK(!chunks_ended_);
  const auto table = decode_frame_table(frame);
  if (!table.ok()) return damaged_at(storage_.name(from.pack), from.offset, table.error().message);
  ChunkLocation old = from, now = next_location(frame.size());
  for (const ChunkInFrame& chunk : *table) {
    moves_.push_back({chunk.id, old, now});
    ++old.index;
    ++now.index;
  }
  return add_frame(FrameType::kData, frame);
}

Status CompactedPackWriter::write_chunks() {
  if (filling_.table.empty()) return {};
  Encoding next;
  if (encoding_.size() == kEncodersMax) {
    next.compressor = std::move(encoding_.front().compressor);
    TRY(take_encoded());
  } else {
    next.compressor = std::make_unique<Compressor>(level_);
  }
  next.filling = std::make_unique<Filling>(std::move(filling_));
  filling_ = {};
  next.bytes = std::async(
      std::launch::async, [filling = next.filling.get(), compressor = next.compressor.get()] {
        return encode_frame(FrameType::kData, filling->table, filling->raw, *compressor);
      });
  encoding_.push_back(std::move(next));
  return {};
}

Status CompactedPackWriter::take_encoded() {
  const std::string bytes = encoding_.front().bytes.get();
  const Filling& filled = *encoding_.front().filling;
  ChunkLocation location = next_location(bytes.size());
  for (size_t i = 0; i < filled.table.size(); ++i) {
    moves_.push_back({filled.table[i].id, filled.from[i], location});
    ++location.index;
  }
  encoding_.pop_front();
  return add_frame(FrameType::kData, bytes);
}

Status CompactedPackWriter::end_chunks() {
  if (chunks_ended_) return {};
  TRY(write_chunks());
  while (!encoding_.empty()) TRY(take_encoded());
  chunks_ended_ = true;
  return {};
}

// Batches stand behind all chunks, because a replay indexes what stands before the first of them.
Status CompactedPackWriter::add_batch(std::string_view records) {
  if (records.empty()) return {};
  TRY(end_chunks());
  if (batch_bytes_ + records.size() > kBatchesBytesTarget) TRY(write_batches());
  batches_.emplace_back(records);
  batch_bytes_ += records.size();
  return {};
}

Status CompactedPackWriter::write_batches() {
  if (batches_.empty()) return {};
  const std::string payload = encode_batches(info_.key, range_.pack, end_, batches_);
  batches_.clear();
  batch_bytes_ = 0;
  return add_frame(FrameType::kBatches,
                   encode_frame(FrameType::kBatches, {}, payload, compressor_));
}

Status CompactedPackWriter::finish() {
  TRY(end_chunks());
  TRY(write_batches());
  const std::string payload = encode_footer(info_.key, range_.pack, end_, frames_);
  std::string tail = encode_frame(FrameType::kFooter, {}, payload, compressor_);
  tail += encode_pack_trailer(end_);
  pending_ += tail;
  end_ += tail.size();
  TRY(write_pending());
  TRY(storage_.sync(range_.pack));
  std::sort(moves_.begin(), moves_.end(),
            [](const Store::Move& a, const Store::Move& b) { return a.id < b.id; });
  finished_ = true;
  return {};
}

namespace {

Status visit_data(PackScan& scan, uint64_t at, const FrameHeader& header,
                  const PackVisitor& visitor, Decompressor& decompressor) {
  const ChunkLocation location{scan.pack(), static_cast<uint32_t>(at),
                               static_cast<uint32_t>(header.frame_bytes()), 0};
  const uint64_t table_bytes = kFrameHeaderBytes + header.entries * kChunkTableEntryBytes;
  TRY_ASSIGN(const std::string_view head, scan.bytes_at(at, table_bytes));
  auto chunks = decode_unverified_table(header, head);
  if (!chunks.ok()) return damaged_at(scan.name(), at, chunks.error().message);
  TRY_ASSIGN(const Wanted wanted, visitor.table(location, header, *chunks));
  if (wanted == Wanted::kNothing) return {};
  TRY_ASSIGN(const auto bytes, scan.frame_at(at, header));
  if (!bytes.value) return damaged_at(scan.name(), at, bytes.damage.message);
  if (wanted == Wanted::kStored) return visitor.stored(location, *bytes.value);
  const auto decoded = decode_frame(*bytes.value, decompressor);
  if (!decoded.ok()) return damaged_at(scan.name(), at, decoded.error().message);
  return visitor.decoded(location, *decoded);
}

Status visit_batches(PackScan& scan, const RepositoryInfo& info, uint64_t at,
                     const FrameHeader& header, const PackVisitor& visitor,
                     Decompressor& decompressor) {
  TRY_ASSIGN(const auto bytes, scan.frame_at(at, header));
  if (!bytes.value) return damaged_at(scan.name(), at, bytes.damage.message);
  const auto decoded = decode_frame(*bytes.value, decompressor);
  if (!decoded.ok()) return damaged_at(scan.name(), at, decoded.error().message);
  if (header.type == FrameType::kJournal) {
    const auto batch = decode_batch(info.key, scan.pack(), at, decoded->raw);
    if (!batch.ok()) return damaged_at(scan.name(), at, batch.error().message);
    return visitor.batch(batch->records);
  }
  const auto batches = decode_batches(info.key, scan.pack(), at, decoded->raw);
  if (!batches.ok()) return damaged_at(scan.name(), at, batches.error().message);
  for (const std::string_view records : *batches) TRY(visitor.batch(records));
  return {};
}

}  // namespace

Status visit_pack(PackStorage& storage, const RepositoryInfo& info, uint32_t pack,
                  uint64_t pack_bytes, const PackVisitor& visitor) {
  PackScan scan(storage, pack, pack_bytes, kReadAheadHeaderBytes);
  Decompressor decompressor;
  for (uint64_t at = kPackHeaderBytes; at < pack_bytes;) {
    TRY_ASSIGN(const auto header, scan.header_at(at));
    if (!header.value) return damaged_at(scan.name(), at, header.damage.message);
    if (header.value->type == FrameType::kFooter) return {};
    if (header.value->type == FrameType::kData) {
      TRY(visit_data(scan, at, *header.value, visitor, decompressor));
    } else if (visitor.batch) {
      TRY(visit_batches(scan, info, at, *header.value, visitor, decompressor));
    }
    at += header.value->frame_bytes();
  }
  return {};
}

}  // namespace holdfast
