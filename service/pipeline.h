// Pipeline: the worker threads. Tasks in, values out; bounded both ways.
//
// Tasks: scanning a directory, capturing a group of names, a segment of a long file (those go
// first, so that a long file never waits for itself). The engine submits only while has_room();
// workers wait while the engine has kOutputBytesMax of their output yet to take. `wake` is called,
// from a worker, when output waits to be taken.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "service/capture.h"
#include "service/name_list.h"

namespace holdfast {

struct ScanEntry {
  std::string name;
  StatxResult stat;
};

// Names of which nobody can say whether they are there (no right to search, a bad inode, a server
// that does not answer), sorted, and the first one's error.
struct Unknown {
  std::vector<std::string> names;
  std::string why;
  void add(const std::string& name, const Error& error);
  bool contains(const std::string& name) const;
};

// Of a large directory so many names are looked at, compared and captured before the next ones are.
inline constexpr size_t kScanNamesMax = 8192;

// Look at every name of one directory, or at the next ones of it.
struct ScanTask {
  size_t root = 0;
  NodeId dir;
  std::shared_ptr<Fd> dir_fd;
  std::string path;  // relative, for messages and excludes
  uint64_t epoch = 0;
  uint64_t generation = 0;
  bool recursive = false;
  bool offline = false;
  std::shared_ptr<const NameList> names;  // all of them, once it was listed
  size_t next = 0;                        // the first that was not looked at
  bool cache_dir = false;                 // holds a valid CACHEDIR.TAG
};

// `entries` and `unknown` are what was found of the names from `first` to before `task.next`.
struct ScanResult {
  ScanTask task;
  Status status;
  StatxResult self;           // with the last names
  std::vector<Xattr> xattrs;  // the directory's own, with the last names
  size_t first = 0;
  std::vector<ScanEntry> entries;  // sorted by name
  Unknown unknown;
  bool is_last() const { return !status.ok() || task.next == task.names->size(); }
};

using PipelineOutput = std::variant<ScanResult, CaptureOutput>;

// True where the open directory holds a CACHEDIR.TAG with the standard's signature.
bool holds_cachedir_tag(int dir_fd);

class Pipeline {
 public:
  static constexpr size_t kOutputBytesMax = 16 * 1024 * 1024;
  static constexpr size_t kTasksMax = 48;
  static constexpr size_t kSegmentsMax = 4;

  Pipeline(size_t workers, LmdbEnv& env, Store& store, std::function<void()> wake);
  ~Pipeline();  // finishes nothing: waits for the running tasks and drops the rest
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  bool has_room() const;  // engine's thread
  void submit(ScanTask task);
  void submit(CaptureTask task);
  std::optional<PipelineOutput> try_take();
  // Waits until output is there or the time is over.
  void wait(int64_t timeout_ns);
  size_t tasks_outstanding() const;  // submitted, and their last output not yet taken
  PendingChunks& pending() { return pending_; }

 private:
  using Task = std::variant<ScanTask, CaptureTask>;
  void work();
  void emit(PipelineOutput output, size_t bytes);
  bool offer_segment(Segment& segment);
  bool take_segment(Segment& segment);

  LmdbEnv& env_;
  Store& store_;
  std::function<void()> wake_;
  PendingChunks pending_;
  mutable std::mutex mutex_;
  std::condition_variable work_there_, output_there_, output_room_;
  std::deque<Task> tasks_;
  std::deque<Segment> segments_;
  std::deque<std::pair<PipelineOutput, size_t>> outputs_;
  size_t output_bytes_ = 0;
  size_t outstanding_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace holdfast
