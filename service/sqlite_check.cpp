#include "service/sqlite_check.h"

#include <fcntl.h>
#include <sqlite3.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "base/fd.h"
#include "base/fs.h"
#include "base/path.h"
#include "service/command_run.h"
#include "service/words.h"

namespace holdfast {

namespace {
constexpr int kFoundExit = 3;

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
struct FinishStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

// The rows of a query, until `row` says false; what SQLite says where it fails.
Status query(sqlite3* database, const char* text, const std::function<bool(const char*)>& row) {
  sqlite3_stmt* made = nullptr;
  int code = sqlite3_prepare_v2(database, text, -1, &made, nullptr);
  const std::unique_ptr<sqlite3_stmt, FinishStatement> statement(made);
  if (code == SQLITE_OK) {
    while ((code = sqlite3_step(made)) == SQLITE_ROW) {
      const unsigned char* value = sqlite3_column_text(made, 0);
      if (!row(value != nullptr ? reinterpret_cast<const char*>(value) : "")) return {};
    }
  }
  if (code == SQLITE_OK || code == SQLITE_DONE) return {};
  return make_error(
      code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? ErrorCode::kDamaged : ErrorCode::kFailed,
      sqlite3_errmsg(database));
}
}  // namespace

int run_sqlite_check(const std::string& path) {
  // Nothing beside the file is looked at or made, and nothing in its schema is trusted.
  const std::string uri = "file:" + percent_encode(path) + "?immutable=1";
  sqlite3* opened = nullptr;
  const int code =
      sqlite3_open_v2(uri.c_str(), &opened, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, nullptr);
  const std::unique_ptr<sqlite3, CloseDatabase> database(opened);
  if (code != SQLITE_OK) {
    std::printf("%s\n", opened != nullptr ? sqlite3_errmsg(opened) : "no memory");
    return 1;
  }
  sqlite3_db_config(opened, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(opened, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  bool good = false, told = false;
  auto checked = query(opened, "PRAGMA integrity_check(20)", [&](const char* row) {
    good = !told && std::string_view(row) == "ok";
    told = true;
    if (!good) std::printf("%s\n", row);
    return true;
  });
  if (checked.ok()) return good ? 0 : kFoundExit;
  std::printf("%s\n", checked.error().message.c_str());
  return checked.error().code == ErrorCode::kDamaged ? kFoundExit : 1;
}

Status check_sqlite_apart(const std::string& path, int64_t timeout_ns,
                          const std::function<bool()>& stop) {
  // SQLite takes a file of a few bytes for an empty database.
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return errno_error(errno, "opening the database to check it");
  std::string head(kMagic.size(), '\0');
  TRY_ASSIGN(const size_t got, pread_full(fd.get(), head.data(), head.size(), 0));
  if (got < head.size() || head != kMagic) {
    return make_error(ErrorCode::kDamaged, "it is not a database of SQLite");
  }
  CommandRun run;
  run.args = {"/proc/self/exe", kSqliteCheckCommand, path};
  run.timeout_ns = timeout_ns;
  TRY_ASSIGN(const CommandEnd end, run_to_end(run, stop));
  if (end.stopped) return make_error(ErrorCode::kInterrupted, "interrupted");
  if (end.timed_out) {
    return make_error(ErrorCode::kFailed, "PRAGMA integrity_check took longer than " +
                                              words_for_duration(timeout_ns) +
                                              "; raise timeout if that is right");
  }
  if (end.end.ok()) return {};
  const bool found = end.end.signal == 0 && end.end.exit_status == kFoundExit;
  return make_error(found ? ErrorCode::kDamaged : ErrorCode::kFailed,
                    "PRAGMA integrity_check: " + display_text(end.output) +
                        (found ? "" : " (" + end.end.words() + ")"));
}

}  // namespace holdfast
