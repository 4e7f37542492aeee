// The owners of LMDB's handles: transactions, cursors, a map that grows.
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <thread>

#include "base/bytes.h"
#include "base/lmdb.h"

using namespace holdfast;

namespace {

constexpr uint64_t kMapBytes = 1024 * 1024;

class TempDir {
 public:
  TempDir() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "holdfast-lmdb-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::unique_ptr<LmdbEnv> open_env(const TempDir& dir, uint64_t map_bytes = kMapBytes) {
  auto env = LmdbEnv::open(dir.path(), map_bytes, 4);
  INFO((env.ok() ? std::string() : env.error().message));
  REQUIRE(env.ok());
  return std::move(*env);
}

Dbi open_table(LmdbEnv& env, const char* name = "t") {
  const auto dbi = env.table(name);
  REQUIRE(dbi.ok());
  return *dbi;
}

std::unique_ptr<WriteTxn> begin_write(LmdbEnv& env) {
  auto txn = env.begin_write();
  REQUIRE(txn.ok());
  return std::move(*txn);
}

std::unique_ptr<ReadTxn> begin_read(LmdbEnv& env) {
  auto txn = env.begin_read();
  REQUIRE(txn.ok());
  return std::move(*txn);
}

void put(LmdbEnv& env, Dbi dbi, const std::string& key, const std::string& value) {
  const auto txn = begin_write(env);
  REQUIRE(txn->put(dbi, key, value).ok());
  REQUIRE(txn->commit().ok());
}

std::optional<std::string> get(LmdbEnv& env, Dbi dbi, const std::string& key) {
  const auto txn = begin_read(env);
  const auto value = txn->get(dbi, key);
  REQUIRE(value.ok());
  if (!*value) return std::nullopt;
  return std::string(**value);
}

std::string be64(uint64_t number) {
  std::string key;
  put_be64(key, number);
  return key;
}

}  // namespace

TEST_CASE("what was committed is there, what was not is not", "[lmdb]") {
  const TempDir dir;
  auto env = open_env(dir);
  const Dbi dbi = open_table(*env);
  CHECK_FALSE(get(*env, dbi, "a"));
  put(*env, dbi, "a", "1");
  {
    const auto txn = begin_write(*env);
    REQUIRE(txn->put(dbi, "b", "2").ok());
    REQUIRE(txn->remove(dbi, "a").ok());
    CHECK_FALSE((*txn->get(dbi, "a")).has_value());  // its own changes are seen within
  }                                                  // aborted
  CHECK(get(*env, dbi, "a") == "1");
  CHECK_FALSE(get(*env, dbi, "b"));
  env.reset();
  env = open_env(dir);
  CHECK(get(*env, open_table(*env), "a") == "1");
}

TEST_CASE("removing, replacing, appending, counting", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir);
  const Dbi dbi = open_table(*env);
  const auto txn = begin_write(*env);
  CHECK(txn->remove(dbi, "nothing").ok());
  REQUIRE(txn->append(dbi, "a", "1").ok());
  REQUIRE(txn->append(dbi, "b", "2").ok());
  CHECK_FALSE(txn->append(dbi, "a", "3").ok());  // not greater than every key
  REQUIRE(txn->put(dbi, "a", "4").ok());
  CHECK(*txn->entry_count(dbi) == 2);
  REQUIRE(txn->remove(dbi, "b").ok());
  CHECK(*txn->entry_count(dbi) == 1);
  REQUIRE(txn->commit().ok());
  CHECK(get(*env, dbi, "a") == "4");
}

TEST_CASE("a reader keeps its moment", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir);
  const Dbi dbi = open_table(*env);
  put(*env, dbi, "a", "old");
  const auto reader = begin_read(*env);
  put(*env, dbi, "a", "new");
  const auto seen = reader->get(dbi, "a");
  REQUIRE(seen.ok());
  CHECK(**seen == "old");
  CHECK(get(*env, dbi, "a") == "new");
}

TEST_CASE("tables are apart", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir);
  const Dbi one = open_table(*env, "one");
  const Dbi two = open_table(*env, "two");
  put(*env, one, "a", "1");
  CHECK_FALSE(get(*env, two, "a"));
  CHECK(open_table(*env, "one") == one);
}

TEST_CASE("a cursor seeks and steps", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir);
  const Dbi dbi = open_table(*env);
  for (const uint64_t number : {10u, 20u, 30u})
    put(*env, dbi, be64(number), std::to_string(number));
  const auto txn = begin_read(*env);
  auto cursor = Cursor::open(*txn, dbi);
  REQUIRE(cursor.ok());

  struct Row {
    uint64_t key;
    uint64_t at_or_after;   // 0: none
    uint64_t at_or_before;  // 0: none
  };
  const Row rows[] = {{5, 10, 0},   {10, 10, 10}, {15, 20, 10}, {20, 20, 20},
                      {29, 30, 20}, {30, 30, 30}, {31, 0, 30},  {UINT64_MAX, 0, 30}};
  for (const Row& row : rows) {
    CAPTURE(row.key);
    const auto after = cursor->seek_at_or_after(be64(row.key));
    REQUIRE(after.ok());
    REQUIRE(*after == (row.at_or_after != 0));
    if (*after) {
      CHECK(get_be64(cursor->key().data()) == row.at_or_after);
      CHECK(cursor->value() == std::to_string(row.at_or_after));
    }
    const auto before = cursor->seek_at_or_before(be64(row.key));
    REQUIRE(before.ok());
    REQUIRE(*before == (row.at_or_before != 0));
    if (*before) {
      CHECK(get_be64(cursor->key().data()) == row.at_or_before);
      CHECK(cursor->value() == std::to_string(row.at_or_before));
    }
  }
  REQUIRE(*cursor->first());
  CHECK(cursor->value() == "10");
  CHECK_FALSE(*cursor->previous());
  REQUIRE(*cursor->first());
  REQUIRE(*cursor->next());
  CHECK(cursor->value() == "20");
  REQUIRE(*cursor->last());
  CHECK_FALSE(*cursor->next());
  CHECK(cursor->key().empty());
}

TEST_CASE("a cursor in an empty table finds nothing", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir);
  const Dbi dbi = open_table(*env);
  const auto txn = begin_read(*env);
  auto cursor = Cursor::open(*txn, dbi);
  REQUIRE(cursor.ok());
  CHECK_FALSE(*cursor->seek_at_or_after("a"));
  CHECK_FALSE(*cursor->seek_at_or_before("a"));
  CHECK_FALSE(*cursor->first());
  CHECK_FALSE(*cursor->last());
}

TEST_CASE("a cursor can be moved", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir);
  const Dbi dbi = open_table(*env);
  put(*env, dbi, "a", "1");
  const auto txn = begin_read(*env);
  auto first = Cursor::open(*txn, dbi);
  auto second = Cursor::open(*txn, dbi);
  REQUIRE((first.ok() && second.ok()));
  Cursor cursor = std::move(*first);
  REQUIRE(*cursor.last());
  CHECK(cursor.key() == "a");
  *second = std::move(cursor);
  CHECK(second->key() == "a");
}

TEST_CASE("the map grows before it is full, and waits for readers", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir);
  const Dbi dbi = open_table(*env);
  const std::string value(1000, 'v');
  uint64_t next = 0;
  const auto write_batch = [&](uint64_t count) -> Status {
    TRY_ASSIGN(auto txn, env->begin_write());
    for (uint64_t i = 0; i < count; ++i) TRY(txn->append(dbi, be64(next + i), value));
    TRY(txn->commit());
    next += count;
    return {};
  };
  for (int batch = 0; batch < 80; ++batch) REQUIRE(write_batch(100).ok());  // 8 MB into 1 MB
  CHECK(env->map_bytes() >= 8 * kMapBytes);
  CHECK(env->used_bytes() <= env->map_bytes());

  auto reader = begin_read(*env);
  const uint64_t before = env->map_bytes();
  const uint64_t records_before = next;
  Status status;
  for (int batch = 0; batch < 200 && status.ok(); ++batch) status = write_batch(100);
  REQUIRE_FALSE(status.ok());  // it could not grow under the reader
  CHECK(status.error().code == ErrorCode::kBusy);
  CHECK(env->map_bytes() == before);
  CHECK(*reader->entry_count(dbi) == records_before);
  reader.reset();
  REQUIRE(write_batch(100).ok());
  CHECK(env->map_bytes() == before * 4);  // something did not fit
  CHECK(get(*env, dbi, be64(0)) == value);
  CHECK(get(*env, dbi, be64(next - 1)) == value);
}

TEST_CASE("a batch that is larger than the map fits in the end", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir);
  const Dbi dbi = open_table(*env);
  const std::string value(1000, 'v');
  const auto write_batch = [&]() -> Status {
    TRY_ASSIGN(auto txn, env->begin_write());
    for (uint64_t i = 0; i < 8000; ++i) TRY(txn->append(dbi, be64(i), value));
    return txn->commit();
  };
  int tries = 1;
  while (tries < 10 && !write_batch().ok()) ++tries;
  CHECK(tries == 3);  // 1, 4, 16 MiB
  CHECK(get(*env, dbi, be64(7999)) == value);
}

TEST_CASE("an existing larger map is kept", "[lmdb]") {
  const TempDir dir;
  auto env = open_env(dir, 4 * kMapBytes);
  const Dbi dbi = open_table(*env);
  const std::string value(100'000, 'v');
  for (uint64_t i = 0; i < 25; ++i) put(*env, dbi, be64(i), value);
  const uint64_t used = env->used_bytes();
  env.reset();
  env = open_env(dir, kMapBytes);
  CHECK(env->map_bytes() >= used);
  CHECK(get(*env, open_table(*env), be64(24)) == value);
}

TEST_CASE("readers on other threads see whole commits", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir, 16 * kMapBytes);
  const Dbi dbi = open_table(*env);
  put(*env, dbi, "a", "0");
  put(*env, dbi, "b", "0");
  bool consistent = true;
  std::thread other([&] {
    for (int i = 0; i < 2000; ++i) {
      const auto txn = env->begin_read();
      if (!txn.ok()) {
        consistent = false;
        return;
      }
      const auto a = (*txn)->get(dbi, "a");
      const auto b = (*txn)->get(dbi, "b");
      consistent = consistent && a.ok() && b.ok() && *a && *b && **a == **b;
    }
  });
  bool written = true;
  for (int i = 0; i < 300 && written; ++i) {
    auto txn = env->begin_write();
    written = txn.ok() && (*txn)->put(dbi, "a", std::to_string(i)).ok() &&
              (*txn)->put(dbi, "b", std::to_string(i)).ok() && (*txn)->commit().ok();
  }
  other.join();
  CHECK(written);
  CHECK(consistent);
}

TEST_CASE("a directory that is not there is an error that names it", "[lmdb]") {
  const auto env = LmdbEnv::open("/nonexistent/holdfast", kMapBytes, 1);
  REQUIRE_FALSE(env.ok());
  CHECK(env.error().code == ErrorCode::kNotFound);
  CHECK_THAT(env.error().message, Catch::Contains("/nonexistent/holdfast"));
}

TEST_CASE("bytes that are no environment are damage", "[lmdb]") {
  const TempDir dir;
  { const auto env = open_env(dir); }
  std::filesystem::resize_file(dir.path() + "/data.mdb", 0);
  std::filesystem::resize_file(dir.path() + "/data.mdb", 8192);  // zeros where the meta pages were
  const auto env = LmdbEnv::open(dir.path(), kMapBytes, 1);
  REQUIRE_FALSE(env.ok());
  CHECK(env.error().code == ErrorCode::kDamaged);
}

TEST_CASE("the oldest reader is known, however many there are", "[lmdb]") {
  const TempDir dir;
  const auto env = open_env(dir);
  const Dbi dbi = open_table(*env);
  put(*env, dbi, "k", "1");
  const uint64_t first = env->last_commit();
  REQUIRE(env->oldest_read() == first);  // nobody reads
  auto old = begin_read(*env);
  auto same = begin_read(*env);
  put(*env, dbi, "k", "2");
  const auto later = begin_read(*env);
  put(*env, dbi, "k", "3");
  REQUIRE(env->last_commit() == first + 2);
  REQUIRE(env->oldest_read() == first);
  old.reset();
  REQUIRE(env->oldest_read() == first);
  same.reset();
  REQUIRE(env->oldest_read() == first + 1);
}
