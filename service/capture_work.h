// What capturing is made of, for the files that implement it: capture.cpp (names and metadata),
// capture_content.cpp (reading, cutting, storing), capture_early.cpp (databases before their lock).
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "service/capture.h"
#include "service/content_parts.h"
#include "service/frame_builder.h"
#include "service/known_chunks.h"
#include "service/sqlite_view.h"
#include "service/stored_index.h"

namespace holdfast {

// What must not move while a file is read.
inline bool same_content_stamp(const StatxResult& a, const StatxResult& b) {
  return a.size == b.size && a.mtime_ns == b.mtime_ns && a.ctime_ns == b.ctime_ns;
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

inline Source source_of(int fd, const StatxResult& st, const SqliteView* view) {
  if (view != nullptr && view->is_live()) return {fd, view->size(), false, view};
  return {fd, st.size, st.blocks * 512 < st.size, nullptr};
}

// What is new in a database is kept in memory while its writers wait, up to here.
inline constexpr uint64_t kLaterBytesMax = 8 * 1024 * 1024;

// One reading of a content, where it is not the only one or somebody waits for its end.
struct Pass {
  KnownChunks* known = nullptr;    // what the reading before found
  KnownChunks* learned = nullptr;  // what this one finds
  int64_t until_ns = 0;            // of CLOCK_MONOTONIC; kBusy beyond. 0: as long as it takes
  std::function<void()> all_read;  // the file is not needed any more
  uint64_t new_bytes = 0;          // that were not known
};

// What was read of a database before its lock was taken. It may be torn, unless the lock shows that
// nobody wrote since it began.
struct EarlyReading {
  DatabaseStamp stamp;
  CaptureResult content;  // nothing but that
  KnownChunks known{0};
  std::vector<ChunkId> awaited;
};

// Collects the parts of a long file's segments, which finish in any order.
struct SegmentJob {
  uint64_t generation = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::optional<std::vector<Part>>> done;  // by segment index, from `base` on
  size_t base = 0;
  // By segment index: for each cut the chunk, where it is stored already and the segment's bytes
  // are those of the others only. Nothing where all are new.
  std::map<size_t, std::vector<std::optional<ChunkId>>> known;
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
  // `size`: of the file, as it was found.
  std::optional<EarlyReading> read_early(const CaptureTask& task, int fd, uint64_t size,
                                         std::optional<EarlyReading> before);
  Status read_again(const CaptureTask& task, const Source& source, EarlyReading& early,
                    bool is_same, CaptureResult& result, Pass& reading);
  Status read_content(const CaptureTask& task, const Source& source, CaptureResult& result,
                      Pass& reading);
  Status read_small(const Source& source, CaptureResult& result, Pass& reading);
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

}  // namespace holdfast
