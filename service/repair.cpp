#include "service/repair.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/lmdb_file.h"
#include "service/damaged_dir.h"
#include "service/repository.h"
#include "service/salvage.h"
#include "service/state.h"
#include "service/state_parts.h"
#include "store/compaction.h"

namespace holdfast {

namespace {

constexpr size_t kBatchRecordsBytesMax = 16 << 20;  // of records that fill a hole, in one batch

// The journal as it was before the repair, as far as it can be read.
class OldJournal {
 public:
  static OldJournal open(const std::string& state, const RepositoryInfo& info,
                         std::vector<std::string>& found);
  bool readable() const { return txn_ != nullptr; }
  Sequence head() const { return head_; }
  const std::map<uint32_t, PackEntry>& packs() const { return packs_; }
  // Batches with the records first..last, each with its place in the chain verified; nullopt where
  // they are not all there. `next`: the record after them, if there is one.
  std::optional<std::vector<std::string>> batches(Sequence first, Sequence last) const;
  // Everything that a check of the tables finds.
  Status check(std::vector<std::string>& found) const;

 private:
  bool chained(const std::string& before, std::string record) const;
  RepositoryInfo info_;
  std::unique_ptr<LmdbEnv> env_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<ReadTxn> txn_;
  Sequence head_;
  std::map<uint32_t, PackEntry> packs_;
};

OldJournal OldJournal::open(const std::string& state, const RepositoryInfo& info,
                            std::vector<std::string>& found) {
  OldJournal old;
  old.info_ = info;
  const std::string dir = state + "/journal", file = dir + "/data.mdb";
  struct stat st {};
  if (::lstat(file.c_str(), &st) != 0 || st.st_size == 0) {
    found.push_back("the journal's file " + file + " is missing or empty");
    return old;
  }
  const size_t before = found.size();
  const auto looked = check_lmdb_file(file, LmdbDepth::kAll, [&](const std::string& finding) {
    if (found.size() < before + 3) found.push_back(finding);
  });
  if (!looked.ok()) found.push_back(looked.error().message);
  if (found.size() > before) return old;
  const auto opened = [&]() -> Status {
    TRY_ASSIGN(old.env_, LmdbEnv::open(dir, journal_map_bytes(), kJournalTablesMax));
    TRY_ASSIGN(old.journal_, Journal::open(*old.env_, info.key));
    TRY_ASSIGN(const Dbi packs, old.env_->table("packs"));
    TRY_ASSIGN(auto txn, old.env_->begin_read());
    TRY(old.journal_->check_end(*txn));
    TRY_ASSIGN(const Head head, old.journal_->head(*txn));
    old.head_ = head.seq;
    TRY_ASSIGN(Cursor cursor, Cursor::open(*txn, packs));
    TRY_ASSIGN(bool more, cursor.first());
    while (more) {
      TRY_ASSIGN(const uint32_t pack, decode_pack_index_key(cursor.key()));
      TRY_ASSIGN(old.packs_[pack], decode_pack_entry(cursor.value()));
      TRY_ASSIGN(more, cursor.next());
    }
    old.txn_ = std::move(txn);
    return {};
  }();
  if (opened.ok()) return old;
  found.push_back("the journal: " + opened.error().message);
  old.packs_.clear();
  return old;
}

Status OldJournal::check(std::vector<std::string>& found) const {
  if (!readable()) return {};
  const size_t before = found.size();
  const std::function<void(const std::string&)> finding = [&](const std::string& text) {
    if (found.size() < before + 10) found.push_back(text);
  };
  return journal_->check(*txn_, finding);
}

bool OldJournal::chained(const std::string& before, std::string record) const {
  std::array<uint8_t, 16> chain{};
  if (record.size() < kRecordChainOffset + chain.size()) return false;
  std::copy_n(record.begin() + kRecordChainOffset, chain.size(), chain.begin());
  std::fill_n(record.begin() + kRecordChainOffset, chain.size(), '\0');
  const std::string none(chain.size(), '\0');
  const std::string_view link =
      before.empty() ? std::string_view(none)
                     : std::string_view(before).substr(kRecordChainOffset, chain.size());
  return chain_link(info_.key, link, record) == chain;
}

std::optional<std::vector<std::string>> OldJournal::batches(Sequence first, Sequence last) const {
  if (!readable() || last > head_ || first > last) return std::nullopt;
  std::vector<std::string> all;
  std::string before;
  if (first.value > 1) {
    const auto record = journal_->encoded(*txn_, Sequence{first.value - 1});
    if (!record.ok()) return std::nullopt;
    before = *record;
  }
  Sequence batch_end;
  const uint64_t end = std::min(last.value + 1, head_.value);  // the next one must fit, too
  for (Sequence seq = first; seq.value <= end; ++seq.value) {
    const auto record = journal_->encoded(*txn_, seq);
    if (!record.ok() || !chained(before, *record)) return std::nullopt;
    before = *record;
    if (seq > last) break;
    if (seq > batch_end || all.back().size() + record->size() > kBatchRecordsBytesMax) {
      const auto batch = journal_->batch_end(*txn_, seq);
      batch_end = batch.ok() ? *batch : last;
      all.emplace_back();
    }
    all.back() += *record;
  }
  return all;
}

class Repair {
 public:
  Repair(const std::string& dir, const Clock& clock, Log& log, const RebuildProgress& progress)
      : given_dir_(dir), clock_(clock), log_(log), progress_(progress) {}
  Result<RepairResult> run();

 private:
  Status identify();
  Status scan();
  Status order_packs();
  void place_unknown();
  Status find_missing_packs();
  Status plan();
  void fill(SalvagedPack& pack, size_t before, Sequence first, Sequence last);
  Status write();
  Status add_hole(Sequence first, Sequence last, std::string& records);
  Status finish();
  bool anything_wrong() const { return !result_.found.empty(); }

  const std::string given_dir_;
  const Clock& clock_;
  Log& log_;
  const RebuildProgress& progress_;
  std::optional<Fd> lock_;
  RepositoryInfo info_;
  std::unique_ptr<DirectoryPackStorage> storage_;
  std::vector<SalvagedPack> packs_;  // in the order of the log
  std::map<uint32_t, std::vector<AddedBatch>> added_;
  // Records that nobody has: what stands for them needs the head before it, which only a replay
  // knows.
  RepairResult result_;
  std::optional<OldJournal> old_;
};

Status Repair::identify() {
  struct stat st {};
  if (::stat((given_dir_ + "/packs").c_str(), &st) != 0) {
    return make_error(ErrorCode::kNotFound, "there is no state in " + given_dir_ +
                                                ": a repair needs its packs, in " + given_dir_ +
                                                "/packs");
  }
  TRY_ASSIGN(result_.state, resolve_state_dir(given_dir_));
  TRY_ASSIGN(lock_, take_lock(result_.state));
  const std::string header = result_.state + "/repository";
  const auto known = read_repository(header);
  auto told = repository_of_packs(result_.state + "/packs");
  if (!told.ok() && !known.ok()) return told.error();
  info_ = told.ok() ? *told : *known;
  const auto flaw = repository_flaw(header, info_);
  if (!flaw) return {};
  if (known.ok() && told.ok() && known->id == told->id && known->key == told->key) return {};
  result_.found.push_back(*flaw);
  return {};
}

Status Repair::scan() {
  const DamagedDir damaged(result_.state);
  TRY_ASSIGN(const auto moved, unswap_packs(result_.state + "/packs", info_, damaged));
  result_.found.insert(result_.found.end(), moved.begin(), moved.end());
  TRY_ASSIGN(storage_, DirectoryPackStorage::open(result_.state + "/packs", pack_prefix(info_)));
  old_.emplace(OldJournal::open(result_.state, info_, result_.found));
  TRY(old_->check(result_.found));
  TRY_ASSIGN(const auto listed, storage_->list());
  uint64_t all = 0, done = 0;
  for (const uint32_t pack : listed) {
    TRY_ASSIGN(const uint64_t bytes, storage_->size(pack));
    all += bytes;
  }
  for (const uint32_t pack : listed) {
    TRY_ASSIGN(SalvagedPack salvaged, salvage_pack(*storage_, info_, pack, [&](uint64_t bytes) {
                 progress_(done + bytes, all);
               }));
    TRY_ASSIGN(const uint64_t bytes, storage_->size(pack));
    done += bytes;
    const auto entry = old_->packs().find(pack);
    if (entry != old_->packs().end() && is_compacted(pack) && salvaged.range_first == 0) {
      salvaged.range_first = entry->second.first;
      salvaged.range_last = entry->second.last;
    }
    if (entry != old_->packs().end() && bytes < entry->second.bytes) {
      salvaged.damage.push_back(storage_->name(pack) + " has " + std::to_string(bytes) +
                                " bytes where it had " + std::to_string(entry->second.bytes));
    }
    packs_.push_back(std::move(salvaged));
  }
  place_unknown();
  TRY(find_missing_packs());
  return order_packs();
}

// A compacted pack whose head is damaged, and which no index knows, stands for the packs that are
// missing where its records belong. Where none are missing, others have what it has.
void Repair::place_unknown() {
  std::vector<SalvagedPack*> unknown, known;
  for (SalvagedPack& pack : packs_) {
    if (pack.first().value == 0) continue;
    if (pack.range_first != 0) known.push_back(&pack);
    if (pack.range_first == 0 && pack.sealed) unknown.push_back(&pack);
  }
  std::sort(unknown.begin(), unknown.end(),
            [](const auto* a, const auto* b) { return a->first() < b->first(); });
  for (auto pack = unknown.begin(); pack != unknown.end(); ++pack) {
    uint32_t from = 1, behind = UINT32_MAX;  // the first that it may stand for, and one too many
    Sequence next{UINT64_MAX};
    for (const SalvagedPack* other : known) {
      if (other->last() < (*pack)->first()) from = std::max(from, other->range_last + 1);
      if (other->first() <= (*pack)->last()) continue;
      behind = std::min(behind, other->range_first);
      next = std::min(next, other->first());
    }
    // Others that are unknown belong into the same gap: this one is content with as little.
    const auto more = std::count_if(std::next(pack), unknown.end(),
                                    [&](const auto* other) { return other->first() < next; });
    if (behind == UINT32_MAX || from + more >= behind) continue;
    (*pack)->range_first = from;
    (*pack)->range_last = more > 0 ? from : behind - 1;
    known.push_back(*pack);
  }
}

// By the index, and by the gaps between those that are there.
Status Repair::find_missing_packs() {
  std::map<uint32_t, SalvagedPack> by_number;
  uint32_t last = 0;
  std::vector<std::pair<uint32_t, uint32_t>> covered;
  for (const SalvagedPack& pack : packs_) {
    if (!is_compacted(pack.pack)) last = std::max(last, pack.pack);
    if (is_compacted(pack.pack)) covered.emplace_back(pack.range_first, pack.range_last);
    by_number[pack.pack] = pack;
  }
  for (const auto& [pack, entry] : old_->packs()) {
    if (!is_compacted(pack)) last = std::max(last, pack);
    if (entry.condemned || by_number.contains(pack) || !is_compacted(pack)) continue;
    SalvagedPack missing;
    missing.pack = pack;
    missing.range_first = entry.first;
    missing.range_last = entry.last;
    missing.damage.push_back("the pack " + storage_->name(pack) + " is missing");
    covered.emplace_back(entry.first, entry.last);
    packs_.push_back(std::move(missing));
  }
  for (uint32_t pack = 1; pack <= last; ++pack) {
    const bool stood_for = std::any_of(covered.begin(), covered.end(), [&](const auto& range) {
      return range.first <= pack && pack <= range.second;
    });
    if (stood_for || by_number.contains(pack)) continue;
    SalvagedPack missing;
    missing.pack = missing.range_first = missing.range_last = pack;
    missing.damage.push_back("the pack " + storage_->name(pack) + " is missing");
    packs_.push_back(std::move(missing));
  }
  return {};
}

// What stands for the log, in its order. Packs that others stand for are left alone.
Status Repair::order_packs() {
  std::vector<PackRange> ranges;
  for (const SalvagedPack& pack : packs_) {
    if (pack.range_first == 0) {
      result_.found.insert(result_.found.end(), pack.damage.begin(), pack.damage.end());
      continue;  // a compacted pack that was not finished, or of which nothing is known
    }
    ranges.push_back({pack.pack, pack.range_first, pack.range_last});
  }
  std::vector<SalvagedPack> ordered;
  for (const PackRange& range : choose_packs(std::move(ranges))) {
    const auto pack = std::find_if(packs_.begin(), packs_.end(),
                                   [&](const auto& other) { return other.pack == range.pack; });
    ordered.push_back(std::move(*pack));
  }
  packs_ = std::move(ordered);
  return {};
}

// Records that are missing between `first` and `last`, before a frame of the pack.
void Repair::fill(SalvagedPack& pack, size_t before, Sequence first, Sequence last) {
  if (first > last) return;
  auto batches = old_->batches(first, last);
  if (batches) {
    for (std::string& batch : *batches) added_[pack.pack].push_back({before, std::move(batch)});
    result_.records_saved += last.value - first.value + 1;
    return;
  }
  result_.lost_records.push_back({first, last});
  added_[pack.pack].push_back({before, {}});
}

// Walks over all records in the order of the log. Where some are missing, the damaged pack that
// was passed last gets them back.
Status Repair::plan() {
  uint64_t next = 1;
  SalvagedPack* gap_in = nullptr;
  for (SalvagedPack& pack : packs_) {
    const bool is_last = &pack == &packs_.back();
    if (!is_last || (old_->readable() && pack.last() < old_->head())) {
      pack.damage.insert(pack.damage.end(), pack.tail.begin(), pack.tail.end());
    }
    if (!is_last && !pack.sealed && pack.damage.empty()) {
      pack.damage.push_back(storage_->name(pack.pack) +
                            " has no footer although it is not the last");
    }
    if (is_last && old_->readable() && pack.torn && pack.last() < old_->head() &&
        pack.damage.empty()) {
      pack.damage.push_back(storage_->name(pack.pack) + " ends within a batch that was complete");
    }
    // Else what ends the last pack, and no batch closes, is cut off at every start.
    if (!pack.damage.empty()) gap_in = &pack;
    for (size_t i = 0; i < pack.frames.size(); ++i) {
      const SoundFrame& frame = pack.frames[i];
      if (frame.first.value == 0) continue;
      if (frame.first.value > next) {
        if (gap_in == nullptr) {
          pack.damage.push_back(storage_->name(pack.pack) + " lacks the records before @" +
                                std::to_string(frame.first.value));
          gap_in = &pack;
        }
        const size_t before = gap_in == &pack ? i : gap_in->frames.size();
        fill(*gap_in, before, Sequence{next}, Sequence{frame.first.value - 1});
      }
      next = std::max(next, frame.last.value + 1);
    }
  }
  const bool more = old_->readable() && old_->head().value >= next;
  if (more && !packs_.empty()) {
    if (gap_in == nullptr) {
      gap_in = &packs_.back();
      gap_in->damage.push_back(storage_->name(gap_in->pack) + " lacks the records from @" +
                               std::to_string(next) + " on");
    }
    fill(*gap_in, gap_in->frames.size(), Sequence{next}, old_->head());
  }
  return {};
}

// What a record that stands for lost ones follows: the last one before it, in the packs.
Status Repair::add_hole(Sequence first, Sequence last, std::string& records) {
  Head before;
  before.seq.value = first.value - 1;
  if (first.value > 1) {
    bool found = false;
    for (const SalvagedPack& pack : packs_) {
      for (const SoundFrame& frame : pack.frames) {
        if (frame.first > before.seq || frame.last < before.seq) continue;
        TRY_ASSIGN(const std::string bytes, storage_->read(pack.pack, frame.offset, frame.bytes));
        Decompressor decompressor;
        TRY_ASSIGN(const DecodedFrame decoded, decode_frame(bytes, decompressor));
        std::vector<std::string_view> batches;
        if (frame.type == FrameType::kJournal) {
          TRY_ASSIGN(const auto batch,
                     decode_batch(info_.key, pack.pack, frame.offset, decoded.raw));
          batches.push_back(batch.records);
        } else {
          TRY_ASSIGN(batches, decode_batches(info_.key, pack.pack, frame.offset, decoded.raw));
        }
        for (const std::string_view batch : batches) {
          TRY_ASSIGN(const auto all, split_records(batch));
          for (const std::string_view one : all) {
            TRY_ASSIGN(const Record record, decode_record(one));
            if (record.seq != before.seq) continue;
            before.time_ns = record.time_ns;
            before.chain = record.chain;
            found = true;
          }
        }
      }
    }
    if (!found) {
      return make_error(ErrorCode::kDamaged, "the record @" + std::to_string(before.seq.value) +
                                                 " was found and is gone again");
    }
  }
  TRY_ASSIGN(records, Journal::hole(info_.key, before, last));
  return {};
}

Status Repair::write() {
  const DamagedDir damaged(result_.state);
  size_t lost = 0;
  for (const SalvagedPack& pack : packs_) {
    for (AddedBatch& batch : added_[pack.pack]) {
      if (!batch.records.empty()) continue;
      const auto& span = result_.lost_records[lost++];
      TRY(add_hole(span.first, span.last, batch.records));
    }
  }
  for (const SalvagedPack& pack : packs_) {
    if (pack.damage.empty()) continue;
    result_.found.insert(result_.found.end(), pack.damage.begin(), pack.damage.end());
    const bool is_last = pack.pack == packs_.back().pack;
    TRY(replace_pack(*storage_, info_, damaged, pack, added_[pack.pack],
                     !is_last || is_compacted(pack.pack)));
    result_.replaced.push_back(storage_->name(pack.pack));
  }
  return {};
}

// The packs are whole: the journal follows from them.
Status Repair::finish() {
  old_.reset();
  storage_.reset();
  if (anything_wrong()) {
    auto rebuilt = rebuild_locked(result_.state, progress_);
    if (!rebuilt.ok()) return rebuilt.error();
    result_.rebuilt = true;
  }
  lock_.reset();
  TRY_ASSIGN(const auto state, State::open(result_.state, false, clock_, log_));
  TRY_ASSIGN(result_.contents, refetch(*state, clock_));
  return {};
}

Result<RepairResult> Repair::run() {
  TRY(identify());
  TRY(scan());
  TRY(plan());
  TRY(write());
  TRY(finish());
  return std::move(result_);
}

}  // namespace

Result<RepairResult> repair_state(const std::string& dir, const Clock& clock, Log& log,
                                  const RebuildProgress& progress) {
  return Repair(dir, clock, log, progress).run();
}

}  // namespace holdfast
