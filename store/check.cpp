// Store::check(): looks through every pack of the index and compares both ways. Memory is bounded
// by one pack's frame table and the frames in the workers' hands, however many chunks there are:
// what is found is counted against the index, and only if the counts differ is every entry of the
// index looked up on its own. One thread walks, looks up and reports, in the order of the packs;
// workers read the frames.

#include <algorithm>
#include <map>
#include <thread>
#include <utility>

#include "store/check_frames.h"
#include "store/pack_scan.h"
#include "store/store.h"

namespace holdfast {

class StoreCheck {
 public:
  using Finding = std::function<void(const std::string&)>;
  using Progress = std::function<bool(uint64_t, uint64_t)>;
  StoreCheck(const Store& store, const LmdbTxn& txn, bool read_data, const Finding& finding,
             const Progress& progress)
      : store_(store),
        txn_(txn),
        read_data_(read_data),
        finding_(finding),
        progress_(progress),
        checks_(store.info_.key, std::clamp<size_t>(std::thread::hardware_concurrency(), 2, 8)) {}
  Status run();

 private:
  // A number of chunks, and the first of them for the message.
  struct Chunks {
    uint64_t count = 0;
    std::string first;
    void add(std::string_view id_bytes) {
      if (count++ > 0) return;
      first = to_hex(reinterpret_cast<const uint8_t*>(id_bytes.data()), id_bytes.size());
    }
  };

  Status load_packs();
  void check_condemned(uint32_t pack, const PackEntry& entry);
  void check_strangers(const std::vector<uint32_t>& listed);
  Status check_pack(uint32_t pack, const PackEntry& entry);
  void check_header(PackScan& scan);
  Status check_frames(PackScan& scan, const PackEntry& entry);
  Status check_frame(PackScan& scan, uint64_t at, const FrameHeader& header);
  Status check_data(PackScan& scan, uint64_t at, const FrameHeader& header);
  Status check_chunks(uint32_t pack, uint64_t at, const FrameHeader& header,
                      const std::vector<ChunkInFrame>& chunks);
  Status read_frame(PackScan& scan, uint64_t at, const FrameHeader& header);
  Status settle(const FrameAnswer& answer);
  Status settle_all();
  Status check_tail(PackScan& scan, const PackEntry& entry, uint64_t at, const FrameHeader* header);
  Status check_index_entries();
  bool leads_to_chunk(std::string_view key, const ChunkLocation& location) const;
  void found(const std::string& what);
  void report(const PackScan& scan, uint64_t at, const std::string& what);
  void advance(uint64_t done_bytes);

  const Store& store_;
  const LmdbTxn& txn_;
  const bool read_data_;
  const Finding& finding_;
  const Progress& progress_;
  std::map<uint32_t, PackEntry> packs_;
  uint64_t total_bytes_ = 0;
  uint64_t done_bytes_ = 0;  // of the packs before this one
  uint64_t reported_bytes_ = 0;
  uint64_t indexed_found_ = 0;       // chunks that stand where the index says
  Chunks unindexed_;                 // chunks of this pack that the index does not know
  std::vector<FrameInPack> frames_;  // of this pack
  uint64_t batch_start_ = 0;
  bool batch_is_whole_ = true;  // no frame of it was unreadable
  bool stopped_ = false;        // by the progress
  Status settled_;              // the first error of what the workers' answers led to
  FrameChecks checks_;
};

Status Store::check(const LmdbTxn& txn, bool read_data,
                    const std::function<void(const std::string&)>& finding,
                    const std::function<bool(uint64_t, uint64_t)>& progress) const {
  return StoreCheck(*this, txn, read_data, finding, progress).run();
}

Status StoreCheck::run() {
  TRY(load_packs());
  TRY_ASSIGN(const std::vector<uint32_t> listed, store_.storage_->list());
  check_strangers(listed);
  for (const auto& [pack, entry] : packs_) {
    if (std::binary_search(listed.begin(), listed.end(), pack)) {
      TRY(check_pack(pack, entry));
    } else if (!entry.condemned) {
      finding_("the pack " + store_.storage_->name(pack) + " is missing");
    }
    done_bytes_ += entry.bytes;
    advance(0);
    if (stopped_) return make_error(ErrorCode::kInterrupted, "interrupted");
  }
  TRY_ASSIGN(const uint64_t entries, txn_.entry_count(store_.chunks_));
  if (entries != indexed_found_) TRY(check_index_entries());
  return {};
}

Status StoreCheck::load_packs() {
  TRY_ASSIGN(packs_, store_.packs(txn_));
  for (const auto& [pack, entry] : packs_) total_bytes_ += entry.bytes;
  for (const auto& [pack, entry] : packs_) check_condemned(pack, entry);
  TRY_ASSIGN(const Position position, store_.read_position(txn_));
  if (position.pack != 0 && !packs_.contains(position.pack)) {
    finding_("the index does not know the pack that its position is in");
  }
  return {};
}

// A pack goes only when another one stands for it.
void StoreCheck::check_condemned(uint32_t pack, const PackEntry& entry) {
  if (!entry.condemned) return;
  const uint32_t first = entry.first == 0 ? pack : entry.first;
  const uint32_t last = entry.last == 0 ? pack : entry.last;
  for (const auto& [other, by] : packs_) {
    const bool stands =
        other != pack && is_compacted(other) && by.first <= first && last <= by.last;
    if (stands) return;
  }
  finding_("the index counts " + store_.storage_->name(pack) +
           " as no longer needed, and no other pack stands for it");
}

// A pack above all of its kind that the index knows may have been started since the transaction
// began.
void StoreCheck::check_strangers(const std::vector<uint32_t>& listed) {
  const auto first_compacted = packs_.lower_bound(kCompactedPackMin);
  const uint32_t log_max =
      first_compacted == packs_.begin() ? 0 : std::prev(first_compacted)->first;
  const uint32_t compacted_max = packs_.empty() ? 0 : packs_.rbegin()->first;
  for (const uint32_t pack : listed) {
    if (pack > (is_compacted(pack) ? compacted_max : log_max) || packs_.contains(pack)) continue;
    finding_("the index does not know the pack " + store_.storage_->name(pack));
  }
}

void StoreCheck::advance(uint64_t done_in_pack) {
  const uint64_t done = done_bytes_ + done_in_pack;
  constexpr uint64_t kStepBytes = 1024 * 1024;
  if (done < reported_bytes_ + kStepBytes && done != total_bytes_) return;
  reported_bytes_ = done;
  if (!progress_(done, total_bytes_)) stopped_ = true;
}

// After what was found in the frames before.
void StoreCheck::found(const std::string& what) {
  static_cast<void>(settle_all());  // it keeps its error
  finding_(what);
}

void StoreCheck::report(const PackScan& scan, uint64_t at, const std::string& what) {
  found("the pack " + scan.name() + " at offset " + std::to_string(at) + ": " + what);
}

// Only as much of a pack is looked at as the transaction knows: more may be added meanwhile.
Status StoreCheck::check_pack(uint32_t pack, const PackEntry& entry) {
  PackStorage& storage = *store_.storage_;
  const auto size = storage.size(pack);
  if (!size.ok()) {
    found(size.error().message);
    return {};
  }
  PackScan scan(storage, pack, std::min(*size, entry.bytes),
                read_data_ ? kReadAheadAllBytes : kReadAheadHeaderBytes);
  if (*size < entry.bytes || (entry.sealed && *size > entry.bytes)) {
    found("the pack " + scan.name() + " has " + std::to_string(*size) + " bytes where it had " +
          std::to_string(entry.bytes));
  }
  unindexed_ = {};
  frames_.clear();
  batch_start_ = kPackHeaderBytes;
  batch_is_whole_ = true;
  const uint64_t indexed_before = indexed_found_;
  check_header(scan);
  auto status = check_frames(scan, entry);
  if (auto settled = settle_all(); !settled.ok()) status = settled;
  if (entry.condemned && indexed_found_ > indexed_before) {
    found("the index counts " + scan.name() + " as no longer needed, and leads to its chunks");
  }
  if (unindexed_.count > 0 && !entry.condemned) {
    found("the index lacks " + std::to_string(unindexed_.count) + " chunks of " + scan.name() +
          ", the first is " + unindexed_.first);
  }
  return status;
}

void StoreCheck::check_header(PackScan& scan) {
  const auto bytes = scan.bytes_at(0, kPackHeaderBytes);
  if (!bytes.ok()) return found(bytes.error().message);
  const auto header = decode_pack_header(*bytes);
  if (!header.ok()) return report(scan, 0, header.error().message);
  const auto identity = check_pack_identity(*header, store_.header_of(scan.pack()));
  if (!identity.ok()) report(scan, 0, identity.error().message);
  const PackEntry& entry = packs_[scan.pack()];
  if (header->first != entry.first || header->last != entry.last) {
    report(scan, 0, "the index says that it stands for other packs");
  }
}

Status StoreCheck::check_frames(PackScan& scan, const PackEntry& entry) {
  uint64_t at = kPackHeaderBytes;
  while (at < scan.pack_bytes() && !stopped_) {
    const auto header = scan.header_at(at);
    if (!header.ok()) {
      found(header.error().message);
      return {};
    }
    if (header->value) {
      if (header->value->type == FrameType::kFooter) {
        return check_tail(scan, entry, at, &*header->value);
      }
      TRY(check_frame(scan, at, *header->value));
      at += header->value->frame_bytes();
      advance(at);
      continue;
    }
    report(scan, at, header->damage.message);
    batch_is_whole_ = false;
    const auto next = scan.find_header(at + 1);
    if (!next.ok() || !*next) break;
    at = **next;
  }
  if (stopped_) return make_error(ErrorCode::kInterrupted, "interrupted");
  return check_tail(scan, entry, at, nullptr);
}

// An unsealed pack ends with its last frame; a sealed one with a footer that names all frames, and
// a trailer.
Status StoreCheck::check_tail(PackScan& scan, const PackEntry& entry, uint64_t at,
                              const FrameHeader* header) {
  if (!entry.sealed) {
    if (header) {
      report(scan, at, "there is a footer within the pack");
    } else if (batch_is_whole_ && at != scan.pack_bytes()) {
      report(scan, at, "the pack ends within a frame");
    }
    return {};
  }
  if (!header) {
    report(scan, at, "the pack has no footer although it is sealed");
    return {};
  }
  const uint64_t end = at + header->frame_bytes();
  const auto bytes = scan.frame_at(at, *header);
  if (!bytes.ok() || !bytes->value) {
    report(scan, at, bytes.ok() ? bytes->damage.message : bytes.error().message);
    return {};
  }
  Decompressor decompressor;
  const auto frame = decode_frame(*bytes->value, decompressor);
  if (!frame.ok()) {
    report(scan, at, frame.error().message);
    return {};
  }
  const auto named = decode_footer(store_.info_.key, scan.pack(), at, frame->raw);
  if (!named.ok()) {
    report(scan, at, named.error().message);
  } else if (*named != frames_) {
    report(scan, at, "the footer does not name the frames that are there");
  }
  const auto tail = scan.bytes_at(end, kPackTrailerBytes + 1);
  const auto trailer = tail.ok() ? decode_pack_trailer(*tail) : Result<uint64_t>(tail.error());
  if (!trailer.ok()) {
    report(scan, end, trailer.error().message);
  } else if (*trailer != at) {
    report(scan, end, "the trailer does not lead to the footer");
  }
  return {};
}

Status StoreCheck::check_frame(PackScan& scan, uint64_t at, const FrameHeader& header) {
  frames_.push_back(
      {static_cast<uint32_t>(at), static_cast<uint32_t>(header.frame_bytes()), header.type});
  if (header.type == FrameType::kData) return check_data(scan, at, header);
  Status status;
  if (read_data_) status = read_frame(scan, at, header);
  batch_start_ = at + header.frame_bytes();
  batch_is_whole_ = true;
  return status;
}

Status StoreCheck::check_data(PackScan& scan, uint64_t at, const FrameHeader& header) {
  if (read_data_) return read_frame(scan, at, header);
  const uint64_t table_bytes = kFrameHeaderBytes + header.entries * kChunkTableEntryBytes;
  const auto bytes = scan.bytes_at(at, table_bytes);
  const auto chunks = bytes.ok() ? decode_unverified_table(header, *bytes)
                                 : Result<std::vector<ChunkInFrame>>(bytes.error());
  if (chunks.ok()) return check_chunks(scan.pack(), at, header, *chunks);
  report(scan, at, chunks.error().message);
  return {};
}

Status StoreCheck::read_frame(PackScan& scan, uint64_t at, const FrameHeader& header) {
  const auto bytes = scan.frame_at(at, header);
  const Error* failure = !bytes.ok() ? &bytes.error() : !bytes->value ? &bytes->damage : nullptr;
  if (failure) {
    report(scan, at, failure->message);
    return settled_;
  }
  while (checks_.full() && settled_.ok()) settled_ = settle(*checks_.take());
  TRY(settled_);
  const auto batch_start = batch_is_whole_ ? std::optional(batch_start_) : std::nullopt;
  checks_.add({scan.pack(), at, header, std::string(*bytes->value), batch_start});
  return {};
}

Status StoreCheck::settle_all() {
  while (settled_.ok()) {
    const auto answer = checks_.take();
    if (!answer) break;
    settled_ = settle(*answer);
  }
  return settled_;
}

Status StoreCheck::settle(const FrameAnswer& answer) {
  const FrameToCheck& frame = answer.frame;
  for (const std::string& what : answer.findings) {
    finding_("the pack " + store_.storage_->name(frame.pack) + " at offset " +
             std::to_string(frame.at) + ": " + what);
  }
  return check_chunks(frame.pack, frame.at, frame.header, answer.chunks);
}

Status StoreCheck::check_chunks(uint32_t pack, uint64_t at, const FrameHeader& header,
                                const std::vector<ChunkInFrame>& chunks) {
  ChunkLocation here{pack, static_cast<uint32_t>(at), static_cast<uint32_t>(header.frame_bytes()),
                     0};
  for (size_t i = 0; i < chunks.size(); ++i) {
    TRY_ASSIGN(const auto location, store_.locate(txn_, chunks[i].id));
    here.index = static_cast<uint16_t>(i);
    if (!location) {
      unindexed_.add(
          {reinterpret_cast<const char*>(chunks[i].id.bytes.data()), chunks[i].id.bytes.size()});
    } else if (*location == here) {
      ++indexed_found_;  // and not elsewhere: a chunk that is stored twice is found once
    }
  }
  return {};
}

// Some entries lead nowhere: finds out which. Slow, and rare.
Status StoreCheck::check_index_entries() {
  std::map<uint32_t, Chunks> lost;
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn_, store_.chunks_));
  TRY_ASSIGN(bool found, cursor.first());
  while (found) {
    TRY_ASSIGN(const ChunkLocation location, decode_location(cursor.value()));
    if (!leads_to_chunk(cursor.key(), location)) lost[location.pack].add(cursor.key());
    TRY_ASSIGN(found, cursor.next());
  }
  for (const auto& [pack, chunks] : lost) {
    finding_(std::to_string(chunks.count) + " chunks are not where the index says, in " +
             store_.storage_->name(pack) + "; the id of the first begins with " + chunks.first);
  }
  return {};
}

bool StoreCheck::leads_to_chunk(std::string_view key, const ChunkLocation& location) const {
  const auto pack = packs_.find(location.pack);
  if (pack == packs_.end() ||
      uint64_t{location.offset} + location.frame_bytes > pack->second.bytes) {
    return false;
  }
  PackStorage& storage = *store_.storage_;
  const auto head = storage.read(location.pack, location.offset, kFrameHeaderBytes);
  if (!head.ok()) return false;
  const auto header = decode_frame_header(*head);
  if (!header.ok() || header->frame_bytes() != location.frame_bytes ||
      location.index >= header->entries) {
    return false;
  }
  const uint64_t entry =
      location.offset + kFrameHeaderBytes + location.index * kChunkTableEntryBytes;
  const auto id = storage.read(location.pack, entry, key.size());
  return id.ok() && *id == key;
}

}  // namespace holdfast
