#include "store/replay.h"

#include <algorithm>

#include "base/bytes.h"

namespace holdfast {

namespace {

// How much the search for later batches may verify. An uploader can fill a file with what looks
// like journal frames; it must not keep the service from starting for hours.
constexpr uint64_t kSearchBytesMax = 4ull * 1024 * 1024 * 1024;

constexpr const char* kAdvice =
    "; put a good copy of the pack in its place and start again, or run holdfast repair, which "
    "saves all that is sound";

}  // namespace

Result<uint64_t> Store::replay(
    const std::function<Status(WriteTxn&, std::string_view records)>& on_batch) {
  return StoreReplay(*this, on_batch).run();
}

Error StoreReplay::damaged_at(uint32_t pack, uint64_t offset, const std::string& why) const {
  return make_error(ErrorCode::kDamaged, "the pack " + store_.storage_->name(pack) +
                                             " is damaged at offset " + std::to_string(offset) +
                                             ": " + why + kAdvice);
}

Result<uint64_t> StoreReplay::run() {
  store_.replayed_ = false;
  store_.notes_.clear();
  {
    TRY_ASSIGN(const auto txn, store_.env_->begin_read());
    TRY_ASSIGN(start_, store_.read_position(*txn));
  }
  TRY_ASSIGN(std::vector<uint32_t> packs, store_.storage_->list());
  std::erase_if(packs, is_compacted);
  if (start_.pack == 0) {
    TRY(rebuild(packs));
  } else {
    TRY(check_list(packs));
    for (const uint32_t pack : packs) {
      // What the index knows already is for check() to look at; the service starts without it.
      if (pack >= start_.pack) TRY(replay_pack(pack, pack == packs.back()));
    }
  }
  store_.refusal_.reset();
  store_.replayed_ = true;
  return batches_;
}

// Everything, in the order of the log; compacted packs stand for those that are gone.
Status StoreReplay::rebuild(const std::vector<uint32_t>& log) {
  TRY_ASSIGN(auto available, pack_ranges(*store_.storage_, store_.info_));
  const std::vector<PackRange> chosen = choose_packs(std::move(available));
  const uint32_t last = chosen.empty() ? 0 : chosen.back().last;
  if (log.empty() && chosen.empty()) return {};
  // The pack that the service wrote to last is never compacted.
  if (log.empty() || last != log.back() || is_compacted(chosen.back().pack)) {
    return make_error(ErrorCode::kDamaged,
                      "the pack " + store_.storage_->name(last + 1) +
                          " is missing: put it back and start again, or run holdfast "
                          "repair, which saves all that is sound");
  }
  for (const PackRange& range : chosen) {
    if (is_compacted(range.pack)) {
      TRY(replay_compacted(range));
    } else {
      TRY(replay_pack(range.pack, range.pack == last));
    }
  }
  return {};
}

Status StoreReplay::replay_compacted(const PackRange& range) {
  PackStorage& storage = *store_.storage_;
  TRY_ASSIGN(const uint64_t bytes, storage.size(range.pack));
  batch_.clear();
  PackVisitor visitor;
  visitor.table = [&](const ChunkLocation& frame, const FrameHeader&,
                      const std::vector<ChunkInFrame>& chunks) -> Result<Wanted> {
    batch_.push_back({frame, chunks});
    return Wanted::kNothing;
  };
  visitor.batch = [&](std::string_view records) { return apply_compacted(records); };
  TRY(visit_pack(storage, store_.info_, range.pack, bytes, visitor));
  TRY(apply_compacted({}));  // of a pack without records
  TRY_ASSIGN(const auto txn, store_.env_->begin_write());
  TRY(store_.adopt(*txn, range.pack, {bytes, true, false, range.first, range.last}));
  return txn->commit();
}

// The log's position is not in this pack.
Status StoreReplay::apply_compacted(std::string_view records) {
  if (records.empty() && batch_.empty()) return {};
  TRY_ASSIGN(const auto txn, store_.env_->begin_write());
  for (const DataFrame& frame : batch_) {
    TRY(store_.index_chunks(*txn, frame.location, frame.chunks));
  }
  batch_.clear();
  if (!records.empty()) {
    TRY(on_batch_(*txn, records));
    ++batches_;
  }
  return txn->commit();
}

// Packs are numbered without gaps, so one that is missing shows.
Status StoreReplay::check_list(const std::vector<uint32_t>& packs) const {
  uint32_t expected = std::max(start_.pack, 1u);
  if (packs.empty() && start_.pack == 0) return {};
  for (const uint32_t pack : packs) {
    if (pack < start_.pack) continue;
    if (pack != expected) break;
    if (pack == packs.back()) return {};
    ++expected;
  }
  return make_error(ErrorCode::kDamaged,
                    "the pack " + store_.storage_->name(expected) +
                        " is missing: put it back and start again, or run holdfast "
                        "repair, which saves all that is sound");
}

// False, with `damage`, where the header is not what any version of holdfast would write.
Result<bool> StoreReplay::header_is_sound(uint32_t pack, uint64_t pack_bytes, Error& damage) const {
  PackStorage& storage = *store_.storage_;
  TRY_ASSIGN(const std::string bytes,
             storage.read(pack, 0, std::min<uint64_t>(pack_bytes, kPackHeaderBytes)));
  auto header = decode_pack_header(bytes);
  if (!header.ok() && header.error().code == ErrorCode::kDamaged) {
    damage = header.error();
    return false;
  }
  if (!header.ok()) return header.error().in("the pack " + storage.name(pack));
  auto identity = check_pack_identity(*header, store_.header_of(pack));
  if (!identity.ok()) return identity.error().in("the pack " + storage.name(pack));
  return true;
}

Status StoreReplay::replay_pack(uint32_t pack, bool is_last) {
  TRY_ASSIGN(const uint64_t pack_bytes, store_.storage_->size(pack));
  const bool is_known = pack == start_.pack;
  committed_ = is_known ? start_.offset : kPackHeaderBytes;
  sealed_ = false;
  batch_.clear();
  if (is_known && pack_bytes < start_.offset) {
    return damaged_at(pack, pack_bytes,
                      "it ends there, but the index knows of batches up to offset " +
                          std::to_string(start_.offset));
  }
  PackScan scan(*store_.storage_, pack, pack_bytes, kReadAheadAllBytes);
  Error damage;
  TRY_ASSIGN(const bool is_sound, header_is_sound(pack, pack_bytes, damage));
  if (!is_sound) {
    // Only a power cut during the first batch of the last pack may leave a header like that.
    if (is_known || !is_last) return damaged_at(pack, 0, damage.message);
    TRY(judge_rest(scan, 0, damage, kPackHeaderBytes, true));
    return finish_last(pack, pack_bytes);
  }
  TRY(walk(scan, is_last));
  if (sealed_) TRY(record_sealed(pack, pack_bytes));
  if (is_last) return finish_last(pack, pack_bytes);
  if (sealed_) return {};
  return damaged_at(pack, committed_, "it has no footer although there are later packs");
}

// Applies every complete batch, up to the footer, the end, or a damaged place that may be cut off.
Status StoreReplay::walk(PackScan& scan, bool is_last) {
  uint64_t at = committed_;
  while (at < scan.pack_bytes() && !sealed_) {
    TRY_ASSIGN(const Step next, step(scan, at));
    if (!next.value) return judge_damage(scan, at, next.damage, is_last);
    at = *next.value;
  }
  return {};
}

Result<StoreReplay::Step> StoreReplay::step(PackScan& scan, uint64_t at) {
  TRY_ASSIGN(const auto header, scan.header_at(at));
  if (!header.value) return Step{std::nullopt, header.damage};
  TRY_ASSIGN(const auto frame, scan.frame_at(at, *header.value));
  if (!frame.value) return Step{std::nullopt, frame.damage};
  return step_over(scan, at, *header.value, *frame.value);
}

Result<StoreReplay::Step> StoreReplay::step_over(PackScan& scan, uint64_t at,
                                                 const FrameHeader& header,
                                                 std::string_view bytes) {
  const uint64_t end = at + bytes.size();
  if (header.type == FrameType::kData) {
    auto chunks = decode_frame_table(bytes);
    if (!chunks.ok()) return Step{std::nullopt, chunks.error()};
    const ChunkLocation location{scan.pack(), static_cast<uint32_t>(at),
                                 static_cast<uint32_t>(bytes.size()), 0};
    batch_.push_back({location, std::move(*chunks)});
    return Step{end, {}};
  }
  auto frame = decode_frame(bytes, decompressor_);
  if (!frame.ok()) return Step{std::nullopt, frame.error()};
  if (header.type == FrameType::kJournal) {
    auto batch = decode_batch(store_.info_.key, scan.pack(), at, frame->raw);
    if (!batch.ok()) return Step{std::nullopt, batch.error()};
    if (batch->first_offset != committed_) {
      return Step{std::nullopt, make_error(ErrorCode::kDamaged, "frames of its batch are missing")};
    }
    TRY(apply(scan.pack(), end, batch->records));
    return Step{end, {}};
  }
  if (header.type != FrameType::kFooter) {
    return Step{std::nullopt,
                make_error(ErrorCode::kDamaged, "this frame has no place in the log")};
  }
  auto footer = decode_footer(store_.info_.key, scan.pack(), at, frame->raw);
  if (!footer.ok()) return Step{std::nullopt, footer.error()};
  TRY_ASSIGN(const std::string_view tail, scan.bytes_at(end, kPackTrailerBytes + 1));
  auto trailer = decode_pack_trailer(tail);
  if (!trailer.ok()) return Step{std::nullopt, trailer.error()};
  if (*trailer != at || !batch_.empty()) {
    return Step{std::nullopt, make_error(ErrorCode::kDamaged, "the footer is out of place")};
  }
  sealed_ = true;
  return Step{end + kPackTrailerBytes, {}};
}

Status StoreReplay::apply(uint32_t pack, uint64_t end, std::string_view records) {
  TRY_ASSIGN(const auto txn, store_.env_->begin_write());
  for (const DataFrame& frame : batch_) {
    TRY(store_.index_chunks(*txn, frame.location, frame.chunks));
  }
  TRY(on_batch_(*txn, records));
  TRY(store_.commit_position(*txn, {pack, end}));
  TRY(txn->commit());
  batch_.clear();
  committed_ = end;
  ++batches_;
  return {};
}

Status StoreReplay::record_sealed(uint32_t pack, uint64_t pack_bytes) {
  const std::string key = pack_index_key(pack);
  const std::string value = encode_pack_entry({pack_bytes, true});
  {
    TRY_ASSIGN(const auto reading, store_.env_->begin_read());
    TRY_ASSIGN(const auto known, reading->get(store_.packs_, key));
    if (known && *known == value) return {};
  }
  TRY_ASSIGN(const auto txn, store_.env_->begin_write());
  TRY(txn->put(store_.packs_, key, value));
  return txn->commit();
}

// Whether the rest of the pack, from the damaged frame at `at` on, may be cut off.
Status StoreReplay::judge_damage(PackScan& scan, uint64_t at, const Error& damage, bool is_last) {
  if (damage.code == ErrorCode::kUnsupported) {
    return damage.in("the pack " + scan.name() + " at offset " + std::to_string(at));
  }
  if (!is_last) return damaged_at(scan.pack(), at, damage.message);
  // All frames up to here followed each other, so a sound header tells where the next one begins.
  // What lies within the frame is content, and content may look like anything.
  TRY_ASSIGN(const auto header, scan.header_at(at));
  const uint64_t from = header.value ? at + header.value->frame_bytes() : at + 1;
  return judge_rest(scan, at, damage, from, header.value.has_value());
}

// Looks for a complete batch from `from` on: then it may not be cut off, but for one case.
Status StoreReplay::judge_rest(PackScan& scan, uint64_t at, const Error& damage, uint64_t from,
                               bool at_boundary) {
  search_bytes_left_ = kSearchBytesMax;
  TRY_ASSIGN(const auto later, find_evidence(scan, from, at_boundary));
  if (!later) return {};
  if (was_never_acknowledged(*later)) {
    TRY_ASSIGN(const auto more, find_evidence(scan, later->end, true));
    if (!more) {
      store_.notes_.push_back("the last batch in " + scan.name() + " was half written (offset " +
                              std::to_string(at) + ": " + damage.message + ")");
      return {};
    }
  }
  return damaged_at(scan.pack(), at,
                    damage.message + "; there is a complete batch after it, at offset " +
                        std::to_string(later->offset));
}

// A batch can have its end on the disk and not its beginning, because the kernel writes back in any
// order before the sync. LMDB's durable state lags one commit at most, so of the batches after it
// only the first may have been acknowledged; a rebuild has no such knowledge. If it is the first
// that is half written, it was never acknowledged, or the disk lost what it had confirmed.
bool StoreReplay::was_never_acknowledged(const Evidence& evidence) const {
  return start_.pack != 0 && batches_ <= 1 && evidence.batch_start == committed_;
}

Result<std::optional<StoreReplay::Evidence>> StoreReplay::find_evidence(PackScan& scan,
                                                                        uint64_t from,
                                                                        bool at_boundary) {
  while (from + kFrameHeaderBytes <= scan.pack_bytes()) {
    if (!at_boundary) {
      TRY_ASSIGN(const auto found, scan.find_header(from));
      if (!found) return std::optional<Evidence>();
      from = *found;
    }
    TRY_ASSIGN(const auto header, scan.header_at(from));
    if (!header.value) {
      at_boundary = false;
      continue;
    }
    TRY_ASSIGN(auto evidence, evidence_at(scan, from, *header.value));
    if (evidence) return evidence;
    from += at_boundary ? header.value->frame_bytes() : 1;
  }
  return std::optional<Evidence>();
}

Result<std::optional<StoreReplay::Evidence>> StoreReplay::evidence_at(PackScan& scan, uint64_t at,
                                                                      const FrameHeader& header) {
  const std::optional<Evidence> none;
  if (header.type == FrameType::kData) return none;
  const uint64_t cost = header.frame_bytes() + header.raw_bytes;
  if (cost > search_bytes_left_) {
    return damaged_at(scan.pack(), at, "too much in it looks like a batch to tell where it ends");
  }
  search_bytes_left_ -= cost;
  TRY_ASSIGN(const auto bytes, scan.frame_at(at, header));
  if (!bytes.value) return none;
  const uint64_t end = at + bytes.value->size();
  auto frame = decode_frame(*bytes.value, decompressor_);
  if (!frame.ok()) return none;
  if (header.type == FrameType::kJournal) {
    auto batch = decode_batch(store_.info_.key, scan.pack(), at, frame->raw);
    if (!batch.ok()) return none;
    return std::optional<Evidence>(Evidence{at, end, batch->first_offset});
  }
  if (!decode_footer(store_.info_.key, scan.pack(), at, frame->raw).ok()) return none;
  TRY_ASSIGN(const std::string_view tail, scan.bytes_at(end, kPackTrailerBytes + 1));
  const auto trailer = decode_pack_trailer(tail);
  if (!trailer.ok() || *trailer != at) return none;
  return std::optional<Evidence>(Evidence{at, end, std::nullopt});
}

// Cuts off what follows the last complete batch and lets the store go on there.
Status StoreReplay::finish_last(uint32_t pack, uint64_t pack_bytes) {
  store_.pending_.clear();
  store_.frames_.clear();
  store_.sealed_.reset();
  store_.batch_closed_ = false;
  const bool has_batch = committed_ > kPackHeaderBytes;
  store_.pack_ = sealed_ ? pack + 1 : pack;
  store_.end_ = sealed_ || !has_batch ? 0 : committed_;
  store_.batch_start_ = store_.committed_end_ = store_.end_;
  if (sealed_) return {};
  const uint64_t kept = has_batch ? committed_ : 0;
  if (pack_bytes > kept) {
    store_.notes_.push_back("cut " + std::to_string(pack_bytes - kept) + " bytes off the end of " +
                            store_.storage_->name(pack) + ": they belong to no complete batch");
  }
  // Removed and not kept empty: its name may not be durable yet.
  if (!has_batch) return store_.storage_->remove(pack);
  if (pack_bytes > kept) TRY(store_.storage_->truncate(pack, kept));
  return load_frames(pack, kept);
}

// The frames of the open pack, which its footer will name. Damage in what the index knows already
// is for check() to find; the footer leaves it out.
Status StoreReplay::load_frames(uint32_t pack, uint64_t end) {
  PackScan scan(*store_.storage_, pack, end, kReadAheadHeaderBytes);
  uint64_t at = kPackHeaderBytes;
  while (at < end) {
    TRY_ASSIGN(const auto header, scan.header_at(at));
    if (!header.value || at + header.value->frame_bytes() > end) {
      TRY_ASSIGN(const auto next, scan.find_header(at + 1));
      if (!next) return {};
      at = *next;
      continue;
    }
    const auto bytes = static_cast<uint32_t>(header.value->frame_bytes());
    store_.frames_.push_back({static_cast<uint32_t>(at), bytes, header.value->type});
    at += bytes;
  }
  return {};
}

}  // namespace holdfast
