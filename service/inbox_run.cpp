// How a job is taken, ended and taken up after a crash. What it does in between is in
// inbox_work.cpp.
#include "service/inbox_run.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/path.h"
#include "journal/time_spec.h"
#include "service/command_run.h"
#include "service/inbox_files.h"
#include "service/inbox_replace.h"
#include "service/words.h"

namespace holdfast {

namespace {
constexpr int kBetweenStartsMs = 500;

std::string line_time(int64_t wall_ns) {
  return format_time(wall_ns).substr(0, std::string("2026-11-21T14:03:07").size()) + "Z ";
}

std::string new_id() {
  uint8_t bytes[16];
  random_bytes(bytes, sizeof bytes);
  return to_hex(bytes, sizeof bytes);
}
}  // namespace

InboxRun::InboxRun(InboxTools tools, InboxState state)
    : tools_(std::move(tools)), state_(std::move(state)), published_(state_) {}

InboxState InboxRun::state() const {
  std::lock_guard lock(mutex_);
  return published_;
}

void InboxRun::say(const std::string& line) {
  job().log += line_time(tools_.clock.wall_ns()) + to_utf8_lossy(line) + "\n";
}

Status InboxRun::save() {
  {
    std::lock_guard lock(mutex_);
    published_ = state_;
  }
  return write_inbox_state(tools_.state.dir, state_);
}

Status InboxRun::enter(InboxPhase phase) {
  job().phase = phase;
  return save();
}

std::string InboxRun::unpacked_path() const {
  return unpacked_dir() + "/" + unpacked_name(state_.job->name);
}

void InboxRun::remove_unpacked() {
  auto dir = open_directory(unpacked_dir());
  if (!dir.ok()) return;
  auto names = list_names(dir->get());
  if (!names.ok()) return;
  for (const std::string& name : *names) ::unlinkat(dir->get(), name.c_str(), 0);
}

void InboxRun::begin(const InboxConfig& config, const Dropped& file) {
  anew_ = false;
  stop_timeout_ns_ = config.stop_timeout_ns;
  InboxJob& now = state_.job.emplace();
  now.id = new_id();
  now.inbox = config.path;
  now.name = file.name;
  now.dev = file.dev;
  now.inode = file.inode;
  now.size = file.size;
  now.mtime_ns = file.mtime_ns;
  now.uid = file.uid;
  now.gid = file.gid;
  now.docker = config.docker;
  now.replaces = config.replace;
  tools_.log.info("inbox " + display_path(now.inbox) + ": takes " + display_path(now.name));
  say("taken: " + display_path(join_path(now.inbox, now.name)) + ", " + words_for_bytes(now.size) +
      ", of " + format_time(now.mtime_ns));
  conclude(work(config));
}

// What ends before anything was done is begun anew: the service is to end, or the file is still
// being written.
void InboxRun::conclude(const Status& worked) {
  const ErrorCode code = worked.ok() ? ErrorCode::kFailed : worked.error().code;
  if ((code == ErrorCode::kInterrupted && job().phase < InboxPhase::kStarted) ||
      (code == ErrorCode::kChanged && job().phase == InboxPhase::kAccepted)) {
    anew_ = true;
    return;
  }
  if (!worked.ok()) {
    job().outcome = InboxOutcome::kFailed;
    job().why = to_utf8_lossy(worked.error().message);
  }
  if (auto saved = enter(InboxPhase::kEnded); !saved.ok()) tools_.log.warn(saved.error().message);
}

void InboxRun::recover() {
  if (!state_.job) return remove_unpacked();
  tools_.log.warn("inbox " + display_path(job().inbox) + ": the service ended while " +
                  display_path(job().name) + " was being restored (" +
                  words_for_phase(job().phase) + ")");
  if (job().phase < InboxPhase::kStarted) {
    anew_ = true;
  } else if (job().phase == InboxPhase::kStarted && !job().replaces.empty()) {
    recover_replacement();
  } else if (job().phase == InboxPhase::kStarted) {
    const size_t left = kill_by_environment("HOLDFAST_JOB", job().id);
    say("the service ended while the command ran; it is not run again");
    if (left > 0) say("what was left of it was killed: processes: " + std::to_string(left));
    conclude(make_error(ErrorCode::kFailed,
                        "the service ended while the command ran: it may be half restored"));
  }
  remove_unpacked();
}

// Whether the rename was done can be seen. If not, the whole job is one that may be done anew.
void InboxRun::recover_replacement() {
  remove_replacement_leftovers(job().replaces, job().id);
  if (is_replaced(job().replaces, job().new_dev, job().new_inode)) {
    say("the service ended when the database had just been replaced");
    job().outcome = InboxOutcome::kDone;
    conclude({});
  } else {
    anew_ = true;
  }
}

Status InboxRun::start_one(const DockerApi& docker, const std::string& container,
                           int64_t deadline_ns) {
  for (;;) {
    const int64_t left_ns = deadline_ns - tools_.clock.boottime_ns();
    auto started = docker.start(container, std::max(left_ns, kSecondNs));
    if (started.ok() || started.error().code == ErrorCode::kNotFound || left_ns <= 0) {
      return started;
    }
    ::poll(nullptr, 0, kBetweenStartsMs);
  }
}

// Last stopped first. A stop of the service does not keep it from that.
Status InboxRun::start_containers() {
  std::vector<std::string>& containers = job().containers;
  if (containers.empty()) return {};
  const DockerApi docker(job().docker, [] { return false; });
  const int64_t deadline_ns = tools_.clock.boottime_ns() + stop_timeout_ns_;
  Status failed;
  std::vector<std::string> left;
  for (auto at = containers.rbegin(); at != containers.rend(); ++at) {
    auto started = start_one(docker, *at, deadline_ns);
    say(started.ok() ? "started " + display_path(*at) : started.error().message);
    if (started.ok()) continue;
    if (failed.ok()) failed = started.error();
    // One that is not there any more was removed by somebody; there is nothing to start.
    if (started.error().code != ErrorCode::kNotFound) left.insert(left.begin(), *at);
  }
  containers = left;
  return failed;
}

Status InboxRun::finish() {
  auto started = start_containers();
  if (auto saved = save(); !saved.ok()) tools_.log.warn(saved.error().message);
  remove_unpacked();
  if (!job().replaces.empty()) remove_replacement_leftovers(job().replaces, job().id);
  if (anew_) {
    TRY(started);
    return clear();
  }
  if (!started.ok() && tools_.stopping()) return started;  // the next start goes on
  if (!started.ok() && job().phase < InboxPhase::kFiled) {
    job().why = (job().why.empty() ? "" : job().why + "; ") + started.error().message +
                ", so start it by hand";
    if (job().outcome == InboxOutcome::kDone) job().why = "it was restored, but " + job().why;
    job().outcome = InboxOutcome::kFailed;
    job().containers.clear();
  }
  if (job().phase < InboxPhase::kFiled) TRY(file());
  TRY(journal());
  return clear();
}

Status InboxRun::file() {
  if (job().phase < InboxPhase::kFiling || job().filed_as.empty()) {
    if (job().filed_as.empty()) {
      TRY_ASSIGN(job().filed_as, free_filed_name(job().inbox, job().name, tools_.clock.wall_ns()));
    }
    TRY(enter(InboxPhase::kFiling));
  }
  const bool failed = job().outcome == InboxOutcome::kFailed;
  const char* last = failed                                 ? "FAILED: "
                     : job().outcome == InboxOutcome::kSame ? "not restored again"
                                                            : "restored";
  const std::string log =
      job().log + line_time(tools_.clock.wall_ns()) + last + (failed ? job().why : "") + "\n";
  TRY(file_job(job(), failed ? kInboxFailed : kInboxDone, log));
  return enter(InboxPhase::kFiled);
}

Status InboxRun::journal() {
  const bool failed = job().outcome == InboxOutcome::kFailed;
  const std::string which = failed ? kInboxFailed : kInboxDone;
  const std::string place = join_path(join_path(job().inbox, which), job().filed_as);
  std::string words = "inbox " + display_path(job().inbox) + ": " + display_path(job().name);
  words += failed                                 ? " failed: " + job().why
           : job().outcome == InboxOutcome::kSame ? " not restored again"
                                                  : " restored";
  if (!job().undumped.empty()) {
    words += ", without a good dump of right before of: " + job().undumped;
  }
  if (!job().undo.empty()) words += "; undo with: " + job().undo;
  words += "; log: " + display_path(place + kInboxLog);
  auto noted = tools_.gate.journal_note(RecordKind::kRestore, {}, words);
  if (!noted.ok()) return noted.error().in("journaling what the inbox did");
  if (failed) {
    tools_.log.warn(words);
  } else {
    tools_.log.info(words);
  }
  state_.last.push_back({job().inbox, job().name, job().size, job().mtime_ns, job().hash,
                         job().outcome, tools_.clock.wall_ns(), place + kInboxLog});
  if (state_.last.size() > kInboxResultsMax) state_.last.erase(state_.last.begin());
  return {};
}

Status InboxRun::clear() {
  state_.job.reset();
  anew_ = false;
  return save();
}

}  // namespace holdfast
