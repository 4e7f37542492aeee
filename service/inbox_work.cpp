// What a job of an inbox does, from the dropped file to the end of its command.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/clock.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/path.h"
#include "service/command_run.h"
#include "service/inbox_files.h"
#include "service/inbox_folder.h"
#include "service/inbox_replace.h"
#include "service/inbox_run.h"
#include "service/sqlite_check.h"
#include "service/unpack.h"
#include "service/words.h"

namespace holdfast {

namespace {
constexpr uint64_t kReserveMax = 1ull << 30;
constexpr uint64_t kReserveShare = 10;         // of the disk
constexpr uint64_t kAskSpaceEvery = 16 << 20;  // bytes written

const Error kStopped = make_error(ErrorCode::kInterrupted, "the service is stopping");

// What may be written to the disk of `dir`, so that enough is left for what else is there.
Result<uint64_t> room(const std::string& dir) {
  TRY_ASSIGN(const FreeSpace space, free_space(dir));
  const uint64_t reserve = std::min(space.total_bytes / kReserveShare, kReserveMax);
  return space.free_bytes > reserve ? space.free_bytes - reserve : 0;
}

Error no_room(const std::string& dir, const std::string& what) {
  return make_error(ErrorCode::kNoSpace, "unpacking needs more than " + what +
                                             ", which is what may be used of the disk of " +
                                             display_path(dir) + "; make room there");
}
}  // namespace

Status InboxRun::work(const InboxConfig& config) {
  TRY(save());
  TRY(unpack_file());
  if (was_restored_before()) {
    say("the same name, time and content were restored before: nothing is done; touch the file "
        "first if it is to be restored again");
    job().outcome = InboxOutcome::kSame;
    return {};
  }
  if (unpacked_bytes_ == 0) return make_error(ErrorCode::kDamaged, "it is empty");
  if (!config.replace.empty()) TRY(check_database(config));
  std::vector<std::string> running;
  TRY(find_running(config, running));
  TRY(flush());
  TRY(stop_containers(config, running));
  TRY(make_dumps(config));
  return config.replace.empty() ? run_command(config) : replace_database(config);
}

Status InboxRun::write_unpacked(int from_fd, int to_fd, uint64_t size) {
  TRY_ASSIGN(const uint64_t may, room(tools_.state.dir));
  const Packing packing = packing_of(job().name);
  if (size > may && packing == Packing::kNone) {
    return no_room(tools_.state.dir, words_for_bytes(may));
  }
  ContentHasher packed, unpacked;
  uint64_t at = 0, asked = 0;
  const ReadBytes read = [&](char* out, size_t wanted) -> Result<size_t> {
    if (tools_.stopping()) return kStopped;
    TRY_ASSIGN(const size_t got, pread_full(from_fd, out, wanted, at));
    packed.update({out, got});
    at += got;
    return got;
  };
  const WriteBytes write = [&](std::string_view bytes) -> Status {
    if (unpacked_bytes_ + bytes.size() > asked) {
      TRY_ASSIGN(const uint64_t left, room(tools_.state.dir));
      if (left < bytes.size()) return no_room(tools_.state.dir, words_for_bytes(may));
      asked = unpacked_bytes_ + std::min(left, kAskSpaceEvery);
    }
    unpacked.update(bytes);
    unpacked_bytes_ += bytes.size();
    return write_full(to_fd, bytes);
  };
  TRY(unpack(packing, read, write));
  const ContentHash packed_hash = packed.finish(), unpacked_hash = unpacked.finish();
  job().hash = to_hex(packed_hash.bytes.data(), packed_hash.bytes.size());
  unpacked_hash_ = to_hex(unpacked_hash.bytes.data(), unpacked_hash.bytes.size());
  return {};
}

Status InboxRun::unpack_file() {
  remove_unpacked();
  unpacked_bytes_ = 0;
  unpacked_hash_.clear();
  TRY_ASSIGN(const Fd folder, open_directory(job().inbox));
  auto from = open_beneath(folder.get(), job().name, O_RDONLY | O_NONBLOCK);
  if (!from.ok()) {
    const bool gone = from.error().code == ErrorCode::kNotFound;
    return gone ? make_error(ErrorCode::kChanged, "it is not there any more")
                : from.error().in("reading it");
  }
  TRY_ASSIGN(const StatxResult before, statx_fd(from->get()));
  if (!S_ISREG(before.mode) || before.dev != job().dev || before.inode != job().inode ||
      before.size != job().size || before.mtime_ns != job().mtime_ns) {
    return make_error(ErrorCode::kChanged, "it is being written to");
  }
  TRY(make_directories(unpacked_dir(), 0700));
  const std::string path = unpacked_path();
  const Fd to(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!to) return errno_error(errno, "making " + display_path(path));
  const auto written = write_unpacked(from->get(), to.get(), before.size);
  TRY_ASSIGN(const StatxResult after, statx_fd(from->get()));
  // Then it was not complete, and what was made of it says nothing.
  if (!same_state(dropped_of("", before), dropped_of("", after)) ||
      ask_for_writers(from->get()) == Writers::kSome) {
    return make_error(ErrorCode::kChanged, "it is being written to");
  }
  TRY(written);
  const Packing packing = packing_of(job().name);
  say("xxh3:" + job().hash +
      (packing == Packing::kNone ? std::string()
                                 : std::string(", unpacked (") + words_for_packing(packing) +
                                       "): " + words_for_bytes(unpacked_bytes_)));
  return {};
}

bool InboxRun::was_restored_before() const {
  const InboxJob& now = *state_.job;
  return std::any_of(state_.last.begin(), state_.last.end(), [&](const InboxResult& before) {
    return before.outcome != InboxOutcome::kFailed && before.inbox == now.inbox &&
           before.name == now.name && before.size == now.size && before.mtime_ns == now.mtime_ns &&
           before.hash == now.hash;
  });
}

Status InboxRun::check_database(const InboxConfig& config) {
  TRY(InboxReplace::open(config.replace, job().id));  // whether it can be replaced at all
  TRY(check_sqlite_apart(unpacked_path(), config.timeout_ns, tools_.stopping));
  say("PRAGMA integrity_check: ok");
  return {};
}

Status InboxRun::find_running(const InboxConfig& config, std::vector<std::string>& running) {
  const DockerApi docker(config.docker, tools_.stopping);
  for (const std::string& container : config.stop) {
    TRY_ASSIGN(const bool runs, docker.is_running(container));
    if (runs) running.push_back(container);
    if (!runs) say(display_path(container) + " is not running, and stays as it is");
  }
  return {};
}

Status InboxRun::flush() {
  auto flushed = tools_.gate.flush(kNoTimeout);
  if (flushed.ok()) return {};
  const bool stopping = flushed.error().code == ErrorCode::kInterrupted;
  return make_error(stopping ? ErrorCode::kInterrupted : ErrorCode::kFailed,
                    "pinning the present: " + flushed.error().message);
}

Status InboxRun::stop_containers(const InboxConfig& config,
                                 const std::vector<std::string>& running) {
  // Those of which it is not known whether they stopped are started as well.
  job().containers = running;
  TRY(enter(InboxPhase::kStopping));
  const DockerApi docker(config.docker, tools_.stopping);
  for (const std::string& container : running) {
    TRY(docker.stop(container, config.stop_timeout_ns));
    say("stopped " + display_path(container));
  }
  return {};
}

Status InboxRun::pin(const InboxConfig& config) {
  TRY(flush());
  auto pinned = tools_.gate.snapshot("before the restore of " + display_path(job().name), {});
  if (!pinned.ok()) return pinned.error().in("pinning the present");
  TRY_ASSIGN(dumps_undo_, undo_of_dumps(config, pinned->name));
  const bool all = config.replace.empty();
  TRY_ASSIGN(const bool has_directories, has_watched_root());
  job().undo.clear();
  if (!all || has_directories) {
    job().undo = "holdfast --state " + shell_quote(tools_.state.dir) + " restore" +
                 (all ? "" : " " + shell_quote(config.replace)) + " --at " + pinned->name +
                 " --in-place" + (all ? " --delete" : "");
  }
  job().undo += dumps_undo_;
  if (job().undo.starts_with(kThen)) job().undo.erase(0, kThen.size());
  say("the present is pinned as " + pinned->name +
      (job().undo.empty() ? ", and has nothing to go back to"
                          : "; to go back to it: " + job().undo));
  return {};
}

Status InboxRun::run_command(const InboxConfig& config) {
  TRY(pin(config));
  CommandRun run;
  run.args = filled_in(config.restore, unpacked_path());
  run.env = {{"HOLDFAST_FILE", join_path(job().inbox, job().name)},
             {"HOLDFAST_INBOX", job().inbox},
             {"HOLDFAST_JOB", job().id}};
  run.timeout_ns = config.timeout_ns;
  Fd input;
  if (!uses_file(config.restore)) {
    input = Fd(::open(unpacked_path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!input) return errno_error(errno, "opening what was unpacked");
    run.stdin_fd = input.get();
  }
  say("runs " + words_for_command(run.args) +
      (input.valid() ? ", the content as its standard input" : ""));
  TRY(enter(InboxPhase::kStarted));
  const int64_t begun_ns = tools_.clock.boottime_ns();
  TRY_ASSIGN(const CommandEnd ended, run_to_end(run, tools_.stopping));
  const std::string took = words_for_duration(tools_.clock.boottime_ns() - begun_ns);
  if (ended.timed_out || ended.stopped) kill_by_environment("HOLDFAST_JOB", job().id);
  if (!ended.output.empty()) {
    const std::string cut =
        ended.output_cut == 0 ? "" : ", without the first " + words_for_bytes(ended.output_cut);
    say("its output" + cut + ":");
    job().log += to_utf8_lossy(ended.output) + (ended.output.ends_with('\n') ? "" : "\n");
  }
  say("it ended with " + ended.end.words() + " after " + took);
  if (ended.stopped) {
    return make_error(ErrorCode::kFailed,
                      "the service was stopped while the command ran: it may be half restored");
  }
  if (ended.timed_out) {
    return make_error(ErrorCode::kFailed, "the command took longer than " +
                                              words_for_duration(config.timeout_ns) +
                                              " and was ended: it may be half restored");
  }
  if (!ended.end.ok()) {
    return make_error(ErrorCode::kFailed, "the command ended with " + ended.end.words());
  }
  job().outcome = InboxOutcome::kDone;
  return {};
}

Status InboxRun::replace_database(const InboxConfig& config) {
  TRY_ASSIGN(const InboxReplace replace, InboxReplace::open(config.replace, job().id));
  TRY(replace.require_unused());
  TRY(pin(config));
  TRY_ASSIGN(const bool in_journal, replace.is_in_journal(tools_.state));
  if (!in_journal) {
    TRY_ASSIGN(job().filed_as, free_filed_name(job().inbox, job().name, tools_.clock.wall_ns()));
    TRY_ASSIGN(const Fd done, open_filing_dir(job().inbox, kInboxDone));
    const std::string name = job().filed_as + kInboxReplaced;
    TRY(replace.keep_old(done.get(), name));
    const std::string kept = join_path(join_path(job().inbox, kInboxDone), name);
    job().undo = "cp " + shell_quote(kept) + " " + shell_quote(config.replace) + dumps_undo_;
    say("the journal does not have all of the old database, so it is kept; to go back to it, with "
        "nothing using it: " +
        job().undo);
  } else if (!replace.is_there()) {
    job().undo.clear();
    say("there was no database before");
  }
  TRY_ASSIGN(const StatxResult written, replace.write_new(unpacked_path(), unpacked_hash_));
  job().new_dev = written.dev;
  job().new_inode = written.inode;
  TRY(enter(InboxPhase::kStarted));
  TRY(replace.put());
  say("replaced " + display_path(config.replace) + " by " + words_for_bytes(unpacked_bytes_));
  job().outcome = InboxOutcome::kDone;
  return {};
}

}  // namespace holdfast
