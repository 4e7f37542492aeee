// Capture: reading names of one directory into values: metadata, content hash, chunks. Runs on
// worker threads; takes values, returns values; touches no shared state but the store's index
// (through a ReadTxn of its own) and PendingChunks.
//
// A captured content is proven stable: statx before and after the read are the same, else it is
// read again, and after kCaptureAttemptsMax the last reading is kept and flagged unstable.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/fs.h"
#include "base/fs_type.h"
#include "base/lmdb.h"
#include "base/types.h"
#include "journal/record.h"
#include "journal/verdict.h"
#include "service/pending_chunks.h"
#include "store/store.h"

namespace holdfast {

inline constexpr int kCaptureAttemptsMax = 3;

FileStat to_file_stat(const StatxResult& statx);
uint64_t handle_id(const std::string& file_handle);  // 0 for ""

// How far apart two changes have to be, to show in the ctime for sure; 0: any two. A ctime of a
// whole second comes from inodes that hold no nanoseconds (ext3, and ext4 with inodes of 128
// bytes), which nothing else tells from others of their file system.
int64_t granularity_of(const FsTraits& fs, int64_t ctime_ns);

// Whether one more change, after statx() said `ctime_ns` at `now_ns` of the file system's clock,
// could leave the same ctime.
bool is_racy(const FsTraits& fs, int64_t ctime_ns, int64_t now_ns);

// One name to capture, through the open directory (O_PATH) that holds it: renames above do not
// matter.
struct CaptureItem {
  NodeId dir;
  std::shared_ptr<Fd> dir_fd;
  std::string name;
  Told told = Told::kSeen;  // of a change of content
  uint64_t ask = 0;         // of the engine, where somebody waits for just this
};

// Neighbours that are captured together and share frames.
struct CaptureTask {
  size_t root = 0;  // index in the engine
  std::vector<CaptureItem> items;
  uint64_t epoch = 0;
  uint64_t generation = 0;  // of the engine's batches; an aborted batch ends a generation
  bool offline = false;
  FsTraits fs;  // of the root
};

// Stands for chunks that nobody is to store (PendingChunks::Claim::kClosed): the id of none.
inline constexpr ChunkId kNeverStored{};

enum class CaptureState : uint8_t {
  kDone,        // metadata, and content of a regular file
  kGone,        // the name is not there any more
  kUnstable,    // kept changing; what was read last is kept
  kUnreadable,  // metadata only; `problem` says why
};

struct CaptureResult {
  NodeId dir;
  std::shared_ptr<Fd> dir_fd;
  std::string name;
  CaptureState state = CaptureState::kDone;
  FileType type = FileType::kFile;
  FileStat stat;
  bool sparse = false;
  ContentHash hash;
  ContentRef content;
  std::string link_target;
  std::vector<Xattr> xattrs;
  std::string problem;
  int problem_errno = 0;
  uint64_t handle = 0;  // of a regular file: Record::handle
  uint32_t doubts = 0;  // kFlagWriter, kFlagUnprobed, kFlagRacy
  // Of a SQLite database (service/sqlite_view.h).
  bool live = false;       // not the file's own bytes; stat.size is the content's
  bool in_flight = false;  // a commit may follow without any event
  std::string unproven;    // why it may be torn
  bool not_kept = false;   // hashed, and the content is not stored
  Told told = Told::kSeen;
  uint64_t ask = 0;
  std::vector<ChunkId> awaited;  // chunks that another worker is storing, and kNeverStored
  uint64_t closings = 0;         // of PendingChunks, before anything was claimed
  int64_t took_ns = 0;
};

// What a worker hands to the engine: frames first, then the results that refer to them.
struct CaptureOutput {
  size_t root = 0;
  uint64_t epoch = 0;
  uint64_t generation = 0;
  bool offline = false;
  bool finished = false;  // the last output of its task; others hold frames alone
  std::vector<NewFrame> frames;
  std::vector<CaptureResult> results;
  uint64_t known_bytes = 0;  // read, and in the store already
  size_t bytes() const;
};

// A piece of a long file, to be hashed and compressed by whichever worker is free.
struct SegmentJob;
struct Segment {
  std::shared_ptr<SegmentJob> job;
  size_t index = 0;
  std::unique_ptr<char[]> bytes;  // the sum of the cuts; what is behind them is not the segment's
  std::vector<uint32_t> cuts;     // chunk lengths
};

// What the capturing code needs of its surroundings. All members outlive the worker.
struct CaptureContext {
  LmdbEnv* env = nullptr;
  Store* store = nullptr;
  PendingChunks* pending = nullptr;
  std::function<void(CaptureOutput)> emit;      // may block: back-pressure
  std::function<bool(Segment&)> offer_segment;  // false: full, do it yourself
  std::function<bool(Segment&)> take_segment;   // to help while waiting
};

// One worker's tools; one thread.
class Capturer {
 public:
  explicit Capturer(CaptureContext context);
  ~Capturer();
  void capture(const CaptureTask& task);
  void do_segment(Segment& segment);  // of any worker's long file

 private:
  struct Work;
  class LongRead;
  std::unique_ptr<Work> work_;
};

}  // namespace holdfast
