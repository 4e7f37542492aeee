#include "tests/support/journal_rows.h"

#include <catch2/catch.hpp>

#include "base/lmdb.h"
#include "base/types.h"

namespace holdfast {

namespace {

constexpr const char* kTables[] = {"records", "entries", "versions",  "inodes", "times",
                                   "boots",   "roots",   "standing",  "meta",   "snapshots",
                                   "chunks",  "packs",   "store_meta"};

std::string hex(const std::string& bytes) {
  return to_hex(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

template <class T>
T taken(Result<T> result) {
  INFO((result.ok() ? std::string() : result.error().message));
  REQUIRE(result.ok());
  return std::move(*result);
}

}  // namespace

JournalRows rows_of_file(const WorkDir& work, const std::string& data_file) {
  const std::string dir = work.path("rows");
  run_tool({"rm", "-rf", "--", dir});
  make_dir(dir);
  run_tool({"cp", "--sparse=always", data_file, dir + "/data.mdb"});
  const auto env = taken(LmdbEnv::open(dir, 1ull << 30, 32));
  JournalRows rows;
  for (const char* name : kTables) {
    const Dbi table = taken(env->table(name));
    const auto txn = taken(env->begin_read());
    Cursor cursor = taken(Cursor::open(*txn, table));
    auto& of_table = rows[name];
    for (bool more = taken(cursor.first()); more; more = taken(cursor.next())) {
      of_table[std::string(cursor.key())] = std::string(cursor.value());
    }
  }
  return rows;
}

JournalRows rows_of_state(const WorkDir& work, const std::string& state) {
  return rows_of_file(work, state + "/journal/data.mdb");
}

std::string row_differences(const JournalRows& expected, const JournalRows& found) {
  std::string text;
  int lines = 0;
  const auto tell = [&](const std::string& table, const std::string& key, const std::string& what) {
    if (lines++ < 20) text += table + " " + hex(key) + " (" + key + "): " + what + "\n";
  };
  for (const auto& [table, rows] : expected) {
    const auto& others = found.at(table);
    for (const auto& [key, value] : rows) {
      const auto other = others.find(key);
      if (other == others.end()) {
        tell(table, key, "missing");
      } else if (other->second != value) {
        tell(table, key, hex(other->second) + " and not " + hex(value));
      }
    }
    for (const auto& [key, value] : others) {
      if (!rows.contains(key)) tell(table, key, "too many");
    }
  }
  return text;
}

}  // namespace holdfast
