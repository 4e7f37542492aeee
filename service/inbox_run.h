// InboxRun: one job of a restore inbox, from the dropped file to done/ or failed/ (docs/inbox.md).
//
//   begin -> finish, again until it succeeds        recover -> finish, after a start
//
// Each step is durable in the state (service/inbox_state.h) before it is done. Whatever happens
// between, finish() starts the containers that were stopped. One thread, the inboxes'; only state()
// may be called from others.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"
#include "service/config.h"
#include "service/docker.h"
#include "service/dump_run.h"
#include "service/gate.h"
#include "service/inbox_rules.h"
#include "service/inbox_state.h"
#include "service/state.h"

namespace holdfast {

struct InboxTools {
  State& state;
  Gate& gate;
  const Clock& clock;
  Log& log;
  ApiSend send;                    // for dumps
  std::function<bool()> stopping;  // the service is to end; any thread
};

class InboxRun {
 public:
  InboxRun(InboxTools tools, InboxState state);

  bool busy() const { return state_.job.has_value(); }
  bool begins_anew() const { return anew_; }  // after finish(): nothing was done for good
  // After a start: what was under way becomes something that finish() ends.
  void recover();
  // Takes the file, and restores it. However that ended: finish() has to be called.
  void begin(const InboxConfig& config, const Dropped& file);
  // An error: not all of it could be done, and it is to be called again. Not busy() after it.
  Status finish();
  InboxState state() const;  // as of the last step

 private:
  InboxJob& job() { return *state_.job; }
  void say(const std::string& line);
  Status save();
  Status enter(InboxPhase phase);
  void conclude(const Status& worked);

  Status work(const InboxConfig& config);
  Status unpack_file();
  Status write_unpacked(int from_fd, int to_fd, uint64_t size);
  bool was_restored_before() const;
  Status check_database(const InboxConfig& config);
  Status find_running(const InboxConfig& config, std::vector<std::string>& running);
  Status stop_containers(const InboxConfig& config, const std::vector<std::string>& running);
  Status flush();
  Status make_dumps(const InboxConfig& config);
  Result<DumpResult> make_dump(const DumpConfig& dump);
  Result<std::string> undo_of_dumps(const InboxConfig& config, const std::string& snapshot) const;
  Result<bool> has_watched_root() const;
  static constexpr std::string_view kThen = " && ";  // between the commands of an undo
  Status pin(const InboxConfig& config);
  Status run_command(const InboxConfig& config);
  Status replace_database(const InboxConfig& config);

  void recover_replacement();
  Status start_containers();
  Status start_one(const DockerApi& docker, const std::string& container, int64_t deadline_ns);
  Status file();
  Status journal();
  Status clear();
  std::string unpacked_dir() const { return tools_.state.dir + "/inbox.unpacked"; }
  std::string unpacked_path() const;
  void remove_unpacked();

  InboxTools tools_;
  InboxState state_;
  bool anew_ = false;  // nothing was done that a second time would do again
  int64_t stop_timeout_ns_ = InboxConfig{}.stop_timeout_ns;
  uint64_t unpacked_bytes_ = 0;
  std::string unpacked_hash_;  // hex
  std::string dumps_undo_;     // the commands that bring the dumps of the pinned moment back
  mutable std::mutex mutex_;   // of published_
  InboxState published_;
};

}  // namespace holdfast
