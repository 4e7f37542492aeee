// From a time to a sequence. Logical time increases with the sequence, so it is a search; the wall
// clock may have been set back, so it is one search in each span in which it was not.
#include <algorithm>

#include "journal/internal.h"

namespace holdfast {

namespace {

// The last batch at or before a logical time.
Result<std::optional<Batch>> batch_at(Cursor& times, int64_t time_ns) {
  TRY_ASSIGN(const bool found, times.seek_at_or_before(time_key(time_ns)));
  if (!found) return std::optional<Batch>();
  const auto batch = parse_batch(times.key(), times.value());
  if (!batch) return damaged_row("times", std::to_string(time_ns));
  return batch;
}

// The batch behind another.
Result<std::optional<Batch>> next_batch(Cursor& times, const Batch& before) {
  TRY_ASSIGN(const bool found, times.seek_at_or_after(time_key(before.time_ns + 1)));
  if (!found) return std::optional<Batch>();
  const auto batch = parse_batch(times.key(), times.value());
  if (!batch) return damaged_row("times", "the row of a batch");
  return batch;
}

// The last sequence in (low, high] for which `fits`, else `low`. `fits` holds up to some point.
template <class Fits>
Result<Sequence> last_that(Sequence low, Sequence high, const Fits& fits) {
  uint64_t good = low.value;
  uint64_t bad = high.value + 1;
  while (bad - good > 1) {
    const uint64_t middle = good + (bad - good) / 2;
    TRY_ASSIGN(const bool fit, fits(Sequence{middle}));
    (fit ? good : bad) = middle;
  }
  return Sequence{good};
}

// The last batch with wall <= wall_ns among those from `first` to `last`, whose wall times do not
// decrease. The table is keyed by logical time, so this halves the span of logical time.
Result<std::optional<Batch>> batch_of_wall(Cursor& times, const Batch& first, const Batch& last,
                                           int64_t wall_ns) {
  if (first.wall_ns > wall_ns) return std::optional<Batch>();
  if (last.wall_ns <= wall_ns) return std::optional(last);
  Batch good = first;
  int64_t bad_ns = last.time_ns;
  int64_t low_ns = first.time_ns;
  while (static_cast<uint64_t>(bad_ns) - static_cast<uint64_t>(low_ns) > 1) {
    const uint64_t distance = static_cast<uint64_t>(bad_ns) - static_cast<uint64_t>(low_ns);
    const auto middle_ns = static_cast<int64_t>(static_cast<uint64_t>(low_ns) + distance / 2);
    TRY_ASSIGN(const auto batch, batch_at(times, middle_ns));
    if (!batch) return damaged_row("times", std::to_string(middle_ns));
    if (batch->wall_ns <= wall_ns) {
      good = *batch;
      low_ns = middle_ns;
    } else {
      bad_ns = batch->time_ns;
    }
  }
  return std::optional(good);
}

// A run of batches during which the wall clock was not set back.
struct WallSpan {
  Batch first;
  Batch last;
};

Result<std::vector<WallSpan>> wall_spans(const LmdbTxn& txn, Dbi meta, Cursor& times) {
  std::vector<WallSpan> spans;
  TRY_ASSIGN(const bool any, times.first());
  if (!any) return spans;
  auto first = parse_batch(times.key(), times.value());
  TRY_ASSIGN(Cursor steps, Cursor::open(txn, meta));
  TRY_ASSIGN(bool found, steps.seek_at_or_after(kMetaStep));
  while (first && found && steps.key().starts_with(kMetaStep)) {
    if (steps.key().size() != kMetaStep.size() + 8) return damaged_row("meta", "'step'");
    const int64_t step_ns = get_time(steps.key().data() + kMetaStep.size());
    TRY_ASSIGN(const auto last, batch_at(times, step_ns - 1));
    if (!last) return damaged_row("meta", "'step' " + std::to_string(step_ns));
    spans.push_back({*first, *last});
    TRY_ASSIGN(first, batch_at(times, step_ns));
    TRY_ASSIGN(found, steps.next());
  }
  TRY_ASSIGN(const auto end, batch_at(times, INT64_MAX));
  if (!first || !end) return damaged_row("times", "its ends");
  spans.push_back({*first, *end});
  return spans;
}

}  // namespace

// Lost records have the time of the one that stands for them.
Result<std::string_view> Journal::bytes_for_time(const LmdbTxn& txn, Sequence seq) const {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, records_));
  TRY_ASSIGN(const bool found, cursor.seek_at_or_after(record_key(seq)));
  if (!found) return make_error(ErrorCode::kNotFound, "there is no record " + at_seq(seq));
  return cursor.value();
}

Result<Sequence> Journal::batch_end(const LmdbTxn& txn, Sequence seq) const {
  TRY_ASSIGN(const int64_t time_ns, time_of(txn, seq));
  TRY_ASSIGN(Cursor times, Cursor::open(txn, times_));
  TRY_ASSIGN(const bool found, times.seek_at_or_after(time_key(time_ns)));
  const auto batch = found ? parse_batch(times.key(), times.value()) : std::nullopt;
  if (!batch || batch->last < seq) return damaged_row("times", "the batch of " + at_seq(seq));
  return batch->last;
}

Result<int64_t> Journal::time_of(const LmdbTxn& txn, Sequence seq) const {
  TRY_ASSIGN(const auto bytes, bytes_for_time(txn, seq));
  const auto time_ns = peek_time(bytes);
  if (!time_ns) return damaged_row("records", at_seq(seq));
  return *time_ns;
}

Result<int64_t> Journal::wall_of(const LmdbTxn& txn, Sequence seq) const {
  TRY_ASSIGN(const auto bytes, bytes_for_time(txn, seq));
  const auto wall_ns = peek_wall(bytes);
  if (!wall_ns) return damaged_row("records", at_seq(seq));
  return *wall_ns;
}

Result<Sequence> Journal::sequence_at(const LmdbTxn& txn, int64_t time_ns) const {
  TRY_ASSIGN(const HeadRow head, head_row(txn));
  if (head.seq.value == 0 || head.time_ns <= time_ns) return head.seq;
  TRY_ASSIGN(Cursor times, Cursor::open(txn, times_));
  TRY_ASSIGN(const auto before, batch_at(times, time_ns));
  // Between that batch and the next one's last record; without a next one, among the records of the
  // batch that has not ended.
  Sequence high = head.seq;
  TRY_ASSIGN(const bool more, times.seek_at_or_after(time_key(time_ns)));
  if (more) {
    auto next = parse_batch(times.key(), times.value());
    if (next && next->time_ns == time_ns) return next->last;
    if (!next) return damaged_row("times", std::to_string(time_ns));
    high = next->last;
  }
  return last_that(before ? before->last : Sequence{}, high, [&](Sequence seq) -> Result<bool> {
    TRY_ASSIGN(const int64_t found_ns, time_of(txn, seq));
    return found_ns <= time_ns;
  });
}

// The latest wall time that was seen before the clock was set back: it went on from the last record
// before the step until at most the first one after it, and the boot clock says how long that was,
// as nearly as the two clocks of a record were read together.
Result<int64_t> Journal::end_of_span(const LmdbTxn& txn, Sequence last, Sequence next) const {
  TRY_ASSIGN(const Record before, record(txn, last));
  TRY_ASSIGN(const Record after, record(txn, next));
  int64_t end_ns = std::max(before.wall_ns, after.wall_ns);
  if (before.boot == after.boot && after.boottime_ns > before.boottime_ns) {
    end_ns = std::max(end_ns, before.wall_ns + (after.boottime_ns - before.boottime_ns));
  }
  return end_ns + kClockStepMinNs;
}

Result<std::vector<Sequence>> Journal::wall_candidates(const LmdbTxn& txn, int64_t wall_ns) const {
  std::vector<Sequence> candidates;
  TRY_ASSIGN(const HeadRow head, head_row(txn));
  if (head.seq.value == 0) return candidates;
  TRY_ASSIGN(Cursor times, Cursor::open(txn, times_));
  TRY_ASSIGN(std::vector<WallSpan> spans, wall_spans(txn, meta_, times));

  // Records whose batch has not ended count as one more batch: a span of its own after a step back.
  const Sequence ended = spans.empty() ? Sequence{} : spans.back().last.last;
  if (ended < head.seq) {
    const Batch open{head.time_ns, Sequence{ended.value + 1}, head.seq, head.wall_ns};
    if (spans.empty() || open.wall_ns < spans.back().last.wall_ns) {
      spans.push_back({open, open});
    } else {
      spans.back().last = open;
    }
  }
  for (size_t i = 0; i < spans.size(); ++i) {
    const auto& [first, last] = spans[i];
    TRY_ASSIGN(int64_t begin_ns, wall_of(txn, first.first));
    // Where the clock was set back within a batch, that batch's last record tells from where the
    // span goes.
    begin_ns = std::min(begin_ns, first.wall_ns);
    const bool newest = i + 1 == spans.size();
    int64_t end_ns = last.wall_ns;
    if (!newest) {
      TRY_ASSIGN(end_ns, end_of_span(txn, last.last, spans[i + 1].first.first));
    }
    if (wall_ns < begin_ns || (!newest && wall_ns > end_ns)) continue;
    TRY_ASSIGN(const auto before, batch_of_wall(times, first, last, wall_ns));
    const Sequence low{before ? before->last.value : first.first.value - 1};
    Sequence high = low;
    if (!before) {
      high = first.last;
    } else if (before->last < last.last) {
      TRY_ASSIGN(const auto next, next_batch(times, *before));
      high = next ? next->last : last.last;
    }
    TRY_ASSIGN(const Sequence found, last_that(low, high, [&](Sequence seq) -> Result<bool> {
                 TRY_ASSIGN(const int64_t found_ns, wall_of(txn, seq));
                 return found_ns <= wall_ns;
               }));
    candidates.push_back(found);
  }
  return candidates;
}

}  // namespace holdfast
