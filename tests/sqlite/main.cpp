// A program that uses SQLite, for tests: it writes as fast as it can until it is told to stop,
// leaves a database in some state, or proves what a copy of one holds.
//
//   write DB PROGRESS MODE PAGE_BYTES MMAP_BYTES   until SIGTERM; PROGRESS holds the last commit
//   check DB          integrity_check, and that it holds the first N transactions of `write` and
//                     nothing of any other; prints N
//   pace DB BUSY_MS [SYNCHRONOUS]   commits small transactions until SIGTERM (OFF: no fsync);
//   prints
//                     how many, how many were refused as SQLITE_BUSY, and the longest time that
//                     one took in milliseconds
//   run DB SQL...     runs each, prints the rows
//   hold DB SQL...    the same, then "ready", and keeps the database open until it is killed
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr uint64_t kCells = 4000;
constexpr int kCellsOfTransaction = 5;
constexpr int kRollbackBusyMs = 5000;

std::atomic<bool> stopped{false};

[[noreturn]] void fail(const std::string& what, sqlite3* db) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), db != nullptr ? sqlite3_errmsg(db) : "");
  std::exit(1);
}

uint64_t cell_of(uint64_t transaction, int k) {
  return (transaction * 7919 + static_cast<uint64_t>(k) * 104729 + transaction / 97) % kCells;
}

int print_row(void*, int columns, char** values, char**) {
  for (int i = 0; i < columns; ++i) {
    std::printf("%s%s", i > 0 ? "|" : "", values[i] != nullptr ? values[i] : "");
  }
  std::printf("\n");
  return 0;
}

void run(sqlite3* db, const std::string& sql) {
  if (sqlite3_exec(db, sql.c_str(), print_row, nullptr, nullptr) != SQLITE_OK) fail(sql, db);
}

void run_silently(sqlite3* db, const std::string& sql) {
  if (sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail(sql, db);
}

sqlite3* open(const char* path) {
  sqlite3* db = nullptr;
  if (sqlite3_open(path, &db) != SQLITE_OK) fail(std::string("opening ") + path, db);
  return db;
}

uint64_t number(sqlite3* db, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) fail(sql, db);
  if (sqlite3_step(statement) != SQLITE_ROW) fail(sql, db);
  const auto value = static_cast<uint64_t>(sqlite3_column_int64(statement, 0));
  sqlite3_finalize(statement);
  return value;
}

int write(const std::vector<std::string>& args) {
  ::signal(SIGTERM, [](int) { stopped = true; });
  sqlite3* db = open(args[0].c_str());
  const std::string& mode = args[2];
  run_silently(db, "PRAGMA page_size=" + args[3]);
  sqlite3_busy_timeout(db, mode == "wal" ? 0 : kRollbackBusyMs);
  run_silently(db, "PRAGMA journal_mode=" + mode + "; PRAGMA mmap_size=" + args[4] +
                       "; PRAGMA synchronous=NORMAL");
  run_silently(db,
               "BEGIN; CREATE TABLE IF NOT EXISTS cells(id INTEGER PRIMARY KEY, at, filler);"
               "CREATE INDEX IF NOT EXISTS by_at ON cells(at);"
               "CREATE TABLE IF NOT EXISTS done(n INTEGER PRIMARY KEY);"
               "WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c WHERE x < " +
                   std::to_string(kCells - 1) +
                   ") INSERT OR IGNORE INTO cells SELECT x, 0, hex(randomblob(100)) FROM c; "
                   "COMMIT");
  const int progress = ::open(args[1].c_str(), O_RDWR | O_CREAT, 0600);
  std::printf("writing\n");
  std::fflush(stdout);
  uint64_t n = number(db, "SELECT coalesce(max(n), 0) FROM done");
  while (!stopped) {
    ++n;
    const std::string text = std::to_string(n);
    std::string sql = "BEGIN IMMEDIATE; INSERT INTO done VALUES(" + text + ");";
    for (int k = 0; k < kCellsOfTransaction; ++k) {
      sql += "UPDATE cells SET at=" + text +
             ", filler=hex(randomblob(100)) WHERE id=" + std::to_string(cell_of(n, k)) + ";";
    }
    run_silently(db, sql + "COMMIT");
    if (::pwrite(progress, &n, sizeof n, 0) != sizeof n) fail("progress", nullptr);
  }
  if (sqlite3_close(db) != SQLITE_OK) fail("closing", db);
  std::printf("%llu\n", static_cast<unsigned long long>(n));
  return 0;
}

int pace(const std::string& path, int busy_ms, const std::string& synchronous) {
  ::signal(SIGTERM, [](int) { stopped = true; });
  sqlite3* db = open(path.c_str());
  sqlite3_busy_timeout(db, busy_ms);
  run_silently(db, "PRAGMA synchronous=" + synchronous + "; CREATE TABLE IF NOT EXISTS pace(n)");
  std::printf("writing\n");
  std::fflush(stdout);
  uint64_t commits = 0, refused = 0;
  std::chrono::steady_clock::duration longest{};
  while (!stopped) {
    const auto begin = std::chrono::steady_clock::now();
    const int code = sqlite3_exec(db, "INSERT INTO pace VALUES(1)", nullptr, nullptr, nullptr);
    if (code != SQLITE_OK && code != SQLITE_BUSY) fail("inserting", db);
    longest = std::max(longest, std::chrono::steady_clock::now() - begin);
    ++(code == SQLITE_OK ? commits : refused);
  }
  if (sqlite3_close(db) != SQLITE_OK) fail("closing", db);
  std::printf("%llu commits, %llu refused, longest %lld ms\n",
              static_cast<unsigned long long>(commits), static_cast<unsigned long long>(refused),
              static_cast<long long>(
                  std::chrono::duration_cast<std::chrono::milliseconds>(longest).count()));
  return 0;
}

int check(const std::string& path) {
  sqlite3* db = open(path.c_str());
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, nullptr);
  if (sqlite3_step(statement) != SQLITE_ROW) fail("integrity_check", db);
  const std::string verdict = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
  if (verdict != "ok") fail("integrity_check: " + verdict, nullptr);
  sqlite3_finalize(statement);
  if (number(db, "SELECT count(*) FROM sqlite_schema WHERE name='done'") == 0) {
    std::printf("0\n");
    return 0;
  }
  const uint64_t last = number(db, "SELECT coalesce(max(n), 0) FROM done");
  if (number(db, "SELECT count(*) FROM done") != last) fail("a transaction is missing", nullptr);
  std::vector<uint64_t> expected(kCells, 0);
  for (uint64_t n = 1; n <= last; ++n) {
    for (int k = 0; k < kCellsOfTransaction; ++k) expected[cell_of(n, k)] = n;
  }
  sqlite3_prepare_v2(db, "SELECT id, at FROM cells ORDER BY id", -1, &statement, nullptr);
  uint64_t id = 0;
  for (; sqlite3_step(statement) == SQLITE_ROW; ++id) {
    const bool right = static_cast<uint64_t>(sqlite3_column_int64(statement, 0)) == id &&
                       static_cast<uint64_t>(sqlite3_column_int64(statement, 1)) == expected[id];
    if (!right) fail("cell " + std::to_string(id) + " is not what it was", nullptr);
  }
  if (id != kCells) fail("cells are missing", nullptr);
  sqlite3_finalize(statement);
  sqlite3_close(db);
  std::printf("%llu\n", static_cast<unsigned long long>(last));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() >= 6 && args[0] == "write") return write({args.begin() + 1, args.end()});
  if (args.size() == 2 && args[0] == "check") return check(args[1]);
  if ((args.size() == 3 || args.size() == 4) && args[0] == "pace") {
    return pace(args[1], std::atoi(args[2].c_str()), args.size() == 4 ? args[3] : "OFF");
  }
  if (args.size() < 3) return 2;
  sqlite3* db = open(args[1].c_str());
  sqlite3_busy_timeout(db, kRollbackBusyMs);
  for (size_t i = 2; i < args.size(); ++i) run(db, args[i]);
  if (args[0] == "hold") {
    std::printf("ready\n");
    std::fflush(stdout);
    for (;;) ::pause();
  }
  return sqlite3_close(db) == SQLITE_OK ? 0 : 1;
}
