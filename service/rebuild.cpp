#include "service/rebuild.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "base/fs.h"
#include "base/path.h"
#include "service/damaged_dir.h"
#include "service/repository.h"
#include "service/state.h"
#include "service/state_parts.h"

namespace holdfast {

namespace {

// The packs for a replay that says how far it is, and keeps a copy of all that it cuts off.
class ReplayedPacks final : public PackStorage {
 public:
  ReplayedPacks(std::unique_ptr<PackStorage> packs, const DamagedDir& damaged,
                const RebuildProgress& progress)
      : packs_(std::move(packs)), damaged_(damaged), progress_(progress) {}

  Result<std::vector<uint32_t>> list() override { return packs_->list(); }
  Result<uint64_t> size(uint32_t pack) override { return packs_->size(pack); }
  Status create(uint32_t pack) override { return packs_->create(pack); }
  Status append(uint32_t pack, uint64_t offset, std::string_view bytes) override {
    return packs_->append(pack, offset, bytes);
  }
  Status sync(uint32_t pack) override { return packs_->sync(pack); }
  Status truncate(uint32_t pack, uint64_t size) override {
    TRY(keep(pack, size));
    return packs_->truncate(pack, size);
  }
  Result<std::string> read(uint32_t pack, uint64_t offset, uint64_t size) override {
    read_bytes_ += size;
    progress_(std::min(read_bytes_, all_bytes_), all_bytes_);
    return packs_->read(pack, offset, size);
  }
  Status remove(uint32_t pack) override {
    TRY(keep(pack, 0));
    return packs_->remove(pack);
  }
  std::string name(uint32_t pack) const override { return packs_->name(pack); }

  Status measure() {
    TRY_ASSIGN(const auto packs, packs_->list());
    for (const uint32_t pack : packs) {
      TRY_ASSIGN(const uint64_t bytes, packs_->size(pack));
      all_bytes_ += bytes;
    }
    return {};
  }

 private:
  Status keep(uint32_t pack, uint64_t from) {
    TRY_ASSIGN(const uint64_t bytes, packs_->size(pack));
    if (bytes <= from) return {};
    TRY_ASSIGN(const std::string cut, packs_->read(pack, from, bytes - from));
    const std::string file = std::string(split_last(packs_->name(pack)).second);
    TRY_ASSIGN(const std::string kept,
               damaged_.keep_bytes(cut, file + ".from-" + std::to_string(from)));
    (void)kept;
    return {};
  }

  const std::unique_ptr<PackStorage> packs_;
  const DamagedDir& damaged_;
  const RebuildProgress& progress_;
  uint64_t all_bytes_ = 0, read_bytes_ = 0;
};

class Rebuild {
 public:
  Rebuild(const std::string& dir, const RebuildProgress& progress)
      : given_dir_(dir), progress_(progress) {}
  Result<RebuildResult> run(bool locked);

 private:
  Status find_repository();
  Status build();
  Status fill(LmdbEnv& env);
  Status put_in_place();

  const std::string given_dir_;
  const RebuildProgress& progress_;
  Fd lock_;
  RepositoryInfo info_;
  RebuildResult result_;
};

Result<RebuildResult> Rebuild::run(bool locked) {
  struct stat st {};
  if (::stat((given_dir_ + "/packs").c_str(), &st) != 0) {
    return make_error(ErrorCode::kNotFound, "there is no state in " + given_dir_ +
                                                ": a rebuild needs its packs, in " + given_dir_ +
                                                "/packs");
  }
  TRY_ASSIGN(result_.state, resolve_state_dir(given_dir_));
  if (!locked) {
    TRY_ASSIGN(lock_, take_lock(result_.state));
  }
  TRY(find_repository());
  if (auto built = build(); !built.ok()) {
    std::error_code ignored;
    std::filesystem::remove_all(result_.state + "/journal.new", ignored);
    return built.error();
  }
  TRY(put_in_place());
  return result_;
}

// The packs are believed, and not the file.
Status Rebuild::find_repository() {
  TRY_ASSIGN(info_, repository_of_packs(result_.state + "/packs"));
  const std::string path = result_.state + "/repository";
  const auto known = read_repository(path);
  if (!known.ok() && known.error().code == ErrorCode::kUnsupported) return known.error();
  if (known.ok() && !repository_flaw(path, info_)) return {};
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0) {
    TRY_ASSIGN(const std::string kept, DamagedDir(result_.state).keep(path, "repository"));
    result_.notes.push_back("the file repository was damaged; it is kept as " + kept);
  }
  TRY(write_repository(path, info_));
  result_.header_written = true;
  return {};
}

Status Rebuild::build() {
  const std::string dir = result_.state + "/journal.new";
  std::error_code failed;
  std::filesystem::remove_all(dir, failed);  // of a rebuild that was killed
  if (failed) return errno_error(failed.value(), "removing " + dir);
  TRY(make_directories(dir, 0700));
  TRY_ASSIGN(const auto env,
             LmdbEnv::open(dir, journal_map_bytes(), kJournalTablesMax, LmdbSync::kNone));
  TRY(fill(*env));
  TRY(env->sync());
  return sync_dir(dir);
}

Status Rebuild::fill(LmdbEnv& env) {
  const DamagedDir damaged(result_.state);
  TRY_ASSIGN(auto packs, DirectoryPackStorage::open(result_.state + "/packs", pack_prefix(info_)));
  auto storage = std::make_unique<ReplayedPacks>(std::move(packs), damaged, progress_);
  TRY(storage->measure());
  TRY_ASSIGN(const auto journal, Journal::open(env, info_.key));
  TRY_ASSIGN(const auto store, Store::open(env, std::move(storage), info_));
  auto replayed = replay_packs(*store, *journal);
  if (!replayed.ok()) return replayed.error().in("rebuilding the journal from the packs");
  for (const std::string& note : store->replay_notes()) {
    result_.notes.push_back(note + "; a copy is in " + damaged.path());
  }
  TRY_ASSIGN(const auto txn, env.begin_read());
  TRY_ASSIGN(const StoreStats stats, store->stats(*txn));
  TRY_ASSIGN(const Head head, journal->head(*txn));
  result_.packs = stats.packs;
  result_.bytes = stats.bytes;
  result_.chunks = stats.chunks;
  result_.batches = replayed->batches;
  result_.records = replayed->records;
  result_.head = head.seq;
  return {};
}

// LMDB keeps everything in one file, so one rename is the switch.
Status Rebuild::put_in_place() {
  const std::string dir = result_.state + "/journal", made = result_.state + "/journal.new";
  const std::string old_file = dir + "/data.mdb", new_file = made + "/data.mdb";
  TRY(make_directories(dir, 0700));
  struct stat st {};
  if (::lstat(old_file.c_str(), &st) == 0) {
    TRY_ASSIGN(result_.kept, DamagedDir(result_.state).keep(old_file, "journal-data.mdb"));
  }
  // The table of readers is of the old one; nobody has it open, since the state is locked.
  ::unlink((dir + "/lock.mdb").c_str());
  if (::rename(new_file.c_str(), old_file.c_str()) != 0) {
    return errno_error(errno, "putting the new journal in the place of " + old_file);
  }
  TRY(sync_dir(dir));
  std::error_code ignored;
  std::filesystem::remove_all(made, ignored);
  return sync_dir(result_.state);
}

}  // namespace

Result<RebuildResult> rebuild_state(const std::string& dir, const RebuildProgress& progress) {
  return Rebuild(dir, progress).run(false);
}

Result<RebuildResult> rebuild_locked(const std::string& dir, const RebuildProgress& progress) {
  return Rebuild(dir, progress).run(true);
}

}  // namespace holdfast
