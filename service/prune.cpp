#include "service/prune.h"

#include <algorithm>
#include <future>

#include "base/clock.h"
#include "service/index_steps.h"
#include "service/words.h"

namespace holdfast {

namespace {

// What is compressed anew: it is done once, and read for years.
constexpr int kCompactionLevel = 6;
// A frame is copied as it is where it is at least so large and at most this share of it is dead.
// Below kDeadPercentMin, so that no pack is written anew again for what was left in it.
constexpr uint64_t kStoredBytesMin = kFrameTargetBytes / 2;
constexpr uint64_t kStoredDeadPercentMax = 10;
// A pack is worth rewriting where that frees at least this share of it, or where it is small and
// can be put together with its neighbours.
constexpr uint64_t kDeadPercentMin = 20;
// Of what is dead in packs that are not worth it by themselves, no more than this share of all
// packs stays. Above kStoredDeadPercentMax, which a pack may have that was just written anew.
constexpr uint64_t kDeadPercentOfAllMax = 12;
constexpr uint64_t kFreedBytesMin = 64 * 1024;
constexpr uint64_t kSmallPackBytes = kPackBytesTarget / 4;
constexpr size_t kSmallPacksMin = 8;
constexpr uint64_t kGroupChunksMax = 300'000;  // some 20 MB while they are moved
constexpr size_t kRowsPerStep = 4096;
static_assert(kStoredDeadPercentMax < kDeadPercentOfAllMax);
static_assert(kDeadPercentOfAllMax < kDeadPercentMin);

// `needed` says it of each chunk of the frame. By their number, as LiveMap counts, and by their
// bytes.
Wanted wanted_of(const FrameHeader& header, const std::vector<ChunkInFrame>& chunks,
                 const std::vector<bool>& needed) {
  uint64_t dead = 0, dead_bytes = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    if (needed[i]) continue;
    ++dead;
    dead_bytes += chunks[i].bytes;
  }
  if (dead == chunks.size()) return Wanted::kNothing;
  const bool worth_it = header.raw_bytes < kStoredBytesMin ||
                        dead * 100 > chunks.size() * kStoredDeadPercentMax ||
                        dead_bytes * 100 > header.raw_bytes * kStoredDeadPercentMax;
  return worth_it ? Wanted::kDecoded : Wanted::kStored;
}

IndexChange drop_of(const ChunkId& id, const ChunkLocation& frame, size_t index) {
  ChunkLocation place = frame;
  place.index = static_cast<uint16_t>(index);
  return {id, place, {}};
}

}  // namespace

// What is copied into one new pack.
struct Pruner::Copy {
  std::unique_ptr<CompactedPackWriter> writer;
  PackRange range;
  std::vector<IndexChange> drops;
  std::unique_ptr<ReadTxn> txn;
};

bool Pruner::Unit::is_small() const {
  return bytes - use.data_bytes + use.live_bytes < kSmallPackBytes;
}

bool Pruner::Unit::worth_it() const {
  const bool frees = dead() >= kFreedBytesMin && dead() * 100 >= bytes * kDeadPercentMin;
  return packs.size() > 1 || frees || is_worst;
}

bool Pruner::Group::worth_it() const {
  return units.size() >= kSmallPacksMin ||
         std::any_of(units.begin(), units.end(), [](const Unit& unit) { return unit.worth_it(); });
}

Status Pruner::stop_if_cancelled() const {
  if (!cancelled_) return {};
  return make_error(ErrorCode::kInterrupted, "pruning was stopped; what it has done stays done");
}

Status Pruner::change(const std::function<Status(Store&, WriteTxn&)>& change) {
  return gate_.with_engine([this, change](Engine& engine, const Gate::Done& done) {
    busy_ = engine.is_busy();
    engine.with_store(change, done);
  });
}

Status Pruner::leave(const std::vector<uint32_t>& packs) {
  return gate_.with_engine([packs](Engine& engine, const Gate::Done& done) {
    engine.set_leaving(packs);
    done({});
  });
}

Result<PruneResult> Pruner::run(const PruneOptions& options) {
  const std::unique_lock alone(running_, std::try_to_lock);
  if (!alone) return make_error(ErrorCode::kFailed, "a prune is under way already; wait for it");
  cancelled_ = false;
  const int64_t began_ns = clock_.boottime_ns();
  PruneResult result;
  TRY(begin(options, result));
  choose_worst();
  const std::vector<Group> groups = plan();
  for (const Unit& unit : units_) result.dead_bytes += unit.use.data_bytes - unit.use.live_bytes;
  for (const Group& group : groups) counts_.packs += group.units.size();
  Status status;
  for (const Group& group : groups) {
    if (options.dry_run) {
      result.packs_rewritten += group.units.size();
      result.bytes_rewritten += group.bytes;
      result.bytes_written += group.live_bytes;
      ++result.packs_written;
      continue;
    }
    status = stop_if_cancelled();
    if (status.ok()) status = compact(group, result);
    if (!status.ok()) break;
    counts_.packs_done += group.units.size();
  }
  live_ = {};
  units_.clear();
  if (options.dry_run) return result;
  if (auto left = leave({}); status.ok()) status = left;
  if (!status.ok()) return status.error();
  TRY_ASSIGN(result.bytes_freed, remove_condemned_now(options.grace_ns));
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  TRY_ASSIGN(const auto packs, state_.store->packs(*txn));
  for (const auto& [pack, entry] : packs) {
    if (entry.condemned) result.bytes_waiting += entry.bytes;
  }
  totals_.took_ns = clock_.boottime_ns() - began_ns;
  totals_.last_ns = clock_.wall_ns();
  ++totals_.runs;
  return result;
}

Status Pruner::begin(const PruneOptions& options, PruneResult& result) {
  counts_.marked = counts_.packs = counts_.packs_done = 0;
  {
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    TRY_ASSIGN(const Head head, state_.journal->head(*txn));
    marked_until_ = head.seq;
    TRY_ASSIGN(result.kept, state_.journal->kept(*txn, options.policy,
                                                 std::max(clock_.wall_ns(), head.time_ns)));
  }
  if (!options.dry_run) {
    const std::string note = std::string(kPruneNote) + words_for_kept(result.kept);
    TRY(gate_.with_engine(
        [note](Engine& engine, const Gate::Done& done) { done(engine.seal_pack(note)); }));
  }
  TRY(scan_packs(options.dry_run));
  for (const auto& [pack, entry] : packs_) result.bytes_before += entry.bytes;
  return mark_kept(result.kept);
}

// The packs that may be rewritten: all that are sealed. A dry run counts the open one in, which a
// real one would seal.
Status Pruner::scan_packs(bool with_open_pack) {
  live_ = {};
  units_.clear();
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  TRY_ASSIGN(packs_, state_.store->packs(*txn));
  const auto compacted = packs_.lower_bound(kCompactedPackMin);
  const uint32_t newest = compacted == packs_.begin() ? 0 : std::prev(compacted)->first;
  std::vector<PackRange> ranges;
  for (const auto& [pack, entry] : packs_) {
    if (entry.condemned || (!entry.sealed && !with_open_pack)) continue;
    if (pack == newest && !with_open_pack) continue;  // the position is in it
    ranges.push_back(is_compacted(pack) ? PackRange{pack, entry.first, entry.last}
                                        : PackRange{pack, pack, pack});
    PackVisitor visitor;
    visitor.table = [&](const ChunkLocation& frame, const FrameHeader&,
                        const std::vector<ChunkInFrame>& chunks) -> Result<Wanted> {
      live_.add_frame(frame, static_cast<uint32_t>(chunks.size()));
      TRY(stop_if_cancelled());
      return Wanted::kNothing;
    };
    if (auto seen = visit_pack(state_.store->storage(), state_.info, pack, entry.bytes, visitor);
        !seen.ok()) {
      return seen.error().in("pruning looks through the packs; run holdfast check");
    }
  }
  std::sort(ranges.begin(), ranges.end(), [](const PackRange& a, const PackRange& b) {
    return std::pair(a.first, b.last) < std::pair(b.first, a.last);
  });
  for (const PackRange& range : ranges) {
    if (units_.empty() || range.first > units_.back().last) {
      units_.push_back({range.first, range.last, {}, range.pack, {}, 0});
    }
    units_.back().packs.push_back(range.pack);
  }
  return {};
}

Status Pruner::mark(const LmdbTxn& txn, ChunkReader& reader, const ContentRef& content) {
  auto status = reader.chunks(content, [&](const ChunkId& id, ChunkKind) -> Result<bool> {
    TRY_ASSIGN(const auto location, state_.store->locate(txn, id));
    return location && live_.mark(*location);
  });
  // What was dropped before, by another policy, is gone.
  return status.ok() || status.error().code == ErrorCode::kNotFound ? Status() : status;
}

Status Pruner::mark_all(const std::vector<ContentRef>& contents) {
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  ChunkReader reader(*state_.store, *txn);
  for (const ContentRef& content : contents) TRY(mark(*txn, reader, content));
  return {};
}

// Recipes have to be read from the packs, which takes as long as to walk through the names: another
// thread does it.
Status Pruner::mark_kept(const Kept& kept) {
  std::string position;
  std::future<Status> reading;
  for (bool more = true; more;) {
    TRY(stop_if_cancelled());
    std::vector<ContentRef> recipes;
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    ChunkReader reader(*state_.store, *txn);
    TRY_ASSIGN(more, state_.journal->visit_kept(*txn, kept, position, kRowsPerStep,
                                                [&](const Record& record) -> Status {
                                                  ++counts_.marked;
                                                  if (record.content.kind != ContentKind::kRecipe) {
                                                    return mark(*txn, reader, record.content);
                                                  }
                                                  recipes.push_back(record.content);
                                                  return {};
                                                }));
    if (reading.valid()) TRY(reading.get());
    reading = std::async(std::launch::async,
                         [this, some = std::move(recipes)] { return mark_all(some); });
  }
  TRY(reading.get());
  for (Unit& unit : units_) {
    for (const uint32_t pack : unit.packs) {
      const LiveMap::PackUse use = live_.use_of(pack);
      unit.use.data_bytes += use.data_bytes;
      unit.use.live_bytes += use.live_bytes;
      unit.use.chunks += use.chunks;
      unit.bytes += packs_[pack].bytes;
    }
  }
  return {};
}

// What was journaled since the marking began may need what was there before.
Status Pruner::mark_new_records() {
  for (;;) {
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    TRY_ASSIGN(const Head head, state_.journal->head(*txn));
    if (head.seq == marked_until_) return {};
    ChunkReader reader(*state_.store, *txn);
    size_t seen = 0;
    Status status;
    TRY(state_.journal->for_each_record(
        *txn, Sequence{marked_until_.value + 1}, false, [&](const Record& record) {
          status = mark(*txn, reader, record.content);
          if (!status.ok()) return Visit::kStop;
          marked_until_ = record.seq;
          return ++seen < kRowsPerStep ? Visit::kContinue : Visit::kStop;
        }));
    TRY(status);
  }
}

// Little that is dead in each of many packs adds up: the packs with the largest share of it go,
// too, until what stays is bounded.
void Pruner::choose_worst() {
  uint64_t all = 0, dead = 0;
  std::vector<Unit*> rest;
  for (Unit& unit : units_) {
    all += unit.bytes;
    if (unit.worth_it()) continue;
    dead += unit.dead();
    if (unit.dead() >= kFreedBytesMin) rest.push_back(&unit);
  }
  std::sort(rest.begin(), rest.end(), [](const Unit* a, const Unit* b) {
    return a->dead() * b->bytes > b->dead() * a->bytes;
  });
  for (Unit* unit : rest) {
    if (dead * 100 <= all * kDeadPercentOfAllMax) return;
    if (unit->dead() * 100 <= unit->bytes * kDeadPercentOfAllMax) return;  // it would stay in it
    unit->is_worst = true;
    dead -= unit->dead();
  }
}

// Neighbours become one pack, as long as it is no larger than others.
std::vector<Pruner::Group> Pruner::plan() const {
  std::vector<Group> groups;
  Group group;
  const auto close = [&] {
    if (group.worth_it()) groups.push_back(std::move(group));
    group = {};
  };
  for (const Unit& unit : units_) {
    const uint64_t left = unit.bytes - unit.use.data_bytes + unit.use.live_bytes;
    const bool fits = !group.units.empty() && unit.first == group.units.back().last + 1 &&
                      group.live_bytes + left <= kPackBytesTarget &&
                      group.chunks + unit.use.chunks <= kGroupChunksMax;
    if (!fits) close();
    if (!unit.worth_it() && !unit.is_small()) {
      close();
      continue;
    }
    group.units.push_back(unit);
    group.bytes += unit.bytes;
    group.live_bytes += left;
    group.chunks += unit.use.chunks;
  }
  close();
  return groups;
}

Status Pruner::compact(const Group& group, PruneResult& result) {
  std::vector<uint32_t> packs;
  for (const Unit& unit : group.units) {
    packs.insert(packs.end(), unit.packs.begin(), unit.packs.end());
  }
  TRY(leave(packs));
  if (gate_.watches()) {
    // What is being captured now may still rely on these packs. After this it is journaled.
    auto flushed = gate_.flush(kNoTimeout);
    const bool undone = !flushed.ok() && (flushed.error().code == ErrorCode::kNoSpace ||
                                          flushed.error().code == ErrorCode::kChanged);
    if (!flushed.ok() && !undone) return flushed.error();
    // And what programs are giving, which no flush waits for.
    TRY(gate_.with_engine([](Engine& engine, const Gate::Done& done) { engine.after_puts(done); }));
  }
  TRY(mark_new_records());
  Copy copied;
  TRY(copy(group, copied));
  TRY(move_index(group, copied));
  result.packs_rewritten += packs.size();
  for (const uint32_t pack : packs) result.bytes_rewritten += packs_[pack].bytes;
  result.packs_written += 1;
  result.bytes_written += copied.writer->bytes();
  return {};
}

Status Pruner::copy(const Group& group, Copy& copy) {
  TRY_ASSIGN(copy.txn, state_.env->begin_read());
  TRY_ASSIGN(copy.range.pack, state_.store->new_compacted_pack(*copy.txn));
  copy.range.first = group.units.front().first;
  copy.range.last = group.units.back().last;
  TRY_ASSIGN(copy.writer, CompactedPackWriter::create(state_.store->storage(), state_.info,
                                                      copy.range, kCompactionLevel));
  for (const Unit& unit : group.units) {
    for (const uint32_t pack : unit.packs) TRY(copy_chunks(pack, copy));
  }
  TRY(copy_batches(group, copy));
  TRY(copy.writer->finish());
  copy.txn.reset();
  return {};
}

Status Pruner::copy_chunks(uint32_t pack, Copy& copy) {
  // Where a chunk stands in several packs, the index says which one counts.
  const auto is_needed = [&](const ChunkLocation& place, const ChunkId& id) -> Result<bool> {
    if (!live_.is_live(place)) return false;
    TRY_ASSIGN(const auto there, state_.store->locate(*copy.txn, id));
    return there && *there == place;
  };
  std::vector<bool> needed;  // of the chunks of one frame
  PackVisitor visitor;
  visitor.table = [&](const ChunkLocation& frame, const FrameHeader& header,
                      const std::vector<ChunkInFrame>& chunks) -> Result<Wanted> {
    TRY(stop_if_cancelled());
    needed.assign(chunks.size(), false);
    ChunkLocation place = frame;
    for (size_t i = 0; i < chunks.size(); ++i, ++place.index) {
      TRY_ASSIGN(needed[i], is_needed(place, chunks[i].id));
    }
    const Wanted wanted = wanted_of(header, chunks, needed);
    for (size_t i = 0; i < chunks.size() && wanted != Wanted::kStored; ++i) {
      if (!needed[i]) copy.drops.push_back(drop_of(chunks[i].id, frame, i));
    }
    return wanted;
  };
  // The index moves with all of its chunks: what is dead in it stays, as in a pack that is not
  // worth it.
  visitor.stored = [&](const ChunkLocation& frame, std::string_view bytes) {
    return copy.writer->add_stored(frame, bytes);
  };
  visitor.decoded = [&](const ChunkLocation& frame, const DecodedFrame& decoded) -> Status {
    ChunkLocation place = frame;
    size_t start = 0;
    for (size_t i = 0; i < decoded.chunks.size(); ++i, ++place.index) {
      const ChunkInFrame& chunk = decoded.chunks[i];
      const std::string_view bytes = std::string_view(decoded.raw).substr(start, chunk.bytes);
      if (needed[i]) TRY(copy.writer->add_chunk(chunk, place, bytes));
      start += chunk.bytes;
    }
    return {};
  };
  return visit_pack(state_.store->storage(), state_.info, pack, packs_[pack].bytes, visitor);
}

Status Pruner::copy_batches(const Group& group, Copy& copy) {
  PackVisitor visitor;
  visitor.table = [](const ChunkLocation&, const FrameHeader&,
                     const std::vector<ChunkInFrame>&) -> Result<Wanted> {
    return Wanted::kNothing;
  };
  visitor.batch = [&](std::string_view records) { return copy.writer->add_batch(records); };
  for (const Unit& unit : group.units) {
    TRY(visit_pack(state_.store->storage(), state_.info, unit.widest, packs_[unit.widest].bytes,
                   visitor));
  }
  return {};
}

// What moves and what is dropped lies in the same pages of the index, and goes in one pass.
Status Pruner::move_index(const Group& group, const Copy& copy) {
  const uint32_t pack = copy.range.pack;
  const PackEntry entry = copy.writer->entry();
  TRY(change([pack, entry](Store& store, WriteTxn& txn) { return store.adopt(txn, pack, entry); }));
  std::vector<IndexChange> changes = copy.writer->moves();
  changes.insert(changes.end(), copy.drops.begin(), copy.drops.end());
  TRY(change_index(std::move(changes)));
  std::vector<uint32_t> old;
  for (const Unit& unit : group.units) old.insert(old.end(), unit.packs.begin(), unit.packs.end());
  const auto condemn_all = [old](Store& store, WriteTxn& txn) -> Status {
    for (const uint32_t gone : old) TRY(store.condemn(txn, gone));
    return {};
  };
  TRY(change(condemn_all));
  for (const uint32_t gone : old) {
    condemned_[gone] = {state_.env->last_commit(), clock_.boottime_ns()};
  }
  return {};
}

Status Pruner::change_index(std::vector<IndexChange> changes) {
  std::sort(changes.begin(), changes.end(),
            [](const IndexChange& a, const IndexChange& b) { return a.id < b.id; });
  uint64_t pages = 0;
  {
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    TRY_ASSIGN(pages, state_.store->index_pages(*txn));
  }
  for (size_t begin = 0; begin < changes.size();) {
    const size_t end = end_of_step(changes, begin, pages, busy_ ? kStepPagesBusy : kStepPagesIdle);
    const std::vector<IndexChange> some(changes.begin() + static_cast<ptrdiff_t>(begin),
                                        changes.begin() + static_cast<ptrdiff_t>(end));
    const auto change_some = [some](Store& store, WriteTxn& txn) -> Status {
      for (const IndexChange& one : some) {
        TRY(one.to.pack == 0 ? store.drop_chunk(txn, one.id, one.from)
                             : store.move_chunk(txn, one));
      }
      return {};
    };
    TRY(change(change_some));
    begin = end;
  }
  return {};
}

// Of a pack that an earlier process condemned.
Status Pruner::drop_rows_of(uint32_t pack) {
  auto bytes = state_.store->storage().size(pack);
  if (!bytes.ok()) return bytes.error().code == ErrorCode::kNotFound ? Status() : bytes.error();
  std::vector<IndexChange> changes;
  PackVisitor visitor;
  visitor.table = [&](const ChunkLocation& frame, const FrameHeader&,
                      const std::vector<ChunkInFrame>& chunks) -> Result<Wanted> {
    for (size_t i = 0; i < chunks.size(); ++i) {
      changes.push_back(drop_of(chunks[i].id, frame, i));
    }
    return Wanted::kNothing;
  };
  TRY(visit_pack(state_.store->storage(), state_.info, pack, *bytes, visitor));
  return change_index(std::move(changes));
}

Result<uint64_t> Pruner::remove_condemned(int64_t grace_ns) {
  const std::unique_lock alone(running_, std::try_to_lock);
  if (!alone) return uint64_t{0};
  return remove_condemned_now(grace_ns);
}

Result<uint64_t> Pruner::remove_condemned_now(int64_t grace_ns) {
  uint64_t freed = 0;
  std::map<uint32_t, PackEntry> packs;
  {
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    TRY_ASSIGN(packs, state_.store->packs(*txn));
  }
  std::vector<uint32_t> due;
  for (const auto& [pack, entry] : packs) {
    if (!entry.condemned) continue;
    if (!condemned_.contains(pack)) {
      TRY(drop_rows_of(pack));
      condemned_[pack] = {state_.env->last_commit(), clock_.boottime_ns()};
    }
    const Condemned& when = condemned_[pack];
    const bool in_use = state_.env->oldest_read() < when.commit;
    const int64_t grace = gate_.watches() ? grace_ns : 0;
    if (in_use || clock_.boottime_ns() - when.since_ns < grace) continue;
    due.push_back(pack);
    freed += entry.bytes;
  }
  TRY(remove_packs(due));
  totals_.freed_bytes += freed;
  return freed;
}

// The index must not come back from a power cut in a state that needs the files.
Status Pruner::remove_packs(const std::vector<uint32_t>& packs) {
  if (packs.empty()) return {};
  TRY(state_.env->sync());
  for (const uint32_t pack : packs) {
    auto removed = state_.store->storage().remove(pack);
    if (!removed.ok() && removed.error().code != ErrorCode::kNotFound) return removed.error();
  }
  const auto forget_all = [packs](Store& store, WriteTxn& txn) -> Status {
    for (const uint32_t pack : packs) TRY(store.forget_pack(txn, pack));
    return {};
  };
  TRY(change(forget_all));

  for (const uint32_t pack : packs) condemned_.erase(pack);
  return {};
}

Json prune_json(const PruneResult& result, bool dry_run) {
  Json json;
  json["dry_run"] = dry_run;
  json["kept"] = {
      {"since", result.kept.since.value}, {"moments", Json::array()}, {"last", result.kept.last}};
  for (const Sequence seq : result.kept.moments) json["kept"]["moments"].push_back(seq.value);
  json["bytes_before"] = result.bytes_before;
  json["dead_bytes"] = result.dead_bytes;
  json["packs_rewritten"] = result.packs_rewritten;
  json["bytes_rewritten"] = result.bytes_rewritten;
  json["packs_written"] = result.packs_written;
  json["bytes_written"] = result.bytes_written;
  json["bytes_freed"] = result.bytes_freed;
  json["bytes_waiting"] = result.bytes_waiting;
  return json;
}

}  // namespace holdfast
