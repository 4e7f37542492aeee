// The engine's inner types, shared by its source files and nobody else.
#pragma once

#include <unordered_map>

#include "service/engine.h"

namespace holdfast {

inline constexpr int64_t kRecheckNs = 10'000'000'000;  // of a lost or degraded root
// How long a name is missing before it counts as deleted: while there is more to look at, where its
// file may turn up; and with nothing left to look at, because a rename changes the names a moment
// before it queues its event.
inline constexpr int64_t kMissingWaitNs = 200'000'000;
inline constexpr int64_t kMissingWaitMaxNs = 2'000'000'000;  // whatever else is being renamed
inline constexpr int64_t kRenameWindowNs = 1'000'000;
inline constexpr Sequence kHead{~0ull};  // "as of now, what is not committed included"

struct Engine::RootState {
  RootSpec spec;
  Root root;
  Fd fd;
  uint64_t mount_id = 0;
  FsTraits fs;
  // While a restore in place runs: the moment that it brings back, to know its writes by.
  Sequence own_at;
  std::unordered_set<uint64_t> own_inodes;  // of files that a seed wrote and is not done with
  std::unique_ptr<Watcher> watcher;
  std::unique_ptr<DirtySet> dirty;
  IgnoreRules ignore;
  std::string own_state;  // relative path of the state directory, where it lies inside
  std::vector<std::string> degraded;
  // Directories that cannot be listed or looked at in full, told once and tried again; true: with
  // all that is below.
  std::unordered_map<NodeId, bool, NodeIdHash> unlisted;
  int64_t unlisted_retry_ns = 0;
  bool lost = false;
  // What was told already is not told again every ten seconds.
  std::string lost_why, degraded_why;
  // Directories that cannot be watched are looked at every ten seconds instead; when there are too
  // many to remember, the whole root is.
  std::unordered_set<NodeId, NodeIdHash> unwatched;
  bool unwatched_many = false;
  bool polled = false;      // by its watcher
  bool no_inotify = false;  // because no inotify is left for it: tried again
  int64_t inotify_retry_ns = 0;
  std::string backend_why;  // not the best backend, because
  // A sweep looks at what nobody tells of; it is done when nothing of its epoch is left.
  bool sweeping = false;
  uint64_t sweep_epoch = 0;
  int64_t sweep_began_ns = 0, sweep_rest_ns = 0;
  std::map<std::string, bool> mounts;  // below it, and whether a gap told what they hide
  int64_t recheck_ns = 0;              // when a lost or degraded root is looked at again
  int64_t path_check_ns = 0;           // when to see whether its path still leads to it
  int64_t added_ns = 0;                // when its first look began
  int64_t swept_ns = 0;                // when the last sweep that is done began
  int64_t caught_up_ns = 0;            // what happened before is journaled; 0: not known once
  RootTotals totals;
};

// The records and index entries being written; one LMDB transaction.
struct Engine::Batch {
  std::unique_ptr<WriteTxn> txn;
  Sequence first, last;
  std::string records;
  int64_t opened_ns = 0;
  size_t ops = 0;
  EngineTotals added;  // to be counted once it is committed
};

// The room that the store has, and what was left out while it had none (engine_space.cpp).
struct Engine::Space {
  SpaceLimits limits;
  SpaceJudgement judged;
  SpaceUse use;
  uint64_t written_bytes = 0;  // of frames, since `use` was measured
  uint64_t wanted_bytes = 0;   // what there was no room for
  bool stale = true;           // to be measured at once
  int64_t measure_ns = 0;      // boottime: when to measure again at the earliest
  std::string note;            // of records whose content is not kept, why
  int64_t since_ns = 0;        // wall: since when contents of the present may be missing; 0: none
  uint64_t not_kept = 0;       // versions since then; after a start or a search, files
  // Looking for files whose present content is to be captured again.
  struct Search {
    bool wanted = false;
    int rounds = 0;
    bool settled = false;  // what it finds was looked at, and cannot be captured
    NodeId next{1};
    uint64_t found = 0;
    std::optional<uint64_t> waits_for;  // epoch: until what was found is looked at
    int64_t again_ns = 0;               // boottime
  } search;
};

// What a name turns out to be, in the journal's terms.
struct Engine::Place {
  enum class How { kSame, kLink, kRename, kNew };
  How how = How::kNew;
  NodeId node;                    // none for kNew
  std::optional<Record> version;  // of that node
  std::optional<Entry> old;       // what the name led to before
  NodeId from_parent;             // kRename
  std::string from_name;
  bool was_away = false;  // a walk came by while its name was missing
};

// One operation on one directory.
struct Engine::Look {
  size_t root = 0;
  NodeId dir;
  std::shared_ptr<Fd> dir_fd;
  std::string path;
  uint64_t epoch = 0;
  bool all = false, recursive = false, offline = false, cache_dir = false;
  // With `all`: of a large directory only the names behind `after`, up to `upto` ("": to its end).
  std::string after, upto;
  bool empty = false;  // nothing at all is in the directory
  StatxResult self;
  std::optional<std::vector<Xattr>> xattrs;          // nullopt: not read, keep what is known
  std::vector<ScanEntry> entries;                    // sorted; of `names` only, unless `all`
  Unknown unknown;                                   // neither there nor gone
  std::vector<std::string> names;                    // looked at, sorted; unless `all`
  std::vector<std::string> attributes_only, untold;  // of `names`, sorted: DirtyDir
};

struct Engine::Waiter {
  uint64_t epoch = 0;
  int64_t since_ns = 0;
  std::function<void(Result<Sequence>)> done;
};

Record record_of(const CaptureResult& result);  // engine_apply.cpp
inline int64_t bytes_of(const Record& record) {
  return record.type == FileType::kFile ? static_cast<int64_t>(record.stat.size) : 0;
}

// `handle`: Record::handle of what is there, where it is known.
inline bool same_identity(const Record& version, FileType type, const FileStat& stat,
                          uint64_t handle = 0) {
  if (version.handle != 0 && handle != 0 && version.handle != handle) return false;
  return version.type == type && version.stat.inode == stat.inode &&
         version.stat.btime_ns == stat.btime_ns;
}
// The same, without the birth time where that does not last.
inline bool same_lasting_identity(const FsTraits& fs, const Record& version, FileType type,
                                  FileStat stat, uint64_t handle = 0) {
  if (!fs.stable_btime) stat.btime_ns = version.stat.btime_ns;
  return same_identity(version, type, stat, handle);
}
// What a name leads to, against what it led to: where inode numbers mean nothing, the name says
// which file it is.
inline bool same_object(const FsTraits& fs, const Record& version, FileType type,
                        const FileStat& stat, uint64_t handle = 0) {
  if (!fs.stable_inodes) return version.type == type;
  return same_lasting_identity(fs, version, type, stat, handle);
}
// What a look finds, against what the journal has: everything but identity, where inode numbers
// mean nothing, and the size, where that is not the file's own.
inline bool same_stat(const FsTraits& fs, const Record& version, FileStat now) {
  const FileStat& known = version.stat;
  if (!fs.stable_inodes) {
    now.inode = known.inode;
    now.btime_ns = known.btime_ns;
  }
  if ((version.flags & kFlagLive) != 0) now.size = known.size;
  return known == now;
}

}  // namespace holdfast
