// The engine and SQLite databases (docs/sqlite.md): what stands beside one is no version of its
// own, but may say that the database has changed; and what could not be read under SQLite's locks
// is read again.
#include <sys/stat.h>

#include <algorithm>

#include "base/path.h"
#include "service/engine.h"
#include "service/engine_parts.h"
#include "service/sqlite_view.h"

namespace holdfast {

namespace {
constexpr size_t kDatabasesMax = 16 * 1024;  // that are remembered
constexpr size_t kUnprovenToldMax = 5;
constexpr int64_t kUnprovenRetryNs = 2'000'000'000;
constexpr int64_t kUnprovenRetryMaxNs = 300'000'000'000;

template <class Map>
void bound(Map& map) {
  if (map.size() >= kDatabasesMax) map.clear();
}
}  // namespace

// True: the name belongs to a database beside it, and is no version of its own.
bool Engine::belongs_to_database(size_t index, int dir_fd, const std::string& name,
                                 const StatxResult* now) const {
  const auto sidecar = parse_sidecar_name(name);
  if (!sidecar || roots_[index]->fs.network) return false;
  if (now != nullptr && !S_ISREG(now->mode)) return false;
  return is_sqlite_database(dir_fd, std::string(sidecar->database));
}

// The same, for a look that finds what may be such a file, or that it is gone.
Result<bool> Engine::is_sidecar(const Look& look, const std::string& name, const StatxResult* now) {
  if (!belongs_to_database(look.root, look.dir_fd->get(), name, now)) return false;
  const auto sidecar = parse_sidecar_name(name);
  const std::string database(sidecar->database);
  if (sidecar->kind == Sidecar::kShm) return true;
  const std::pair key(look.dir, database);
  // A log is written to and the database is not: its own stamps will not tell. What no event told
  // of is compared with what was last seen.
  if (sidecar->kind == Sidecar::kWal && now == nullptr) databases_.logs.erase(key);
  if (sidecar->kind == Sidecar::kWal && now != nullptr && now->size > 0) {
    bound(databases_.logs);
    const FileStat stat = to_file_stat(*now);
    FileStat& seen = databases_.logs[key];
    if (look.all && seen == stat) return true;
    seen = stat;
    bound(databases_.due);
    databases_.due[key] = look.offline;
  }
  TRY_ASSIGN(WriteTxn * open, txn());
  TRY_ASSIGN(const auto entry, state_.journal->entry(*open, look.dir, database, kHead));
  if (entry || busy_names_.contains(key)) {
    roots_[look.root]->dirty->add_name(look.dir, database, look.epoch, clock_.boottime_ns());
  } else {
    databases_.due.erase(key);  // it is read anyway
  }
  return true;
}

// Reads a database that is due because of its log, whatever its stamps say.
bool Engine::capture_if_due(Look& look, const std::string& name, uint64_t bytes, Told told) {
  const auto due = databases_.due.find({look.dir, name});
  if (due == databases_.due.end() || put_off(look, name, told)) return false;
  const bool offline = look.offline;
  look.offline = offline || due->second;
  databases_.due.erase(due);
  capture(look, name, bytes, told);
  if (look.offline != offline) close_capture_group();
  look.offline = offline;
  return true;
}

// What was captured may have to be read once more, though nothing moves.
void Engine::tend_database(size_t index, const CaptureResult& result, int64_t hold_ns) {
  const std::pair key(result.dir, result.name);
  const int64_t now = clock_.boottime_ns();
  DirtySet& dirty = *roots_[index]->dirty;
  if (result.in_flight) {
    databases_.due[key] = false;
    dirty.add_name(result.dir, result.name, epoch_, now + hold_ns);
  }
  if (result.unproven.empty()) {
    databases_.unproven.erase(key);
    return;
  }
  bound(databases_.unproven);
  Unproven& unproven = databases_.unproven[key];
  unproven.root = index;
  unproven.why = result.unproven;
  if (roots_[index]->fs.network) return;  // and will be, however often it is read
  unproven.retry_ns = std::clamp(2 * unproven.retry_ns, kUnprovenRetryNs, kUnprovenRetryMaxNs);
  dirty.add_name(result.dir, result.name, epoch_, now + std::max(hold_ns, unproven.retry_ns));
}

void Engine::database_problems(std::vector<std::string>& problems) const {
  const auto open = state_.env->begin_read();
  if (!open.ok()) return;
  size_t told = 0, left_out = 0;
  for (const auto& [key, unproven] : databases_.unproven) {
    const auto dir = state_.journal->dir_path(**open, key.first, kHead);
    const auto entry = state_.journal->entry(**open, key.first, key.second, kHead);
    if (!dir.ok() || !entry.ok() || !*entry) continue;  // gone
    if (told == kUnprovenToldMax) {
      ++left_out;
      continue;
    }
    ++told;
    const std::string path =
        join_path(roots_[unproven.root]->spec.path, join_path(*dir, key.second));
    problems.push_back("the newest version of the SQLite database " + display_path(path) +
                       " may be torn: " + unproven.why + "; docs/sqlite.md says what helps");
  }
  if (left_out > 0) {
    problems.push_back("and " + std::to_string(left_out) + " more databases may be torn");
  }
}

}  // namespace holdfast
