// Owners of LMDB's handles; nothing else includes <lmdb.h>.
//
// One Env per process and state directory. Any number of threads may hold a ReadTxn; at most one
// WriteTxn exists, used and ended by the thread that began it. A view returned by get() or a Cursor
// points into the map: it dies with its transaction, and in a WriteTxn also with the next write.
// The map grows in begin_write(): when it is more than three quarters full and no ReadTxn is alive,
// it is doubled, after a write that did not fit it is made four times as large; with readers alive
// it is retried at the next begin_write(). It is address space, not memory: begin with much.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "base/map_fault.h"
#include "base/result.h"

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;

namespace holdfast {

using Dbi = unsigned int;

class LmdbEnv;

// What both kinds of transaction can do: read.
class LmdbTxn {
 public:
  LmdbTxn(const LmdbTxn&) = delete;
  LmdbTxn& operator=(const LmdbTxn&) = delete;
  virtual ~LmdbTxn();
  // nullopt: no such key. An error means damage (or a broken environment).
  Result<std::optional<std::string_view>> get(Dbi dbi, std::string_view key) const;
  Result<uint64_t> entry_count(Dbi dbi) const;
  Result<uint64_t> leaf_pages(Dbi dbi) const;
  MDB_txn* raw() const { return txn_; }

 protected:
  LmdbTxn() = default;
  MDB_txn* txn_ = nullptr;
};

class ReadTxn final : public LmdbTxn {
 public:
  ~ReadTxn() override;

 private:
  friend class LmdbEnv;
  explicit ReadTxn(LmdbEnv& env) : env_(env) {}
  LmdbEnv& env_;
  uint64_t sees_ = 0;
  std::shared_lock<std::shared_mutex> alive_;
};

class WriteTxn final : public LmdbTxn {
 public:
  ~WriteTxn() override;  // aborts, unless committed
  Status put(Dbi dbi, std::string_view key, std::string_view value);
  // For a key greater than every key in the table: fills pages completely.
  Status append(Dbi dbi, std::string_view key, std::string_view value);
  Status remove(Dbi dbi, std::string_view key);  // no such key is not an error
  Status commit();                               // on error nothing was applied

 private:
  friend class LmdbEnv;
  WriteTxn() = default;
  Status put_with(Dbi dbi, std::string_view key, std::string_view value, unsigned flags);
  Error write_error(int code, const char* doing);
  std::atomic<bool>* full_ = nullptr;  // the environment's
};

// A position in one table. Its transaction must outlive it.
class Cursor {
 public:
  static Result<Cursor> open(const LmdbTxn& txn, Dbi dbi);
  Cursor(Cursor&& other) noexcept;
  Cursor& operator=(Cursor&& other) noexcept;
  ~Cursor();
  // Each returns whether there is an entry there; key() and value() are then valid.
  Result<bool> seek_at_or_after(std::string_view key);
  Result<bool> seek_at_or_before(std::string_view key);  // the last entry with key <= `key`
  Result<bool> first();
  Result<bool> last();
  Result<bool> next();
  Result<bool> previous();
  std::string_view key() const { return key_; }
  std::string_view value() const { return value_; }

 private:
  Cursor() = default;
  Result<bool> move(int operation);
  MDB_cursor* cursor_ = nullptr;
  std::string_view key_;
  std::string_view value_;
};

// kNone: nothing is durable, and after a power cut the environment may be unusable, until sync().
enum class LmdbSync { kCommits, kNone };

class LmdbEnv {
 public:
  // Opens (or creates) the environment in directory `dir`, with named tables up to `tables_max`.
  // `map_bytes` is the size of the map to begin with; where so much address space cannot be had, it
  // is less, but never less than what is there already takes.
  static Result<std::unique_ptr<LmdbEnv>> open(const std::string& dir, uint64_t map_bytes,
                                               unsigned tables_max,
                                               LmdbSync sync = LmdbSync::kCommits);
  ~LmdbEnv();
  LmdbEnv(const LmdbEnv&) = delete;
  LmdbEnv& operator=(const LmdbEnv&) = delete;

  Result<Dbi> table(const char* name);  // creates it where missing; not while a WriteTxn is alive
  Result<std::unique_ptr<ReadTxn>> begin_read();
  Result<std::unique_ptr<WriteTxn>> begin_write();
  Status sync();  // all that is committed becomes durable
  uint64_t used_bytes() const;
  uint64_t map_bytes() const;
  // Commits are numbered. The state that the oldest living ReadTxn sees; without one the last.
  uint64_t last_commit() const;
  uint64_t oldest_read() const;

 private:
  friend class ReadTxn;
  LmdbEnv() = default;
  void grow_if_needed();
  bool set_map(uint64_t bytes);
  void watch_map();
  MDB_env* env_ = nullptr;
  std::string dir_;
  std::optional<MapFault> fault_;  // of the map as it is now
  std::atomic<bool> full_{false};  // a write did not fit since the map grew last
  std::shared_mutex resize_;       // shared by readers, exclusive while the map moves
  mutable std::mutex reads_mutex_;
  std::multiset<uint64_t> reads_;  // what each living ReadTxn sees
};

}  // namespace holdfast
