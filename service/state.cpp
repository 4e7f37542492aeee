#include "service/state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "base/fs.h"
#include "base/lmdb_file.h"
#include "base/map_fault.h"
#include "service/repository.h"
#include "service/state_parts.h"

namespace holdfast {

namespace {

// LMDB's mmap and file locks need a local file system (statfs magics from linux/magic.h and 9p's
// own).
Status check_file_system(const std::string& dir) {
  struct statfs st {};
  if (statfs(dir.c_str(), &st) != 0) return errno_error(errno, "looking at " + dir);
  const char* name = nullptr;
  switch (static_cast<unsigned>(st.f_type)) {
    case 0x6969: name = "NFS"; break;
    case 0x01021997: name = "9p"; break;
    case 0x65735546: name = "FUSE"; break;
    case 0xff534d42: name = "CIFS"; break;
    case 0xfe534d42: name = "SMB2"; break;
    default: return {};
  }
  return make_error(ErrorCode::kUnsupported,
                    "the state directory " + dir + " is on " + name +
                        ", where memory maps and locks cannot be relied on; choose a local "
                        "file system with --state");
}

}  // namespace

uint64_t journal_map_bytes() {
  constexpr uint64_t kMapBytes = 1ull << 40;
  const char* text = std::getenv("HOLDFAST_JOURNAL_MAP_BYTES");
  const uint64_t bytes = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return bytes == 0 ? kMapBytes : bytes;
}

Result<std::string> resolve_state_dir(const std::string& dir) {
  char resolved[PATH_MAX];
  if (::realpath(dir.c_str(), resolved) == nullptr) return errno_error(errno, "resolving " + dir);
  TRY(check_file_system(resolved));
  return std::string(resolved);
}

Result<Fd> take_lock(const std::string& dir) {
  const std::string path = dir + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return errno_error(errno, "opening the lock " + path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return errno_error(errno, "locking " + path);
    return make_error(ErrorCode::kBusy, "another holdfast (pid " + lock_holder(dir) +
                                            ") holds the state " + dir +
                                            "; stop it, or choose another state with --state");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0) return errno_error(errno, "writing the lock " + path);
  TRY(pwrite_full(fd.get(), pid, 0));
  return fd;
}

Result<ReplayCounts> replay_packs(Store& store, const Journal& journal) {
  ReplayCounts counts;
  auto replayed = store.replay([&](WriteTxn& txn, std::string_view batch) -> Status {
    TRY_ASSIGN(const auto records, split_records(batch));
    if (records.empty()) return {};
    TRY_ASSIGN(const Head before, journal.head(txn));
    for (std::string_view bytes : records) TRY(journal.replay(txn, bytes));
    TRY_ASSIGN(const Head after, journal.head(txn));
    counts.records += records.size();
    return journal.end_batch(txn, Sequence{before.seq.value + 1}, after.seq);
  });
  if (!replayed.ok()) return replayed.error();
  counts.batches = *replayed;
  return counts;
}

std::string lock_holder(const std::string& state_dir) {
  auto text = read_whole_file(state_dir + "/lock", 64);
  if (!text.ok()) return "";
  return text->substr(0, text->find('\n'));
}

namespace {

constexpr const char* kRebuild =
    "; stop the service and run holdfast rebuild, which makes the journal anew from the packs";
// A larger journal is looked through in full by the service alone: a command shall not take long.
// What is damaged in its leaves may still end it, in words.
constexpr uint64_t kSmallJournalBytes = 256ull << 20;

bool is_there(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

// The header, which the names of the packs have to agree with.
Result<RepositoryInfo> identify(const std::string& dir, bool create, const Clock& clock) {
  const std::string header = dir + "/repository", packs = dir + "/packs";
  TRY_ASSIGN(const auto prefixes, pack_prefixes(packs));
  if (!is_there(header)) {
    if (!prefixes.empty()) {
      return make_error(ErrorCode::kDamaged, header +
                                                 " is missing, but there are packs, whose headers "
                                                 "say the same: run holdfast rebuild");
    }
    if (is_there(dir + "/journal/data.mdb")) {
      return make_error(ErrorCode::kDamaged,
                        header + " and all packs are missing, but there is a journal: bring " +
                            packs + " back, then run holdfast rebuild");
    }
    if (create) return create_repository(header, clock);
    return make_error(
        ErrorCode::kNotFound,
        "there is no state in " + dir + "; start one with: holdfast --state " + dir + " watch DIR");
  }
  TRY_ASSIGN(const RepositoryInfo info, read_repository(header));
  for (const std::string& prefix : prefixes) {
    if (prefix == pack_prefix(info)) continue;
    return make_error(ErrorCode::kDamaged,
                      "the packs in " + packs + " are of the repository " + prefix + "…, " +
                          header + " is of " + pack_prefix(info) +
                          "…: move away what does not belong here; where that is the file "
                          "repository, run holdfast rebuild, which writes it anew");
  }
  return info;
}

// LMDB would crash on a file that ends early, and take an empty one for a new journal.
Status check_environment(const std::string& dir, bool is_service, Log& log) {
  const std::string path = dir + "/journal/data.mdb";
  TRY_ASSIGN(const auto prefixes, pack_prefixes(dir + "/packs"));
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) {
    if (errno != ENOENT) return errno_error(errno, "looking at " + path);
    if (!prefixes.empty()) log.warn(path + " is missing: it is made anew from the packs");
    return {};
  }
  if (st.st_size == 0) {
    if (prefixes.empty()) return {};
    return make_error(ErrorCode::kDamaged, "the journal's file " + path + " is empty" + kRebuild);
  }
  if (!is_service) MapFault::tell_of_segv();
  const bool in_full = is_service || static_cast<uint64_t>(st.st_size) <= kSmallJournalBytes;
  std::string first;
  size_t count = 0;
  TRY(check_lmdb_file(
      path, in_full ? LmdbDepth::kAll : LmdbDepth::kBranches,
      [&](const std::string& finding) {
        if (count++ == 0) first = finding;
      },
      is_service ? LmdbAccess::kRead : LmdbAccess::kMap));
  if (count == 0) return {};
  return make_error(
      ErrorCode::kDamaged,
      first + (count > 1 ? " (" + std::to_string(count) + " findings)" : "") + kRebuild);
}

Status open_journal(State& state, bool is_service, Log& log) {
  TRY(check_environment(state.dir, is_service, log));
  // Who holds the state's lock is alone: readers that it lists are of processes that are gone.
  ::unlink((state.dir + "/journal/lock.mdb").c_str());
  TRY_ASSIGN(state.env,
             LmdbEnv::open(state.dir + "/journal", journal_map_bytes(), kJournalTablesMax));
  TRY_ASSIGN(state.journal, Journal::open(*state.env, state.info.key));
  TRY_ASSIGN(const auto txn, state.env->begin_read());
  auto sound = state.journal->check_end(*txn);
  if (sound.ok()) return sound;
  return make_error(sound.error().code, "the journal in " + state.dir + "/journal is damaged, or " +
                                            "of another repository: " + sound.error().message +
                                            kRebuild);
}

// What the packs say was right for the journal that they were written beside: one that refuses it
// is another one, and the caller has asked for nothing that makes no sense.
Error does_not_fit(const Error& error, const std::string& dir) {
  switch (error.code) {
    case ErrorCode::kUsage:
    case ErrorCode::kNotFound:
    case ErrorCode::kExists:
      return make_error(ErrorCode::kDamaged, "the journal in " + dir + "/journal is damaged: " +
                                                 error.message + kRebuild);
    default: return error;
  }
}

}  // namespace

Result<std::unique_ptr<State>> State::open(const std::string& dir, bool create, const Clock& clock,
                                           Log& log) {
  auto state = std::make_unique<State>();
  if (!create && !is_there(dir + "/repository")) {
    TRY_ASSIGN(state->info, identify(dir, create, clock));  // says what is missing
  }
  TRY(make_directories(dir, 0700));
  TRY_ASSIGN(state->dir, resolve_state_dir(dir));
  TRY_ASSIGN(state->lock, take_lock(state->dir));
  TRY_ASSIGN(state->info, identify(state->dir, create, clock));
  for (const char* part : {"/journal", "/packs"}) TRY(make_directories(state->dir + part, 0700));
  TRY(open_journal(*state, create, log));
  TRY_ASSIGN(auto storage,
             DirectoryPackStorage::open(state->dir + "/packs", pack_prefix(state->info)));
  TRY_ASSIGN(state->store, Store::open(*state->env, std::move(storage), state->info));
  auto replayed = replay_packs(*state->store, *state->journal);
  if (!replayed.ok()) {
    return does_not_fit(replayed.error(), state->dir).in("recovering the journal from the packs");
  }
  state->replayed_batches = replayed->batches;
  {
    TRY_ASSIGN(const auto txn, state->env->begin_write());
    TRY(state->journal->recount(*txn));  // of a version before that did not keep it
    TRY(txn->commit());
  }
  TRY(state->store->remove_unfinished());
  for (const std::string& note : state->store->replay_notes()) log.warn(note);
  if (state->replayed_batches > 0) {
    log.info("recovered " + std::to_string(state->replayed_batches) +
             " batches from the packs that the journal did not have yet");
  }
  return state;
}

}  // namespace holdfast
