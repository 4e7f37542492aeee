// A restore under way: shared by service/restore.cpp, which plans and compares, and
// service/restore_finish.cpp, which removes, writes and finishes. Nobody else uses it.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "journal/record.h"
#include "service/restore.h"
#include "store/store.h"

namespace holdfast {

// A file whose content must be written.
struct Item {
  std::shared_ptr<Fd> dir_fd;
  std::string dir_path, name, temporary;
  Record version;
  ChunkLocation location;
  Status status;
};

struct Rename {
  std::string dir_path, temporary, name;
};

class Restorer {
 public:
  Restorer(State& state, const RestoreJob& job, Sequence at, const RestoreOptions& options,
           RestoreProgress& progress, const std::function<bool()>& cancelled)
      : state_(state),
        job_(job),
        at_(at),
        options_(options),
        progress_(progress),
        cancelled_(cancelled) {}
  // What was being built and did not get finished is of no use to anybody.
  ~Restorer() {
    uint64_t removed = 0;
    if (direct()) (void)remove_tree(AT_FDCWD, building_, removed).ok();
  }

  Result<RestoreResult> run();

 private:
  Status open_target();
  Status publish_target();
  Status select(const std::string& path);
  Status make_ancestors(const std::string& path);
  Status walk(NodeId dir, const std::string& path);
  Result<std::shared_ptr<Fd>> enter(const Record& version, const std::string& path);
  Status visit(const std::shared_ptr<Fd>& dir_fd, const std::string& dir_path, const Entry& entry);
  Status visit_file(const std::shared_ptr<Fd>& dir_fd, const std::string& dir_path,
                    const std::string& name, Record version);
  Status visit_special(int dir_fd, const std::string& dir_path, const std::string& name,
                       const Record& version);
  bool clear_way(int dir_fd, const std::string& path, const std::string& name,
                 const StatxResult& live, const Record& version);
  Result<bool> same_content(int dir_fd, const std::string& path, const std::string& name,
                            const StatxResult& live, const Record& version);
  Result<std::optional<bool>> shows_content(int dir_fd, const std::string& name,
                                            const Record& version);
  Status make_way_for_database(int dir_fd, const Rename& rename);
  Status remove_extra(int dir_fd, const std::string& dir_path, const std::set<std::string>& wanted);
  Status remove_name(int dir_fd, const std::string& path, const std::string& name);
  Result<bool> remove_known(int dir_fd, const std::string& path, const std::string& name);
  Status write_window();
  void write_items(std::atomic<size_t>& next);
  Status barrier();
  Status make_links();
  Status finish_dirs(NodeId dir, const std::string& path);
  void finish_dir(const Record& version, const std::string& path);
  void fail(const std::string& path, const Error& error);

  State& state_;
  const RestoreJob& job_;
  const Sequence at_;
  const RestoreOptions& options_;
  RestoreProgress& progress_;
  const std::function<bool()>& cancelled_;
  std::unique_ptr<ReadTxn> txn_;
  Fd target_;
  std::string
      building_;  // the temporary directory that becomes the target; empty: into what is there
  bool direct() const { return !building_.empty(); }
  std::vector<Item> window_;
  size_t window_dirs_ = 0;
  uint64_t unsynced_bytes_ = 0;
  std::vector<Rename> renames_;
  std::map<NodeId, std::string>
      first_names_;  // of nodes with several names: where the first one is
  std::vector<std::pair<std::string, Record>> links_;
  std::vector<std::pair<std::string, Record>> ancestors_;
  uint64_t temporaries_ = 0;
  RestoreResult result_;
};

}  // namespace holdfast
