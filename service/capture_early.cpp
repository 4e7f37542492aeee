// Databases with a rollback journal, whose writers wait while they are read under their lock: what
// can be done before it is taken, is (docs/sqlite.md, decision 23).
#include "service/capture_work.h"

namespace holdfast {

namespace {

constexpr uint64_t kEarlyBytesMin = 1024 * 1024;  // smaller ones take no time under their lock
constexpr int kEarlyReadingsMax = 4;

}  // namespace

// Reads a large database with a rollback journal as it is, so that its chunks are in the store
// before a writer has to wait for anything. Most of what is written meanwhile is caught up with
// too.
std::optional<EarlyReading> Capturer::Work::read_early(const CaptureTask& task, int fd,
                                                       uint64_t size,
                                                       std::optional<EarlyReading> before) {
  if (task.fs.network || size < kEarlyBytesMin) return std::nullopt;
  EarlyReading early;
  if (before) {
    early = std::move(*before);
  } else {
    uint64_t seed = 0;
    random_bytes(&seed, sizeof seed);
    early.known = KnownChunks(seed);
  }
  for (int readings = 0; readings < kEarlyReadingsMax; ++readings) {
    auto stamp = stamp_of_rollback_database(fd, task.fs);
    if (!stamp || stamp->stat.size < kEarlyBytesMin) return std::nullopt;
    early.stamp = std::move(*stamp);
    const StatxResult& st = early.stamp.stat;
    early.content = {};
    early.known.rewind();
    KnownChunks learned(early.known.seed());
    Pass reading;
    reading.known = &early.known;
    reading.learned = &learned;
    const Source source = source_of(fd, st, nullptr);
    if (!read_content(task, source, early.content, reading).ok()) return std::nullopt;
    early.known = std::move(learned);
    early.awaited.insert(early.awaited.end(), early.content.awaited.begin(),
                         early.content.awaited.end());
    const auto after = statx_fd(fd);
    if (after.ok() && same_content_stamp(st, *after)) break;
    if (reading.new_bytes <= kLaterBytesMax) break;
  }
  return early;
}

// Under the lock: takes what was read before it where nobody wrote since then, and else reads
// again, which asks the store only for what is new.
Status Capturer::Work::read_again(const CaptureTask& task, const Source& source,
                                  EarlyReading& early, bool is_same, CaptureResult& result,
                                  Pass& reading) {
  result.awaited = early.awaited;
  if (is_same) {
    result.hash = early.content.hash;
    result.content = early.content.content;
    result.stat.size = early.content.stat.size;
    reading.all_read();
    return {};
  }
  early.known.rewind();
  reading.known = &early.known;
  return read_content(task, source, result, reading);
}

}  // namespace holdfast
