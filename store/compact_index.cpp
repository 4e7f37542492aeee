// What compaction does to the index and to the set of packs (store/store.h).
#include <algorithm>

#include "base/bytes.h"
#include "store/compaction.h"
#include "store/store.h"

namespace holdfast {

namespace {
// The highest number that a compacted pack ever had: numbers are not used twice, since copies of
// packs elsewhere are known by them.
constexpr std::string_view kCompactedWord = "compacted";
}  // namespace

Result<std::map<uint32_t, PackEntry>> Store::packs(const LmdbTxn& txn) const {
  std::map<uint32_t, PackEntry> all;
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, packs_));
  TRY_ASSIGN(bool found, cursor.first());
  while (found) {
    TRY_ASSIGN(const uint32_t pack, decode_pack_index_key(cursor.key()));
    TRY_ASSIGN(all[pack], decode_pack_entry(cursor.value()));
    TRY_ASSIGN(found, cursor.next());
  }
  return all;
}

bool Store::is_leaving(uint32_t pack) const {
  if (!any_leaving_.load(std::memory_order_acquire)) return false;
  const std::shared_lock lock(leaving_mutex_);
  return leaving_.contains(pack);
}

void Store::set_leaving(const std::vector<uint32_t>& packs) {
  const std::unique_lock lock(leaving_mutex_);
  leaving_ = condemned_;
  leaving_.insert(packs.begin(), packs.end());
  any_leaving_.store(!leaving_.empty(), std::memory_order_release);
}

Status Store::load_condemned(const LmdbTxn& txn) {
  TRY_ASSIGN(const auto all, packs(txn));
  for (const auto& [pack, entry] : all) {
    if (entry.condemned) condemned_.insert(pack);
  }
  set_leaving({});
  return {};
}

Status Store::seal() {
  TRY(writable());
  if (end_ == 0 || end_ != batch_start_ || committed_end_ == 0) return {};
  return seal_pack();
}

Result<uint32_t> Store::new_compacted_pack(const LmdbTxn& txn) const {
  uint32_t last = kCompactedPackMin;
  TRY_ASSIGN(const auto value, txn.get(meta_, kCompactedWord));
  if (value && value->size() == sizeof last) last = get_le<uint32_t>(value->data());
  TRY_ASSIGN(const std::vector<uint32_t> listed, storage_->list());
  if (!listed.empty()) last = std::max(last, listed.back());
  if (last == UINT32_MAX) {
    return make_error(ErrorCode::kUnsupported, "all numbers of compacted packs are used up");
  }
  return last + 1;
}

Status Store::adopt(WriteTxn& txn, uint32_t pack, const PackEntry& entry) {
  CHECK(is_compacted(pack) && entry.sealed && entry.first != 0);
  std::string number;
  put_le<uint32_t>(number, pack);
  TRY(txn.put(meta_, kCompactedWord, number));
  return txn.put(packs_, pack_index_key(pack), encode_pack_entry(entry));
}

Status Store::move_chunk(WriteTxn& txn, const Move& move) {
  const std::string_view key = chunk_index_key(move.id);
  TRY_ASSIGN(const auto value, txn.get(chunks_, key));
  if (!value || *value != encode_location(move.from)) return {};
  return txn.put(chunks_, key, encode_location(move.to));
}

Status Store::drop_chunk(WriteTxn& txn, const ChunkId& id, const ChunkLocation& from) {
  const std::string_view key = chunk_index_key(id);
  TRY_ASSIGN(const auto value, txn.get(chunks_, key));
  if (!value || *value != encode_location(from)) return {};
  return txn.remove(chunks_, key);
}

Status Store::condemn(WriteTxn& txn, uint32_t pack) {
  TRY_ASSIGN(const auto value, txn.get(packs_, pack_index_key(pack)));
  if (!value) return {};
  TRY_ASSIGN(PackEntry entry, decode_pack_entry(*value));
  entry.condemned = true;
  condemned_.insert(pack);  // also where this is undone: then it only is not deduplicated against
  return txn.put(packs_, pack_index_key(pack), encode_pack_entry(entry));
}

Status Store::forget_pack(WriteTxn& txn, uint32_t pack) {
  condemned_.erase(pack);
  return txn.remove(packs_, pack_index_key(pack));
}

// A pack that the index does not know goes only where all that it stands for is there without it.
Status Store::remove_unfinished() {
  TRY_ASSIGN(const auto txn, env_->begin_read());
  TRY_ASSIGN(const auto known, packs(*txn));
  TRY_ASSIGN(const std::vector<uint32_t> listed, storage_->list());
  const auto is_there = [&](uint32_t pack) {
    return std::binary_search(listed.begin(), listed.end(), pack);
  };
  if (listed.empty() || !is_compacted(listed.back())) return {};
  TRY_ASSIGN(const auto complete, pack_ranges(*storage_, info_));
  for (const uint32_t pack : listed) {
    if (!is_compacted(pack) || known.contains(pack)) continue;
    const auto whole = std::find_if(complete.begin(), complete.end(),
                                    [&](const PackRange& range) { return range.pack == pack; });
    bool needed = false;
    if (whole != complete.end()) {
      std::vector<PackRange> others;
      for (const auto& [other, entry] : known) {
        if (!is_there(other)) continue;
        others.push_back(is_compacted(other) ? PackRange{other, entry.first, entry.last}
                                             : PackRange{other, other, other});
      }
      const auto chosen = choose_packs(std::move(others));
      needed = chosen.empty() || chosen.back().last < whole->last;
    }
    if (needed) {
      notes_.push_back("the index does not know " + storage_->name(pack) +
                       ", and packs that it stands for are not there: run holdfast rebuild");
      continue;
    }
    TRY(storage_->remove(pack));
    notes_.push_back("removed " + storage_->name(pack) + ": writing it anew was not finished");
  }
  return {};
}

}  // namespace holdfast
