#include "base/lmdb.h"

#include <lmdb.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <mutex>
#include <sstream>

#include "base/fs.h"

namespace holdfast {

namespace {

Error lmdb_error(int code, const std::string& doing) {
  if (code == MDB_MAP_FULL) {
    return {ErrorCode::kBusy, 0,
            doing +
                ": its memory map is full, and grows when nobody reads: a query that is paused "
                "or a restore has to end first, or the process may take no more address space "
                "(ulimit -v)"};
  }
  if (code > 0) return errno_error(code, doing);
  const bool damaged = code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND || code == MDB_INVALID ||
                       code == MDB_PANIC || code == MDB_VERSION_MISMATCH;
  const char* advice = damaged ? "; stop the service and run holdfast rebuild" : "";
  return make_error(damaged ? ErrorCode::kDamaged : ErrorCode::kFailed,
                    doing + ": " + mdb_strerror(code) + advice);
}

MDB_val to_val(std::string_view bytes) {
  return {bytes.size(), const_cast<char*>(bytes.data())};  // LMDB does not write through it
}
std::string_view to_view(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

}  // namespace

LmdbTxn::~LmdbTxn() = default;

Result<std::optional<std::string_view>> LmdbTxn::get(Dbi dbi, std::string_view key) const {
  MDB_val k = to_val(key);
  MDB_val v{};
  const int code = mdb_get(txn_, dbi, &k, &v);
  if (code == MDB_NOTFOUND) return std::optional<std::string_view>();
  if (code != 0) return lmdb_error(code, "reading the journal");
  return std::optional<std::string_view>(to_view(v));
}

Result<uint64_t> LmdbTxn::entry_count(Dbi dbi) const {
  MDB_stat stat{};
  if (int code = mdb_stat(txn_, dbi, &stat); code != 0)
    return lmdb_error(code, "reading the journal");
  return uint64_t{stat.ms_entries};
}

Result<uint64_t> LmdbTxn::leaf_pages(Dbi dbi) const {
  MDB_stat stat{};
  if (int code = mdb_stat(txn_, dbi, &stat); code != 0)
    return lmdb_error(code, "reading the journal");
  return uint64_t{stat.ms_leaf_pages};
}

ReadTxn::~ReadTxn() {
  if (!txn_) return;
  mdb_txn_abort(txn_);
  const std::lock_guard lock(env_.reads_mutex_);
  env_.reads_.erase(env_.reads_.find(sees_));
}

WriteTxn::~WriteTxn() {
  if (txn_) mdb_txn_abort(txn_);
}

Error WriteTxn::write_error(int code, const char* doing) {
  if (code == MDB_MAP_FULL) *full_ = true;
  return lmdb_error(code, doing);
}

Status WriteTxn::put_with(Dbi dbi, std::string_view key, std::string_view value, unsigned flags) {
  MDB_val k = to_val(key);
  MDB_val v = to_val(value);
  if (int code = mdb_put(txn_, dbi, &k, &v, flags); code != 0) {
    return write_error(code, "writing to the journal");
  }
  return {};
}

Status WriteTxn::put(Dbi dbi, std::string_view key, std::string_view value) {
  return put_with(dbi, key, value, 0);
}

Status WriteTxn::append(Dbi dbi, std::string_view key, std::string_view value) {
  return put_with(dbi, key, value, MDB_APPEND);
}

Status WriteTxn::remove(Dbi dbi, std::string_view key) {
  MDB_val k = to_val(key);
  const int code = mdb_del(txn_, dbi, &k, nullptr);
  if (code != 0 && code != MDB_NOTFOUND) return write_error(code, "writing to the journal");
  return {};
}

Status WriteTxn::commit() {
  const int code = mdb_txn_commit(std::exchange(txn_, nullptr));
  if (code != 0) return write_error(code, "committing to the journal");
  return {};
}

Result<Cursor> Cursor::open(const LmdbTxn& txn, Dbi dbi) {
  Cursor cursor;
  if (int code = mdb_cursor_open(txn.raw(), dbi, &cursor.cursor_); code != 0) {
    return lmdb_error(code, "reading the journal");
  }
  return cursor;
}

Cursor::Cursor(Cursor&& other) noexcept
    : cursor_(std::exchange(other.cursor_, nullptr)), key_(other.key_), value_(other.value_) {}
Cursor& Cursor::operator=(Cursor&& other) noexcept {
  std::swap(cursor_, other.cursor_);
  key_ = other.key_;
  value_ = other.value_;
  return *this;
}
Cursor::~Cursor() {
  if (cursor_) mdb_cursor_close(cursor_);
}

Result<bool> Cursor::move(int operation) {
  MDB_val k = to_val(key_);
  MDB_val v{};
  const int code = mdb_cursor_get(cursor_, &k, &v, static_cast<MDB_cursor_op>(operation));
  if (code == MDB_NOTFOUND) {
    key_ = value_ = {};
    return false;
  }
  if (code != 0) return lmdb_error(code, "reading the journal");
  key_ = to_view(k);
  value_ = to_view(v);
  return true;
}

Result<bool> Cursor::seek_at_or_after(std::string_view key) {
  key_ = key;
  return move(MDB_SET_RANGE);
}

Result<bool> Cursor::seek_at_or_before(std::string_view key) {
  TRY_ASSIGN(const bool found, seek_at_or_after(key));
  if (!found) return last();
  if (key_ == key) return true;
  return previous();
}

Result<bool> Cursor::first() { return move(MDB_FIRST); }
Result<bool> Cursor::last() { return move(MDB_LAST); }
Result<bool> Cursor::next() { return move(MDB_NEXT); }
Result<bool> Cursor::previous() { return move(MDB_PREV); }

namespace {

void end_on_assertion(MDB_env*, const char*) { MapFault::end(); }

struct AddressRange {
  uintptr_t begin = 0, end = 0;
  bool has(const void* at) const {
    const auto address = reinterpret_cast<uintptr_t>(at);
    return address >= begin && address < end;
  }
};

// Where the file's map is, and LMDB's code (nowhere, where it is linked into the program). LMDB
// does not tell; the kernel does.
void find_maps(MDB_env* env, AddressRange& map, AddressRange& code) {
  int fd = -1;
  struct stat st {};
  if (mdb_env_get_fd(env, &fd) != 0 || ::fstat(fd, &st) != 0) return;
  auto text = read_whole_file("/proc/self/maps", 4 << 20);
  if (!text.ok()) return;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    AddressRange range;
    uint64_t inode = 0;
    const int got = std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %" SCNu64,
                                &range.begin, &range.end, &inode);
    if (got != 3) continue;
    if (inode == st.st_ino && line.find("/data.mdb") != std::string::npos) map = range;
    const bool lmdb = range.has(reinterpret_cast<const void*>(&mdb_env_open));
    if (lmdb && !range.has(reinterpret_cast<const void*>(&end_on_assertion))) code = range;
  }
}

}  // namespace

Result<std::unique_ptr<LmdbEnv>> LmdbEnv::open(const std::string& dir, uint64_t map_bytes,
                                               unsigned tables_max, LmdbSync sync) {
  constexpr uint64_t kMapBytesMin = uint64_t{1} << 30;
  std::unique_ptr<LmdbEnv> env(new LmdbEnv);
  const std::string doing = "opening the journal in " + dir;
  for (;;) {
    if (int code = mdb_env_create(&env->env_); code != 0) return lmdb_error(code, doing);
    mdb_env_set_maxdbs(env->env_, tables_max);
    mdb_env_set_maxreaders(env->env_, 512);
    mdb_env_set_mapsize(env->env_, map_bytes);
    // NOMETASYNC: a power cut may undo the last commit; the packs replay it
    // (docs/formats/journal.md).
    const unsigned flags =
        MDB_NOTLS | MDB_NORDAHEAD | (sync == LmdbSync::kNone ? MDB_NOSYNC : MDB_NOMETASYNC);
    const int code = mdb_env_open(env->env_, dir.c_str(), flags, 0600);
    if (code == 0) break;
    if (code != ENOMEM || map_bytes <= kMapBytesMin) return lmdb_error(code, doing);
    mdb_env_close(std::exchange(env->env_, nullptr));
    map_bytes = std::max(map_bytes / 4, kMapBytesMin);
  }
  env->dir_ = dir;
  env->watch_map();
  mdb_env_set_assert(env->env_, end_on_assertion);
  int dead = 0;
  mdb_reader_check(env->env_, &dead);
  return env;
}

LmdbEnv::~LmdbEnv() {
  if (env_) mdb_env_close(env_);
}

Result<Dbi> LmdbEnv::table(const char* name) {
  MDB_txn* txn = nullptr;
  const std::string doing = std::string("opening the journal's table ") + name;
  if (int code = mdb_txn_begin(env_, nullptr, 0, &txn); code != 0) return lmdb_error(code, doing);
  MDB_dbi dbi = 0;
  if (int code = mdb_dbi_open(txn, name, MDB_CREATE, &dbi); code != 0) {
    mdb_txn_abort(txn);
    return lmdb_error(code, doing);
  }
  if (int code = mdb_txn_commit(txn); code != 0) return lmdb_error(code, doing);
  return Dbi{dbi};
}

Result<std::unique_ptr<ReadTxn>> LmdbEnv::begin_read() {
  std::unique_ptr<ReadTxn> txn(new ReadTxn(*this));
  txn->alive_ = std::shared_lock(resize_);
  // Begun and entered in one go, so that oldest_read() misses nobody.
  const std::lock_guard lock(reads_mutex_);
  if (int code = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn->txn_); code != 0) {
    return lmdb_error(code, "starting to read the journal");
  }
  txn->sees_ = mdb_txn_id(txn->txn_);
  reads_.insert(txn->sees_);
  return txn;
}

Result<std::unique_ptr<WriteTxn>> LmdbEnv::begin_write() {
  grow_if_needed();
  std::unique_ptr<WriteTxn> txn(new WriteTxn);
  txn->full_ = &full_;
  if (int code = mdb_txn_begin(env_, nullptr, 0, &txn->txn_); code != 0) {
    return lmdb_error(code, "starting to write to the journal");
  }
  return txn;
}

void LmdbEnv::grow_if_needed() {
  if (!full_ && used_bytes() < map_bytes() / 4 * 3) return;
  std::unique_lock moving(resize_, std::try_to_lock);
  if (!moving) return;
  // A batch that did not fit may be much larger than the map.
  if (set_map(map_bytes() * (full_ ? 4 : 2))) full_ = false;
}

// LMDB has let go of the old map when it cannot have the new one.
bool LmdbEnv::set_map(uint64_t bytes) {
  const uint64_t before = map_bytes();
  const bool moved = mdb_env_set_mapsize(env_, bytes) == 0;
  CHECK(moved || mdb_env_set_mapsize(env_, before) == 0);
  watch_map();
  return moved;
}

// A mapped file that is cut short while it is in use, or whose disk fails, is a signal and no error
// code.
void LmdbEnv::watch_map() {
  fault_.reset();
  AddressRange map, code;
  find_maps(env_, map, code);
  if (map.end == 0) return;
  MapFault::set_code(code.begin, code.end);
  fault_.emplace(dir_, map.begin, map.end - map.begin);
}

uint64_t LmdbEnv::used_bytes() const {
  MDB_envinfo info{};
  MDB_stat stat{};
  mdb_env_info(env_, &info);
  mdb_env_stat(env_, &stat);
  return (uint64_t{info.me_last_pgno} + 1) * stat.ms_psize;
}

Status LmdbEnv::sync() {
  if (int code = mdb_env_sync(env_, 1); code != 0) return lmdb_error(code, "syncing the journal");
  return {};
}

uint64_t LmdbEnv::last_commit() const {
  MDB_envinfo info{};
  mdb_env_info(env_, &info);
  return info.me_last_txnid;
}

uint64_t LmdbEnv::oldest_read() const {
  const std::lock_guard lock(reads_mutex_);
  return reads_.empty() ? last_commit() : *reads_.begin();
}

uint64_t LmdbEnv::map_bytes() const {
  MDB_envinfo info{};
  mdb_env_info(env_, &info);
  return info.me_mapsize;
}

}  // namespace holdfast
