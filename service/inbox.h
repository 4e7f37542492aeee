// Inboxes: the restore inboxes of a service (docs/inbox.md), on a thread of their own beside the
// loop: one job after the other over all of them, and first of all what a run before left undone.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "service/api.h"
#include "service/config.h"
#include "service/gate.h"
#include "service/inbox_folder.h"
#include "service/inbox_run.h"
#include "service/query.h"
#include "service/state.h"

namespace holdfast {

// What only the file system and the environment know of a configuration: the folders, and where the
// Docker API is. Errors name file and line.
Result<std::vector<InboxConfig>> checked_inboxes(std::vector<InboxConfig> inboxes,
                                                 const std::string& config_file,
                                                 const std::string& state_dir);

class Inboxes {
 public:
  Inboxes(std::vector<InboxConfig> configs, Api& api, State& state, Gate& gate, const Clock& clock,
          Log& log);
  ~Inboxes();  // ends what is under way, starts the containers
  Inboxes(const Inboxes&) = delete;
  Inboxes& operator=(const Inboxes&) = delete;
  // To be called while the engine still answers; returns at once.
  void cancel();
  void finish();  // returns when what is under way is done, or cannot be; nothing is begun any more
  // One object for each inbox; any thread.
  Json status(std::vector<std::string>& problems) const;

 private:
  struct Inbox {
    InboxConfig config;
    std::unique_ptr<InboxFolder> folder;
    size_t waiting = 0;
    std::string problem;
  };
  void work();
  bool begin_state();
  bool take_next(int64_t& wait_ns);
  void finish_job();
  void wait(int64_t ns) const;  // or until something happens
  void wait_for_stop(int64_t ns) const;
  bool stopping() const;
  bool ending() const;  // or finishing
  Json status_of(const Inbox& inbox, const InboxState& state,
                 std::vector<std::string>& problems) const;

  Api& api_;
  State& state_;
  Gate& gate_;
  const Clock& clock_;
  Log& log_;
  Fd stop_event_;
  mutable std::mutex mutex_;  // of what follows, but for Inbox::folder
  std::vector<Inbox> inboxes_;
  std::string problem_;  // of all
  bool stopping_ = false, finishing_ = false;
  std::unique_ptr<InboxRun> run_;
  std::thread thread_;
};

}  // namespace holdfast
