#include "store/store.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"

namespace holdfast {

namespace {

// Half the id is key enough. The id is a keyed hash, so nobody without the key can look for two
// chunks that share 16 bytes, and by chance it happens to one pair in a store of 2^40 chunks with a
// probability of 2^-49. Where it does happen nonetheless, the reader compares the whole id with the
// one in the frame: wrong bytes are never returned. In exchange the table is a third smaller, and
// in memory so much longer.
constexpr size_t kIndexKeyBytes = 16;
constexpr size_t kLocationBytes = 14;
constexpr size_t kPackEntryBytes = 16, kCompactedEntryBytes = 24;
constexpr uint64_t kSealedBit = 1, kCondemnedBit = 2;
constexpr std::string_view kPositionWord = "position";

// Frames are handed to the storage in pieces of up to this size; one that is large by itself goes
// there without being copied once more.
constexpr size_t kPendingBytesMax = 1024 * 1024;
constexpr size_t kLargeFrameBytes = 128 * 1024;
constexpr size_t kFramesBeforeSeal = 1024 * 1024;  // a pack of many tiny batches is sealed as well

Error damaged_store(const std::string& why) { return make_error(ErrorCode::kDamaged, why); }

}  // namespace

std::string_view chunk_index_key(const ChunkId& id) {
  return {reinterpret_cast<const char*>(id.bytes.data()), kIndexKeyBytes};
}

std::string pack_index_key(uint32_t pack) {
  std::string key;
  put_be32(key, pack);
  return key;
}

Result<uint32_t> decode_pack_index_key(std::string_view key) {
  if (key.size() != sizeof(uint32_t)) {
    return damaged_store(
        "the index has a pack number of the wrong size: stop the service and run holdfast rebuild");
  }
  return get_be32(key.data());
}

std::string encode_location(const ChunkLocation& location) {
  std::string out;
  put_le<uint32_t>(out, location.pack);
  put_le<uint32_t>(out, location.offset);
  put_le<uint32_t>(out, location.frame_bytes);
  put_le<uint16_t>(out, location.index);
  return out;
}

Result<ChunkLocation> decode_location(std::string_view value) {
  if (value.size() != kLocationBytes) {
    return damaged_store(
        "the index has a chunk entry of the wrong size: stop the service and run holdfast rebuild");
  }
  ByteReader in(value);
  ChunkLocation location;
  location.pack = in.le<uint32_t>();
  location.offset = in.le<uint32_t>();
  location.frame_bytes = in.le<uint32_t>();
  location.index = in.le<uint16_t>();
  return location;
}

std::string encode_pack_entry(const PackEntry& entry) {
  std::string out;
  put_le<uint64_t>(out, entry.bytes);
  put_le<uint64_t>(out, (entry.sealed ? kSealedBit : 0) | (entry.condemned ? kCondemnedBit : 0));
  if (entry.first == 0) return out;
  put_le<uint32_t>(out, entry.first);
  put_le<uint32_t>(out, entry.last);
  return out;
}

Result<PackEntry> decode_pack_entry(std::string_view value) {
  if (value.size() != kPackEntryBytes && value.size() != kCompactedEntryBytes) {
    return damaged_store(
        "the index has a pack entry of the wrong size: stop the service and run holdfast rebuild");
  }
  ByteReader in(value);
  PackEntry entry;
  entry.bytes = in.le<uint64_t>();
  const uint64_t bits = in.le<uint64_t>();
  if ((bits & ~(kSealedBit | kCondemnedBit)) != 0) {
    return damaged_store(
        "the index has a pack entry with unknown bits: stop the service and run holdfast rebuild");
  }
  entry.sealed = (bits & kSealedBit) != 0;
  entry.condemned = (bits & kCondemnedBit) != 0;
  if (in.left() == 0) return entry;
  entry.first = in.le<uint32_t>();
  entry.last = in.le<uint32_t>();
  return entry;
}

Result<RepositoryInfo> read_repository_info(PackStorage& storage) {
  TRY_ASSIGN(const std::vector<uint32_t> packs, storage.list());
  Error first = make_error(ErrorCode::kNotFound, "there are no packs");
  for (const uint32_t pack : packs) {
    auto bytes = storage.read(pack, 0, kPackHeaderBytes);
    auto header = bytes.ok() ? decode_pack_header(*bytes) : Result<PackHeader>(bytes.error());
    if (header.ok()) {
      return RepositoryInfo{header->format, header->repository_id, header->key,
                            header->repository_created_ns};
    }
    if (pack == packs.front()) first = header.error().in("the pack " + storage.name(pack));
  }
  return first;
}

Result<std::unique_ptr<Store>> Store::open(LmdbEnv& env, std::unique_ptr<PackStorage> storage,
                                           const RepositoryInfo& info) {
  std::unique_ptr<Store> store(new Store);
  store->env_ = &env;
  store->storage_ = std::move(storage);
  store->info_ = info;
  store->gear_ = derive_gear_table(info.key);
  TRY_ASSIGN(store->chunks_, env.table("chunks"));
  TRY_ASSIGN(store->packs_, env.table("packs"));
  TRY_ASSIGN(store->meta_, env.table("store_meta"));
  TRY_ASSIGN(const auto txn, env.begin_read());
  TRY_ASSIGN(const Position position, store->read_position(*txn));
  TRY(store->check_position(*txn, position));
  TRY_ASSIGN(const std::vector<uint32_t> packs, store->storage_->list());
  store->replayed_ = position.pack == 0 && packs.empty();
  TRY(store->load_condemned(*txn));
  return store;
}

PackHeader Store::header_of(uint32_t pack) const {
  return {kPackFormat, pack, info_.id, info_.created_ns, info_.key};
}

Status Store::writable() const {
  if (!replayed_) {
    return make_error(ErrorCode::kFailed,
                      "the packs have to be replayed before the store can grow");
  }
  if (refusal_) return *refusal_;
  if (batch_closed_) {
    return make_error(ErrorCode::kFailed,
                      "the last batch has to be ended, by after_commit() or roll_back()");
  }
  return {};
}

Status Store::start_pack() {
  if (is_compacted(pack_)) {
    return make_error(ErrorCode::kUnsupported,
                      "the packs have come to their end: " + storage_->name(pack_ - 1) +
                          " has the last number that there is. What they hold can be read and "
                          "restored; watch with a new --state from here on");
  }
  TRY(storage_->create(pack_));
  pending_ = encode_pack_header(header_of(pack_));
  frames_.clear();
  end_ = kPackHeaderBytes;
  batch_start_ = end_;
  committed_end_ = 0;
  return {};
}

// The frame is at end_ - bytes.size() afterwards.
Status Store::add_frame(FrameType type, std::string_view bytes) {
  if (end_ - batch_start_ + bytes.size() > kBatchBytesMax ||
      frames_.size() + 2 > kPackFramesMax) {  // one for the journal frame
    return make_error(ErrorCode::kUsage,
                      "the batch is larger than a pack can be: close it earlier");
  }
  const FrameInPack frame{static_cast<uint32_t>(end_), static_cast<uint32_t>(bytes.size()), type};
  const bool large = bytes.size() >= kLargeFrameBytes;
  if (large || pending_.size() + bytes.size() > kPendingBytesMax) TRY(write_pending());
  if (large) {
    TRY(storage_->append(pack_, end_, bytes));
  } else {
    pending_.append(bytes);
  }
  end_ += bytes.size();
  frames_.push_back(frame);
  return {};
}

Status Store::write_pending() {
  if (pending_.empty()) return {};
  TRY(storage_->append(pack_, end_ - pending_.size(), pending_));
  pending_.clear();
  return {};
}

Status Store::index_chunks(WriteTxn& txn, const ChunkLocation& frame,
                           const std::vector<ChunkInFrame>& chunks) {
  ChunkLocation location = frame;
  for (size_t i = 0; i < chunks.size(); ++i) {
    const std::string_view key = chunk_index_key(chunks[i].id);
    TRY_ASSIGN(const auto known, txn.get(chunks_, key));
    if (known) {
      TRY_ASSIGN(const ChunkLocation there, decode_location(*known));
      if (!is_leaving(there.pack)) continue;
    }
    location.index = static_cast<uint16_t>(i);
    TRY(txn.put(chunks_, key, encode_location(location)));
  }
  return {};
}

// After a failure within a batch nothing more may be added to it: what is in the pack, in memory
// and in the transaction no longer agrees.
Status Store::append(WriteTxn& txn, const NewFrame& frame) {
  TRY(writable());
  Status status = append_in_batch(txn, frame);
  if (!status.ok()) refusal_ = status.error().in("the batch has to be rolled back");
  return status;
}

// Where the batch begins. A pack that could not be sealed when it was large enough must be sealed
// now, or its offsets would outgrow 32 bits one day.
Status Store::begin_batch() {
  if (end_ != 0 && end_ == batch_start_ && is_large_enough()) TRY(seal_pack());
  if (end_ == 0) TRY(start_pack());
  return {};
}

Status Store::append_in_batch(WriteTxn& txn, const NewFrame& frame) {
  TRY_ASSIGN(const FrameHeader header, decode_frame_header(frame.bytes));
  CHECK(header.type == FrameType::kData && header.entries == frame.chunks.size());
  CHECK(header.frame_bytes() == frame.bytes.size());
  TRY(begin_batch());
  TRY(add_frame(FrameType::kData, frame.bytes));
  const auto bytes = static_cast<uint32_t>(frame.bytes.size());
  return index_chunks(txn, {pack_, static_cast<uint32_t>(end_ - bytes), bytes, 0}, frame.chunks);
}

Status Store::close_batch(WriteTxn& txn, std::string_view records) {
  TRY(writable());
  Status status = close_in_batch(txn, records);
  if (!status.ok()) refusal_ = status.error().in("the batch has to be rolled back");
  return status;
}

Status Store::close_in_batch(WriteTxn& txn, std::string_view records) {
  if (records.size() > kFrameRawBytesMax - kBatchHeaderBytes) {
    return make_error(ErrorCode::kUsage, "the batch has more records than fit into a frame");
  }
  TRY(begin_batch());
  const std::string payload = encode_batch(info_.key, pack_, end_, {batch_start_, records});
  TRY(add_frame(FrameType::kJournal, encode_frame(FrameType::kJournal, {}, payload, compressor_)));
  TRY(write_pending());
  TRY(storage_->sync(pack_));
  if (sealed_) {
    TRY(txn.put(packs_, pack_index_key(*sealed_), encode_pack_entry({sealed_bytes_, true})));
  }
  TRY(commit_position(txn, {pack_, end_}));
  batch_closed_ = true;
  return {};
}

Status Store::commit_position(WriteTxn& txn, Position position) {
  TRY(txn.put(packs_, pack_index_key(position.pack), encode_pack_entry({position.offset, false})));
  std::string value;
  put_le<uint32_t>(value, position.pack);
  put_le<uint64_t>(value, position.offset);
  return txn.put(meta_, kPositionWord, value);
}

Result<Position> Store::read_position(const LmdbTxn& txn) const {
  TRY_ASSIGN(const auto value, txn.get(meta_, kPositionWord));
  if (!value) return Position{};
  ByteReader in(*value);
  Position position;
  position.pack = in.le<uint32_t>();
  position.offset = in.le<uint64_t>();
  if (in.failed() || in.left() != 0 || position.pack == 0 || position.offset < kPackHeaderBytes) {
    return damaged_store(
        "the index's position in the packs is unreadable: stop the service and run holdfast "
        "rebuild");
  }
  return position;
}

// The position and the entry of its pack are written together.
Status Store::check_position(const LmdbTxn& txn, Position position) const {
  if (position.pack == 0) return {};
  TRY_ASSIGN(const auto value, txn.get(packs_, pack_index_key(position.pack)));
  auto entry = value ? decode_pack_entry(*value) : Result<PackEntry>(PackEntry{});
  const bool fits = entry.ok() && (entry->sealed ? entry->bytes > position.offset
                                                 : entry->bytes == position.offset);
  if (fits) return {};
  return damaged_store("the index's position in the packs does not fit what it knows of pack " +
                       std::to_string(position.pack) +
                       ": stop the service and run holdfast rebuild");
}

bool Store::is_large_enough() const {
  return end_ >= pack_bytes_target_ || frames_.size() >= kFramesBeforeSeal;
}

Status Store::after_commit() {
  if (!batch_closed_) return {};
  batch_closed_ = false;
  sealed_.reset();
  committed_end_ = end_;
  batch_start_ = end_;
  if (!is_large_enough()) return {};
  Status status = seal_pack();
  if (status.ok()) return status;
  // The pack can stay open for longer, but nothing may follow a torn footer that cannot be cut off.
  if (auto cut = cut_back_to({pack_, committed_end_}); !cut.ok()) refusal_ = cut.error();
  return status.error().in("sealing the pack " + storage_->name(pack_));
}

// The index learns of it with the next batch; until then a replay would find the footer by itself.
Status Store::seal_pack() {
  const std::string payload = encode_footer(info_.key, pack_, end_, frames_);
  std::string tail = encode_frame(FrameType::kFooter, {}, payload, compressor_);
  tail += encode_pack_trailer(end_);
  TRY(storage_->append(pack_, end_, tail));
  TRY(storage_->sync(pack_));
  sealed_ = pack_;
  sealed_bytes_ = end_ + tail.size();
  pack_ += 1;
  end_ = batch_start_ = committed_end_ = 0;
  frames_.clear();
  return {};
}

// The index, not memory, says what is committed: a commit may have succeeded whatever was reported.
Status Store::roll_back() {
  if (!replayed_) return writable();
  batch_closed_ = false;
  Status status;
  {
    auto txn = env_->begin_read();
    auto position = txn.ok() ? read_position(**txn) : Result<Position>(txn.error());
    status = position.ok() ? cut_back_to(*position) : Status(position.error());
  }
  if (status.ok()) {
    refusal_.reset();
  } else {
    refusal_ = status.error().in("the last batch could not be rolled back");
  }
  return status;
}

// A pack that has nothing committed is removed: where its creation failed, its name is not durable.
Status Store::cut_back_to(Position committed) {
  pending_.clear();
  if (committed.pack != pack_) {
    end_ = batch_start_ = committed_end_ = 0;
    frames_.clear();
    auto removed = storage_->remove(pack_);
    if (!removed.ok() && removed.error().code != ErrorCode::kNotFound) return removed;
    return {};
  }
  end_ = batch_start_ = committed_end_ = committed.offset;
  while (!frames_.empty() && frames_.back().offset >= end_) frames_.pop_back();
  return storage_->truncate(pack_, end_);
}

uint64_t Store::batch_bytes() const { return end_ - committed_end_; }

Position Store::end() const { return {pack_, end_ == 0 ? kPackHeaderBytes : end_}; }

bool Store::has(const LmdbTxn& txn, const ChunkId& id) const {
  // Where the index cannot be read, the chunk is stored once more, which does no harm.
  const auto value = txn.get(chunks_, chunk_index_key(id));
  if (!value.ok() || !value->has_value()) return false;
  if (!any_leaving_.load(std::memory_order_acquire)) return true;
  const auto location = decode_location(**value);
  return location.ok() && !is_leaving(location->pack);
}

Result<std::optional<ChunkLocation>> Store::locate(const LmdbTxn& txn, const ChunkId& id) const {
  TRY_ASSIGN(const auto value, txn.get(chunks_, chunk_index_key(id)));
  if (!value) return std::optional<ChunkLocation>();
  TRY_ASSIGN(const ChunkLocation location, decode_location(*value));
  return std::optional<ChunkLocation>(location);
}

Result<std::string> Store::read_frame(uint32_t pack, uint64_t offset, uint64_t frame_bytes) const {
  if (frame_bytes < kFrameHeaderBytes || frame_bytes > kFrameBytesMax) {
    return damaged_store("the index names a frame of an impossible size at offset " +
                         std::to_string(offset) + " of " + storage_->name(pack) +
                         ": stop the service and run holdfast rebuild");
  }
  return storage_->read(pack, offset, frame_bytes);
}

Result<StoreStats> Store::stats(const LmdbTxn& txn) const {
  StoreStats stats;
  TRY_ASSIGN(stats.chunks, txn.entry_count(chunks_));
  TRY_ASSIGN(const auto all, packs(txn));
  for (const auto& [pack, entry] : all) {
    stats.packs += 1;
    stats.bytes += entry.bytes;
  }
  return stats;
}

}  // namespace holdfast
