#include "service/inbox.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/clock.h"
#include "base/path.h"
#include "journal/time_spec.h"
#include "service/inbox_files.h"

namespace holdfast {

namespace {
constexpr int64_t kAgainNs = 5 * kSecondNs;  // what could not be finished
constexpr int64_t kGoneNs = 10 * kSecondNs;  // a folder that cannot be looked at
constexpr int64_t kLongestNs = 60 * kSecondNs;
constexpr size_t kFailedToldMax = 10;

Status check_directory(const std::string& path, const std::string& place, const std::string& fix) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    return make_error(ErrorCode::kUsage, place + " is \"" + display_path(path) +
                                             "\": " + errno_error(errno, "looking at it").message +
                                             "; " + fix);
  }
  if (S_ISDIR(st.st_mode)) return {};
  return make_error(ErrorCode::kUsage,
                    place + " is \"" + display_path(path) + "\", which is not a directory; " + fix);
}

Result<std::string> docker_socket(const InboxConfig& inbox, const std::string& place) {
  constexpr const char* kUsual = "/var/run/docker.sock";
  if (!inbox.docker.empty() || inbox.stop.empty()) return inbox.docker;
  const char* host = std::getenv("DOCKER_HOST");
  if (host == nullptr || *host == '\0') return std::string(kUsual);
  auto socket = docker_socket_of(host);
  if (socket.ok()) return socket;
  return make_error(ErrorCode::kUsage, place +
                                           "stop in [[inbox]] needs the Docker API, and "
                                           "DOCKER_HOST " +
                                           socket.error().message +
                                           "; set docker in the [[inbox]]");
}
}  // namespace

Result<std::vector<InboxConfig>> checked_inboxes(std::vector<InboxConfig> inboxes,
                                                 const std::string& config_file,
                                                 const std::string& state_dir) {
  for (InboxConfig& inbox : inboxes) {
    const std::string place = config_file + ":" + std::to_string(inbox.line) + ": ";
    TRY(check_directory(inbox.path, place + "path in [[inbox]]", "make the directory"));
    if (path_below(inbox.path, state_dir)) {
      return make_error(ErrorCode::kUsage, place +
                                               "path in [[inbox]] lies in the state directory " +
                                               display_path(state_dir) + "; take another folder");
    }
    if (!inbox.replace.empty()) {
      const std::string parent(split_last(inbox.replace).first);
      TRY(check_directory(parent, place + "the directory of replace in [[inbox]]",
                          "name a database in a directory that is there"));
    }
    TRY_ASSIGN(inbox.docker, docker_socket(inbox, place));
  }
  return inboxes;
}

Inboxes::Inboxes(std::vector<InboxConfig> configs, Api& api, State& state, Gate& gate,
                 const Clock& clock, Log& log)
    : api_(api), state_(state), gate_(gate), clock_(clock), log_(log) {
  for (InboxConfig& config : configs) {
    inboxes_.push_back({std::move(config), nullptr, 0, ""});
  }
  for (Inbox& inbox : inboxes_) inbox.folder = std::make_unique<InboxFolder>(inbox.config, log_);
  // One that is not in the configuration any more may have left a job behind.
  const auto before = read_inbox_state(state.dir);
  if (inboxes_.empty() && before.ok() && !before->job) return;
  stop_event_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  thread_ = std::thread([this] { work(); });
}

Inboxes::~Inboxes() {
  cancel();
  if (thread_.joinable()) thread_.join();
}

void Inboxes::cancel() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  if (stop_event_) ::eventfd_write(stop_event_.get(), 1);
}

void Inboxes::finish() {
  {
    std::lock_guard lock(mutex_);
    finishing_ = true;
  }
  if (stop_event_) ::eventfd_write(stop_event_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

bool Inboxes::ending() const {
  std::lock_guard lock(mutex_);
  return stopping_ || finishing_;
}

bool Inboxes::stopping() const {
  std::lock_guard lock(mutex_);
  return stopping_;
}

void Inboxes::wait_for_stop(int64_t ns) const {
  pollfd stop{stop_event_.get(), POLLIN, 0};
  ::poll(&stop, 1, static_cast<int>(ns / kMillisecondNs));
}

void Inboxes::wait(int64_t ns) const {
  std::vector<pollfd> fds{{stop_event_.get(), POLLIN, 0}};
  for (const Inbox& inbox : inboxes_) fds.push_back({inbox.folder->fd(), POLLIN, 0});
  ::poll(fds.data(), fds.size(), static_cast<int>(ns / kMillisecondNs));
}

// False: what was being done before cannot be known, so nothing is begun.
bool Inboxes::begin_state() {
  auto before = read_inbox_state(state_.dir);
  std::lock_guard lock(mutex_);
  if (!before.ok()) {
    if (problem_.empty()) log_.error("the inboxes take nothing: " + before.error().message);
    problem_ = "the inboxes take nothing: " + before.error().message;
    return false;
  }
  problem_.clear();
  run_ = std::make_unique<InboxRun>(
      InboxTools{state_, gate_, clock_, log_, send_within(api_), [this] { return stopping(); }},
      std::move(*before));
  return true;
}

void Inboxes::work() {
  while (!begin_state()) {
    wait(kAgainNs);
    if (ending()) return;
  }
  run_->recover();
  if (run_->busy()) finish_job();
  while (!ending()) {
    int64_t wait_ns = kAgainNs;
    if (run_->busy()) {
      finish_job();
      if (!run_->busy()) continue;
    } else if (take_next(wait_ns)) {
      continue;
    }
    wait(wait_ns);
  }
}

// Where it cannot be finished it is tried again later, or by the next start.
void Inboxes::finish_job() {
  const bool begins_anew = run_->begins_anew();
  auto finished = run_->finish();
  std::string problem;
  if (!finished.ok()) problem = "an inbox cannot finish its job: " + finished.error().message;
  {
    std::lock_guard lock(mutex_);
    if (!problem.empty() && problem != problem_ && !stopping_) log_.warn(problem);
    problem_ = problem;
  }
  // What was complete a moment ago, and then was not, is not asked about without a pause.
  if (finished.ok() && begins_anew) wait_for_stop(kSecondNs);
}

// Looks into each folder, and does the oldest job of all. False: there is none; when to look again.
bool Inboxes::take_next(int64_t& wait_ns) {
  wait_ns = kLongestNs;
  Inbox* chosen = nullptr;
  std::optional<Dropped> first;
  for (Inbox& inbox : inboxes_) {
    auto look = inbox.folder->look(clock_.boottime_ns());
    std::lock_guard lock(mutex_);
    const std::string problem = look.ok() ? "" : look.error().message;
    if (!problem.empty() && problem != inbox.problem) log_.warn(problem);
    inbox.problem = problem;
    inbox.waiting = look.ok() ? look->waiting.size() : 0;
    wait_ns = std::min(wait_ns, look.ok() ? look->again_ns : kGoneNs);
    if (!look.ok() || !look->ready || (first && !taken_before(*look->ready, *first))) continue;
    first = look->ready;
    chosen = &inbox;
  }
  if (chosen == nullptr) return false;
  {
    std::lock_guard lock(mutex_);
    --chosen->waiting;
  }
  run_->begin(chosen->config, *first);
  finish_job();
  return true;
}

Json Inboxes::status_of(const Inbox& inbox, const InboxState& state,
                        std::vector<std::string>& problems) const {
  const std::string shown = "inbox " + display_path(inbox.config.path) + ": ";
  Json json;
  put_path(json, "path", inbox.config.path);
  json["waiting"] = inbox.waiting;
  json["working"] = Json();
  if (state.job && state.job->inbox == inbox.config.path) {
    put_path(json, "working", state.job->name);
    json["phase"] = words_for_phase(state.job->phase);
  }
  json["failed"] = Json::array();
  const std::vector<std::string> failed = failed_files(inbox.config.path);
  for (const std::string& name : failed) {
    json["failed"].push_back(to_utf8_lossy(name));
    if (json["failed"].size() > kFailedToldMax) continue;
    const std::string place = join_path(join_path(inbox.config.path, kInboxFailed), name);
    problems.push_back(shown + display_path(name) + " was not restored; " +
                       display_path(place + kInboxLog) +
                       " says why; remove the file from there when that is settled");
  }
  if (failed.size() > kFailedToldMax) {
    problems.push_back(shown + std::to_string(failed.size() - kFailedToldMax) +
                       " more were not restored");
  }
  json["last"] = Json();
  for (const InboxResult& result : state.last) {
    if (result.inbox != inbox.config.path) continue;
    Json last;
    put_path(last, "name", result.name);
    last["outcome"] = words_for_outcome(result.outcome);
    last["ended"] = format_time(result.ended_ns);
    put_path(last, "log", result.log);
    json["last"] = std::move(last);
  }
  if (!inbox.problem.empty()) problems.push_back(inbox.problem);
  return json;
}

Json Inboxes::status(std::vector<std::string>& problems) const {
  std::lock_guard lock(mutex_);
  Json all = Json::array();
  const InboxState state = run_ ? run_->state() : InboxState{};
  for (const Inbox& inbox : inboxes_) all.push_back(status_of(inbox, state, problems));
  if (!problem_.empty()) problems.push_back(problem_);
  return all;
}

}  // namespace holdfast
