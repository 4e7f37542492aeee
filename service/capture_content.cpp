// Reading a content, cutting it into chunks, and storing those that the store does not have.
#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "service/capture_work.h"

namespace holdfast {

namespace {

constexpr size_t kSegmentBytes = 1024 * 1024;          // of a long file, given to another worker
constexpr uint64_t kSpreadBytesMin = 4 * 1024 * 1024;  // shorter files stay with one worker
}  // namespace

Status Capturer::Work::read_small(const Source& source, CaptureResult& result, Pass& reading) {
  if (buffer.size() < kSingleChunkBytesMax) buffer.resize(kSingleChunkBytesMax);
  TRY_ASSIGN(const size_t got, source.read(buffer.data(), source.size, 0));
  if (reading.all_read) reading.all_read();
  const std::string_view bytes(buffer.data(), got);
  result.stat.size = got;
  result.hash = content_hash(bytes);
  if (got == 0) {
    result.content = {ContentKind::kEmpty, {}};
    return {};
  }
  const ChunkId id = store_chunk(bytes, ChunkKind::kData, builder, result.awaited);
  result.content = {ContentKind::kChunk, id};
  return {};
}

// Enters the chunk into the frame being built, unless the store has it or another worker is on it.
ChunkId Capturer::Work::store_chunk(std::string_view bytes, ChunkKind kind, FrameBuilder& into,
                                    std::vector<ChunkId>& awaited) {
  const ChunkId id = chunk_id(context.store->info().key, bytes);
  if (index.has(id)) {
    known_bytes += bytes.size();
    return id;
  }
  const auto claim = context.pending->claim(id);
  if (claim == PendingChunks::Claim::kClosed) {
    // One of them says it for all: of a file of any size.
    if (awaited.empty() || awaited.back() != kNeverStored) awaited.push_back(kNeverStored);
    return id;
  }
  if (claim == PendingChunks::Claim::kOthers) {
    awaited.push_back(id);
    return id;
  }
  // Another worker's may have been committed and released between the two questions.
  if (context.pending->commits() != index.seen_commits() && index.has(id)) {
    context.pending->release(id);
    return id;
  }
  into.add(id, kind, bytes);
  return id;
}

// What cannot be read here will be missed by the reading itself.
ChunkSizes chunk_sizes_of(const Source& source) {
  char head[kSqliteHeadBytes];
  auto got = source.read(head, sizeof head, 0);
  return chunk_sizes_for(source.size, {head, got.ok() ? *got : 0});
}

// Reads one long file: finds its data, cuts it, and spreads the hashing and compressing of a very
// long one over the workers. Parts are put together in order, whatever order the segments finish
// in.
class Capturer::LongRead {
 public:
  LongRead(Work& work, const CaptureTask& task, const Source& source, Pass& reading)
      : work_(work),
        task_(task),
        source_(source),
        reading_(reading),
        size_(source.size),
        spread_(source.size >= kSpreadBytesMin),
        sizes_(chunk_sizes_of(source)),
        chunker_(work.context.store->gear(), sizes_),
        content_([this](const std::string& block) {
          return work_.store_chunk(block, ChunkKind::kRecipe, work_.builder, awaited_);
        }),
        job_(std::make_shared<SegmentJob>()) {
    job_->generation = task.generation;
  }

  Status read(Capturer& capturer, CaptureResult& result);

 private:
  Status read_extent(Capturer& capturer, uint64_t begin, uint64_t end);
  void add_hole(Capturer& capturer, uint64_t bytes);
  void flush_segment(Capturer& capturer);
  uint64_t look_up(Segment& segment, std::vector<std::optional<ChunkId>>& known);
  void hand_over(Segment segment, bool spread, Capturer& capturer);
  void add_parts_that_are_done();
  void wait_for_segments(Capturer& capturer);

  Work& work_;
  const CaptureTask& task_;
  const Source& source_;
  Pass& reading_;
  const uint64_t size_;
  const bool spread_;
  const ChunkSizes sizes_;
  const Chunker chunker_;
  ContentParts content_;
  ContentHasher hasher_;
  std::shared_ptr<SegmentJob> job_;
  Segment segment_;
  std::unique_ptr<char[]> spare_;  // of a segment that is in the store
  std::vector<Segment> later_;     // to be stored when nobody waits for us
  uint64_t later_bytes_ = 0;
  std::deque<uint64_t> hashes_;  // of parts that were looked up and are not put together yet
  uint64_t cut_at_ = 0, part_at_ = 0;
  std::vector<ChunkId> awaited_;
  uint64_t read_bytes_ = 0;
};

Status Capturer::LongRead::read(Capturer& capturer, CaptureResult& result) {
  for (uint64_t at = 0; at < size_;) {
    uint64_t data = at, hole = size_;
    if (source_.sparse) {
      const off_t found = ::lseek(source_.fd, static_cast<off_t>(at), SEEK_DATA);
      if (found < 0 && errno != ENXIO) return errno_error(errno, "looking for holes");
      data = found < 0 ? size_ : std::min<uint64_t>(static_cast<uint64_t>(found), size_);
      const off_t end =
          data < size_ ? ::lseek(source_.fd, static_cast<off_t>(data), SEEK_HOLE) : -1;
      if (end >= 0) hole = std::min<uint64_t>(static_cast<uint64_t>(end), size_);
    }
    if (data > at) add_hole(capturer, data - at);
    if (data < hole) TRY(read_extent(capturer, data, hole));
    at = hole;
  }
  flush_segment(capturer);
  if (reading_.all_read) reading_.all_read();
  for (Segment& segment : later_) hand_over(std::move(segment), spread_, capturer);
  wait_for_segments(capturer);
  result.hash = hasher_.finish();
  result.stat.size = read_bytes_;
  result.content = content_.finish();
  result.awaited.insert(result.awaited.end(), awaited_.begin(), awaited_.end());
  result.awaited.insert(result.awaited.end(), job_->awaited.begin(), job_->awaited.end());
  return {};
}

// The file is read to where it is hashed, cut and compressed: only what is behind the last cut of a
// segment is copied, to the front of the next one.
Status Capturer::LongRead::read_extent(Capturer& capturer, uint64_t begin, uint64_t end) {
  const size_t capacity = std::min<uint64_t>(kSegmentBytes + sizes_.max, end - begin);
  size_t cut_bytes = 0, held = 0;  // in the segment's buffer: cut, and in all
  for (uint64_t at = begin; at < end || held > cut_bytes;) {
    if (reading_.until_ns != 0 && read_clock_ns(CLOCK_MONOTONIC) > reading_.until_ns) {
      return make_error(ErrorCode::kBusy, "a program would have to wait too long");
    }
    if (!segment_.bytes) segment_.bytes = std::make_unique_for_overwrite<char[]>(capacity);
    const size_t want = std::min<uint64_t>(capacity - held, end - at);
    char* const to = segment_.bytes.get() + held;
    TRY_ASSIGN(const size_t got, source_.read(to, want, at));
    if (got < want) end = at + got;  // truncated while we read: the stamps will tell
    hasher_.update({to, got});
    read_bytes_ += got;
    held += got;
    at += got;
    std::string_view rest(segment_.bytes.get() + cut_bytes, held - cut_bytes);
    while (!rest.empty() && (rest.size() >= sizes_.max || at >= end) && cut_bytes < kSegmentBytes) {
      const size_t cut = chunker_.next_cut(rest);
      segment_.cuts.push_back(static_cast<uint32_t>(cut));
      rest.remove_prefix(cut);
      cut_bytes += cut;
    }
    if (rest.empty() && at >= end) break;
    auto next = std::move(spare_);
    if (!next) next = std::make_unique_for_overwrite<char[]>(capacity);
    std::copy(rest.begin(), rest.end(), next.get());
    held = rest.size();
    cut_bytes = 0;
    flush_segment(capturer);
    segment_.bytes = std::move(next);
  }
  flush_segment(capturer);
  segment_ = {};
  spare_.reset();  // the next extent's may have to be larger
  return {};
}

void Capturer::LongRead::add_hole(Capturer& capturer, uint64_t bytes) {
  flush_segment(capturer);  // what was gathered so far comes before the hole
  cut_at_ += bytes;
  hasher_.update_zeros(bytes);
  read_bytes_ += bytes;
  std::vector<Part> hole{{PartKind::kHole, bytes, {}}};
  std::lock_guard lock(job_->mutex);
  job_->done.emplace_back(std::move(hole));
}

void Capturer::LongRead::flush_segment(Capturer& capturer) {
  if (segment_.cuts.empty()) return;
  Segment segment = std::move(segment_);
  segment_ = {};
  segment.job = job_;
  std::vector<std::optional<ChunkId>> known;
  const uint64_t new_bytes = reading_.known != nullptr ? look_up(segment, known) : kSegmentBytes;
  {
    std::lock_guard lock(job_->mutex);
    segment.index = job_->base + job_->done.size();
    job_->done.emplace_back();
    if (!known.empty()) job_->known.emplace(segment.index, std::move(known));
  }
  // While somebody waits, what is new is kept for later, as far as that is not too much.
  if (new_bytes > 0 && reading_.until_ns != 0 && later_bytes_ + new_bytes <= kLaterBytesMax) {
    later_bytes_ += new_bytes;
    later_.push_back(std::move(segment));
  } else {
    hand_over(std::move(segment), spread_ && new_bytes > 0, capturer);
  }
  add_parts_that_are_done();
}

void Capturer::LongRead::hand_over(Segment segment, bool spread, Capturer& capturer) {
  if (!spread || !work_.context.offer_segment(segment)) capturer.do_segment(segment);
}

// Leaves only those bytes in the segment that the reading before did not find there, and says how
// many. `known` stays empty where that is all of them.
uint64_t Capturer::LongRead::look_up(Segment& segment, std::vector<std::optional<ChunkId>>& known) {
  const char* at = segment.bytes.get();
  uint64_t known_bytes = 0, new_bytes = 0;
  known.reserve(segment.cuts.size());
  for (const uint32_t length : segment.cuts) {
    const uint64_t hash = reading_.known->hash({at, length});
    if (reading_.learned != nullptr) hashes_.push_back(hash);
    const ChunkId* id = reading_.known->find(cut_at_, hash);
    known.push_back(id != nullptr ? std::optional(*id) : std::nullopt);
    (id != nullptr ? known_bytes : new_bytes) += length;
    at += length;
    cut_at_ += length;
  }
  reading_.new_bytes += new_bytes;
  if (known_bytes == 0) {
    known.clear();
    return new_bytes;
  }
  auto all = std::move(segment.bytes);
  segment.bytes = std::make_unique_for_overwrite<char[]>(new_bytes);
  const char* from = all.get();
  char* to = segment.bytes.get();
  for (size_t i = 0; i < segment.cuts.size(); from += segment.cuts[i], ++i) {
    if (!known[i]) to = std::copy_n(from, segment.cuts[i], to);
  }
  spare_ = std::move(all);
  return new_bytes;
}

void Capturer::LongRead::add_parts_that_are_done() {
  std::vector<Part> ready;
  {
    std::lock_guard lock(job_->mutex);
    while (!job_->done.empty() && job_->done.front()) {
      ready.insert(ready.end(), job_->done.front()->begin(), job_->done.front()->end());
      job_->done.pop_front();
      ++job_->base;
    }
  }
  for (const Part& part : ready) {
    content_.add(part);
    if (reading_.learned != nullptr && part.kind == PartKind::kData) {
      reading_.learned->add(part_at_, hashes_.front(), part.id);
      hashes_.pop_front();
    }
    part_at_ += part.bytes;
  }
  if (work_.builder.finished_bytes() > kSegmentBytes) {
    work_.emit_frames(work_.builder, task_.generation);
  }
}

void Capturer::LongRead::wait_for_segments(Capturer& capturer) {
  for (;;) {
    add_parts_that_are_done();
    Segment other;
    {
      std::unique_lock lock(job_->mutex);
      if (job_->done.empty()) return;
    }
    if (work_.context.take_segment(other)) {
      capturer.do_segment(other);
      continue;
    }
    std::unique_lock lock(job_->mutex);
    // What is left is in other workers' hands.
    job_->changed.wait(lock, [&] { return job_->done.empty() || job_->done.front().has_value(); });
  }
}

void Capturer::do_segment(Segment& segment) {
  Work& work = *work_;
  const Work::Using in_use(work);
  FrameBuilder own(work.compressor);  // the segment's frames must leave with the segment
  SegmentJob& job = *segment.job;
  std::vector<std::optional<ChunkId>> known;
  {
    std::lock_guard lock(job.mutex);
    if (auto taken = job.known.extract(segment.index)) known = std::move(taken.mapped());
  }
  std::vector<ChunkId> awaited;
  std::vector<Part> parts;
  const char* at = segment.bytes.get();
  for (size_t i = 0; i < segment.cuts.size(); ++i) {
    const uint32_t length = segment.cuts[i];
    if (!known.empty() && known[i]) {
      parts.push_back({PartKind::kData, length, *known[i]});
      continue;
    }
    parts.push_back(
        {PartKind::kData, length, work.store_chunk({at, length}, ChunkKind::kData, own, awaited)});
    at += length;
  }
  own.finish();
  work.emit_frames(own, job.generation);
  std::lock_guard lock(job.mutex);
  job.done[segment.index - job.base] = std::move(parts);
  const bool told = !job.awaited.empty() && job.awaited.back() == kNeverStored;
  if (!told || awaited.size() != 1 || awaited[0] != kNeverStored) {
    job.awaited.insert(job.awaited.end(), awaited.begin(), awaited.end());
  }
  job.changed.notify_all();
}

Status Capturer::Work::read_content(const CaptureTask& task, const Source& source,
                                    CaptureResult& result, Pass& reading) {
  if (source.size <= kSingleChunkBytesMax) return read_small(source, result, reading);
  LongRead long_read(*this, task, source, reading);
  return long_read.read(*capturer, result);
}

}  // namespace holdfast
