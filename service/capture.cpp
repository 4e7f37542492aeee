#include "service/capture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <cerrno>

#include "base/clock.h"
#include "service/capture_work.h"

namespace holdfast {

namespace {

uint32_t doubts_of(Writers writers) {
  if (writers == Writers::kSome) return kFlagWriter;
  return writers == Writers::kUnknown ? kFlagUnprobed : 0u;
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
  result.closings = context.pending->closings();
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
  std::optional<EarlyReading> early;
  for (int attempt = 1;; ++attempt) {
    const bool gives_up = attempt > kCaptureAttemptsMax;
    if (!gives_up) early = read_early(task, fd, before.size, std::move(early));
    const auto view = SqliteView::open(result.dir_fd->get(), result.name, fd, task.fs);
    const int64_t begin_ns = read_clock_ns(CLOCK_MONOTONIC);
    if (view) {  // from here on SQLite leaves it as it is
      if (gives_up) view->give_up("a program would have to wait too long while it is read");
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
    Result<StatxResult> after = before;
    bool holds = true;
    Pass reading;
    const auto look_again = [&] {
      if (auto xattrs = read_xattrs(fd); xattrs.ok()) result.xattrs = to_xattrs(*xattrs);
      after = statx_fd(fd);
      holds = !view || view->still_holds();
      if (view) view->release();
    };
    if (view) reading.all_read = look_again;
    if (view && view->holds_up_writers()) {
      reading.until_ns = begin_ns + (kSqliteHoldNs << (attempt - 1));
    }
    const bool is_same = early && is_at_rest_since(early->stamp, *view, fd, before);
    auto status = early ? read_again(task, source, *early, is_same, result, reading)
                        : read_content(task, source, result, reading);
    if (!status.ok() && status.error().code == ErrorCode::kBusy) continue;
    if (!status.ok()) {
      result.state = CaptureState::kUnreadable;
      result.problem_errno = status.error().sys_errno;
      result.problem = status.error().message;
      result.content = {};
      return;
    }
    if (!view) look_again();
    if (is_racy(task.fs, before.ctime_ns, now_ns)) result.doubts |= kFlagRacy;
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

}  // namespace holdfast
