// SqliteCheck: whether a file is a whole SQLite database, as SQLite itself sees it. The owner of
// libsqlite3, which is only ever called in a process of its own: what a dropped file holds must not
// be able to take the service along, nor keep it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"

namespace holdfast {

// Runs this program again with kSqliteCheckCommand. kDamaged: it is no database, or a damaged one.
Status check_sqlite_apart(const std::string& path, int64_t timeout_ns,
                          const std::function<bool()>& stop);

// `holdfast check-sqlite FILE`, which no help shows: PRAGMA integrity_check. Prints what is wrong;
// the exit code is 0 where nothing is, 3 where something is, and 1 where it could not be told.
inline constexpr const char* kSqliteCheckCommand = "check-sqlite";
int run_sqlite_check(const std::string& path);

}  // namespace holdfast
