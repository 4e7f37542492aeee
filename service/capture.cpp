#include "service/capture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>

#include "service/content_parts.h"
#include "service/frame_builder.h"
#include "service/sqlite_view.h"
#include "service/stored_index.h"

namespace holdfast {

namespace {

constexpr size_t kSegmentBytes = 1024 * 1024;          // of a long file, given to another worker
constexpr uint64_t kSpreadBytesMin = 4 * 1024 * 1024;  // shorter files stay with one worker

int64_t read_clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// What must not move while a file is read.
bool same_content_stamp(const StatxResult& a, const StatxResult& b) {
  return a.size == b.size && a.mtime_ns == b.mtime_ns && a.ctime_ns == b.ctime_ns;
}

uint32_t doubts_of(Writers writers) {
  if (writers == Writers::kSome) return kFlagWriter;
  return writers == Writers::kUnknown ? kFlagUnprobed : 0u;
}

// What is read: a file's own bytes, or what they show of a database.
struct Source {
  int fd = -1;
  uint64_t size = 0;
  bool sparse = false;
  const SqliteView* view = nullptr;
  Result<size_t> read(char* out, size_t bytes, uint64_t at) const {
    return view != nullptr ? view->read(out, bytes, at) : pread_full(fd, out, bytes, at);
  }
};

Source source_of(int fd, const StatxResult& st, const SqliteView* view) {
  if (view != nullptr && view->is_live()) return {fd, view->size(), false, view};
  return {fd, st.size, st.blocks * 512 < st.size, nullptr};
}

void note_view(const SqliteView* view, CaptureResult& result) {
  result.live = view != nullptr && view->is_live();
  result.in_flight = view != nullptr && view->is_in_flight();
  result.unproven = view != nullptr ? view->unproven() : "";
}

std::vector<Xattr> to_xattrs(const XattrList& list) {
  std::vector<Xattr> xattrs;
  xattrs.reserve(list.size());
  for (const auto& [name, value] : list) xattrs.push_back({name, value});
  return xattrs;
}

}  // namespace

FileStat to_file_stat(const StatxResult& statx) {
  FileStat stat;
  stat.mode = statx.mode;
  stat.uid = statx.uid;
  stat.gid = statx.gid;
  stat.nlink = statx.nlink;
  stat.rdev = S_ISCHR(statx.mode) || S_ISBLK(statx.mode) ? statx.rdev : 0;
  stat.size = statx.size;
  stat.inode = statx.inode;
  stat.mtime_ns = statx.mtime_ns;
  stat.ctime_ns = statx.ctime_ns;
  stat.btime_ns = statx.btime_ns;
  return stat;
}

uint64_t handle_id(const std::string& file_handle) {
  return file_handle.empty() ? 0 : xxh3_64(file_handle);
}

int64_t granularity_of(const FsTraits& fs, int64_t ctime_ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  if (ctime_ns % kSecond == 0) return 2 * kSecond;
  return fs.fine_stamps ? 0 : fs.granularity_ns;
}

bool is_racy(const FsTraits& fs, int64_t ctime_ns, int64_t now_ns) {
  const int64_t granularity = granularity_of(fs, ctime_ns);
  return granularity > 0 && ctime_ns >= now_ns - granularity;
}

size_t CaptureOutput::bytes() const {
  size_t sum = 512 * results.size() + 256;
  for (const NewFrame& frame : frames) sum += frame.bytes.size();
  return sum;
}

// Collects the parts of a long file's segments, which finish in any order.
struct SegmentJob {
  uint64_t generation = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::optional<std::vector<Part>>> done;  // by segment index, from `base` on
  size_t base = 0;
  std::vector<ChunkId> awaited;
};

struct Capturer::Work {
  // While one lives, the index may be read.
  class Using {
   public:
    explicit Using(Work& work) : work_(work) { ++work_.users; }
    ~Using() {
      if (--work_.users == 0) work_.index.release();
    }
    Using(const Using&) = delete;
    Using& operator=(const Using&) = delete;

   private:
    Work& work_;
  };

  explicit Work(CaptureContext context_in)
      : context(std::move(context_in)),
        compressor(kCaptureLevel),
        builder(compressor),
        index(*context.env, *context.store, *context.pending) {}

  void emit_finished(const CaptureTask& task);
  void emit_frames(FrameBuilder& from, uint64_t generation);
  CaptureResult capture_name(const CaptureTask& task, const CaptureItem& item);
  void read_metadata(CaptureResult& result);
  void read_regular(const CaptureTask& task, int fd, const StatxResult& before,
                    CaptureResult& result);
  Status read_content(const CaptureTask& task, const Source& source, CaptureResult& result);
  Status read_small(const Source& source, CaptureResult& result);
  ChunkId store_chunk(std::string_view bytes, ChunkKind kind, FrameBuilder& into,
                      std::vector<ChunkId>& awaited);

  CaptureContext context;
  Compressor compressor;
  FrameBuilder builder;
  StoredIndex index;
  int users = 0;  // of index: it pins pages, so an idle worker has none
  std::string buffer;
  uint64_t known_bytes = 0;
  std::vector<CaptureResult> results;
  Capturer* capturer = nullptr;
};

Capturer::Capturer(CaptureContext context) : work_(std::make_unique<Work>(std::move(context))) {
  work_->capturer = this;
}
Capturer::~Capturer() = default;

void Capturer::Work::emit_finished(const CaptureTask& task) {
  builder.finish();
  CaptureOutput output;
  output.root = task.root;
  output.epoch = task.epoch;
  output.generation = task.generation;
  output.offline = task.offline;
  output.finished = true;
  output.known_bytes = std::exchange(known_bytes, 0);
  output.frames = builder.take();
  output.results = std::move(results);
  results.clear();
  context.emit(std::move(output));
}

void Capturer::Work::emit_frames(FrameBuilder& from, uint64_t generation) {
  CaptureOutput output;
  output.generation = generation;
  output.frames = from.take();
  if (output.frames.empty()) return;
  output.known_bytes = std::exchange(known_bytes, 0);
  context.emit(std::move(output));
}

void Capturer::capture(const CaptureTask& task) {
  Work& work = *work_;
  const Work::Using in_use(work);
  for (const CaptureItem& item : task.items) {
    const int64_t start = read_clock_ns(CLOCK_MONOTONIC);
    CaptureResult result = work.capture_name(task, item);
    result.took_ns = read_clock_ns(CLOCK_MONOTONIC) - start;
    work.results.push_back(std::move(result));
  }
  work.emit_finished(task);
}

CaptureResult Capturer::Work::capture_name(const CaptureTask& task, const CaptureItem& item) {
  CaptureResult result;
  result.dir = item.dir;
  result.dir_fd = item.dir_fd;
  result.name = item.name;
  result.told = item.told;
  result.ask = item.ask;
  // O_NONBLOCK: a FIFO put there a moment ago must not hang us. O_NOATIME where we may.
  const int flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
  int raw = ::openat(item.dir_fd->get(), item.name.c_str(), flags | O_NOATIME);
  if (raw < 0 && errno == EPERM) raw = ::openat(item.dir_fd->get(), item.name.c_str(), flags);
  const int open_errno = errno;
  Fd fd(raw);
  if (fd) {
    auto before = statx_fd(fd.get());
    if (before.ok() && S_ISREG(before->mode)) {
      read_regular(task, fd.get(), *before, result);
      return result;
    }
  }
  read_metadata(result);
  if (result.state == CaptureState::kDone && result.type == FileType::kFile) {
    result.state = CaptureState::kUnreadable;
    result.problem_errno = fd ? EIO : open_errno;
    result.problem = errno_error(result.problem_errno, "opening the file to read it").message;
  }
  return result;
}

void Capturer::Work::read_metadata(CaptureResult& result) {
  const int dir_fd = result.dir_fd->get();
  auto st = statx_name(dir_fd, result.name);
  if (!st.ok()) {
    // A look will tell whether it is gone or only cannot be looked at; no record is made of it
    // here.
    const bool gone = st.error().code == ErrorCode::kNotFound || result.ask == 0;
    result.state = gone ? CaptureState::kGone : CaptureState::kUnreadable;
    result.problem = st.error().message;
    return;
  }
  result.stat = to_file_stat(*st);
  result.type = file_type_of_mode(st->mode);
  if (result.type == FileType::kSymlink) {
    auto target = read_link(dir_fd, result.name);
    if (target.ok()) result.link_target = std::move(*target);
  }
  if (auto xattrs = read_xattrs_of_name(dir_fd, result.name); xattrs.ok()) {
    result.xattrs = to_xattrs(*xattrs);
  }
}

void Capturer::Work::read_regular(const CaptureTask& task, int fd, const StatxResult& first,
                                  CaptureResult& result) {
  StatxResult before = first;
  result.handle = handle_id(file_handle_of(fd));
  for (int attempt = 1;; ++attempt) {
    const auto view = SqliteView::open(result.dir_fd->get(), result.name, fd, task.fs);
    if (view) {  // from here on SQLite leaves it as it is
      if (const auto st = statx_fd(fd); st.ok()) before = *st;
    }
    const Source source = source_of(fd, before, view.get());
    result.type = FileType::kFile;
    result.stat = to_file_stat(before);
    result.sparse = source.sparse;
    note_view(view.get(), result);
    result.awaited.clear();
    // Asked after the stamps and before the content: who comes later has to move a stamp, even
    // through a mapping, whose pages are not writable yet.
    // Of an empty file too: a write() moves the stamps before it moves the size.
    // SQLite does not write through mappings, and is kept from writing otherwise.
    const bool kept = view && view->unproven().empty();
    result.doubts = kept ? 0 : doubts_of(ask_for_writers(fd));
    // The coarse clock is the one that the kernel stamps with.
    const int64_t now_ns = read_clock_ns(CLOCK_REALTIME_COARSE);
    if (auto status = read_content(task, source, result); !status.ok()) {
      result.state = CaptureState::kUnreadable;
      result.problem_errno = status.error().sys_errno;
      result.problem = status.error().message;
      result.content = {};
      return;
    }
    if (auto xattrs = read_xattrs(fd); xattrs.ok()) result.xattrs = to_xattrs(*xattrs);
    if (is_racy(task.fs, before.ctime_ns, now_ns)) result.doubts |= kFlagRacy;
    auto after = statx_fd(fd);
    const bool holds = !view || view->still_holds();
    if (after.ok() && same_content_stamp(before, *after) && holds) {
      const uint64_t size = result.stat.size;
      result.state = CaptureState::kDone;
      result.stat = to_file_stat(*after);
      if (result.live) result.stat.size = size;
      return;
    }
    // A file that keeps changing is not read over and over when that is expensive.
    if (attempt >= kCaptureAttemptsMax || !after.ok() ||
        (before.size > kMediumFileBytesMax && !view)) {
      result.state = CaptureState::kUnstable;
      return;
    }
    before = *after;
  }
}

Status Capturer::Work::read_small(const Source& source, CaptureResult& result) {
  if (buffer.size() < kSingleChunkBytesMax) buffer.resize(kSingleChunkBytesMax);
  TRY_ASSIGN(const size_t got, source.read(buffer.data(), source.size, 0));
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
  if (!context.pending->claim(id)) {
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
  LongRead(Work& work, const CaptureTask& task, const Source& source)
      : work_(work),
        task_(task),
        source_(source),
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
  void add_parts_that_are_done();
  void wait_for_segments(Capturer& capturer);

  Work& work_;
  const CaptureTask& task_;
  const Source& source_;
  const uint64_t size_;
  const bool spread_;
  const ChunkSizes sizes_;
  const Chunker chunker_;
  ContentParts content_;
  ContentHasher hasher_;
  std::shared_ptr<SegmentJob> job_;
  Segment segment_;
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
    auto next = std::make_unique_for_overwrite<char[]>(capacity);
    std::copy(rest.begin(), rest.end(), next.get());
    held = rest.size();
    cut_bytes = 0;
    flush_segment(capturer);
    segment_.bytes = std::move(next);
  }
  flush_segment(capturer);
  segment_ = {};
  return {};
}

void Capturer::LongRead::add_hole(Capturer& capturer, uint64_t bytes) {
  flush_segment(capturer);  // what was gathered so far comes before the hole
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
  {
    std::lock_guard lock(job_->mutex);
    segment.index = job_->base + job_->done.size();
    job_->done.emplace_back();
  }
  if (!spread_ || !work_.context.offer_segment(segment)) capturer.do_segment(segment);
  add_parts_that_are_done();
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
  for (const Part& part : ready) content_.add(part);
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
  std::vector<ChunkId> awaited;
  std::vector<Part> parts;
  const char* at = segment.bytes.get();
  for (const uint32_t length : segment.cuts) {
    parts.push_back(
        {PartKind::kData, length, work.store_chunk({at, length}, ChunkKind::kData, own, awaited)});
    at += length;
  }
  own.finish();
  work.emit_frames(own, job.generation);
  std::lock_guard lock(job.mutex);
  job.done[segment.index - job.base] = std::move(parts);
  job.awaited.insert(job.awaited.end(), awaited.begin(), awaited.end());
  job.changed.notify_all();
}

Status Capturer::Work::read_content(const CaptureTask& task, const Source& source,
                                    CaptureResult& result) {
  if (source.size <= kSingleChunkBytesMax) return read_small(source, result);
  LongRead reading(*this, task, source);
  return reading.read(*capturer, result);
}

}  // namespace holdfast
