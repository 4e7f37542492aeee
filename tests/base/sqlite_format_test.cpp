#include "base/sqlite_format.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

namespace holdfast {
namespace {

std::string header(uint16_t page, char version) {
  std::string bytes("SQLite format 3\0", 16);
  bytes += static_cast<char>(page >> 8);
  bytes += static_cast<char>(page & 0xff);
  bytes += std::string{version, version, '\0', '\x40', '\x20', '\x20'};
  bytes.resize(kSqliteHeaderBytes);
  return bytes;
}

void put_u32(std::string& bytes, size_t at, uint32_t value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// As a processor of little-endian words writes it.
std::string index_of(uint32_t frames, uint32_t backfilled) {
  std::string bytes(kWalIndexBytes, '\0');
  put_u32(bytes, 0, 3007000);
  bytes[12] = 1;
  bytes[15] = 0x10;  // 4096
  put_u32(bytes, 16, frames);
  put_u32(bytes, 20, 9);
  bytes.replace(32, 8, "saltsalt");
  WalChecksum checksum;
  checksum.add(std::string_view(bytes).substr(0, 40), false);
  put_u32(bytes, 40, checksum.first);
  put_u32(bytes, 44, checksum.second);
  bytes.replace(48, 48, bytes.substr(0, 48));
  put_u32(bytes, 96, backfilled);
  return bytes;
}

}  // namespace

TEST_CASE("a SQLite database is told by its header", "[sqlite_format]") {
  const auto plain = parse_sqlite_header(header(4096, 1));
  REQUIRE(plain);
  REQUIRE(plain->page_bytes == 4096);
  REQUIRE_FALSE(plain->wal);
  REQUIRE(parse_sqlite_header(header(1, 2))->page_bytes == 65536);
  REQUIRE(parse_sqlite_header(header(512, 2))->wal);
  for (const std::string& bytes :
       {header(4096, 0), header(4096, 3), header(0, 1), header(256, 1), header(4097, 1),
        header(4096, 1).substr(0, kSqliteHeaderBytes - 1), "x" + header(4096, 1), std::string()}) {
    REQUIRE_FALSE(parse_sqlite_header(bytes));
  }
  std::string magic_only(kSqliteHeaderBytes, '\0');
  magic_only.replace(0, 18, header(4096, 1), 0, 18);
  REQUIRE_FALSE(parse_sqlite_header(magic_only));
}

TEST_CASE("the names beside a database", "[sqlite_format]") {
  REQUIRE(parse_sidecar_name("a.db-wal")->database == "a.db");
  REQUIRE(parse_sidecar_name("a.db-shm")->kind == Sidecar::kShm);
  REQUIRE(parse_sidecar_name("x-journal")->kind == Sidecar::kJournal);
  REQUIRE(parse_sidecar_name("x-wal-wal")->database == "x-wal");
  for (const char* name : {"-wal", "-journal", "wal", "x-WAL", "x-wal2", ""}) {
    REQUIRE_FALSE(parse_sidecar_name(name));
  }
}

TEST_CASE("an index of a log is taken whole or not at all", "[sqlite_format]") {
  const std::string good = index_of(7, 3);
  const auto index = parse_wal_index(good);
  REQUIRE(index);
  REQUIRE(index->frames == 7);
  REQUIRE(index->pages == 9);
  REQUIRE(index->page_bytes == 4096);
  REQUIRE(index->backfilled == 3);
  REQUIRE(std::string(index->salt.begin(), index->salt.end()) == "saltsalt");
  for (size_t at = 0; at < 96; ++at) {  // in either copy of it
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x20);
    INFO(at);
    REQUIRE_FALSE(parse_wal_index(bad));
  }
  REQUIRE_FALSE(parse_wal_index(good.substr(1)));
  REQUIRE_FALSE(parse_wal_index(std::string(kWalIndexBytes, '\0')));
}

TEST_CASE("the heads of a log and of a journal", "[sqlite_format]") {
  // Of a log that SQLite 3.40 made.
  std::string log("\x37\x7f\x06\x82\x00\x2d\xe2\x18\x00\x00\x10\x00\x00\x00\x00\x00", 16);
  log += "saltpepp";
  WalChecksum checksum;
  checksum.add(log, false);
  for (const uint32_t word : {checksum.first, checksum.second}) {
    for (int shift = 24; shift >= 0; shift -= 8) log += static_cast<char>(word >> shift);
  }
  REQUIRE(parse_wal_header(log));
  REQUIRE(parse_wal_header(log)->page_bytes == 4096);
  for (size_t at = 0; at < kWalHeaderBytes; ++at) {
    std::string bad = log;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    REQUIRE_FALSE(parse_wal_header(bad));
  }
  std::string journal(kJournalMagic);
  journal += std::string("\0\0\0\2\0\0\0\5\0\0\0\7\0\0\2\0\0\0\x10\0", 20);
  const auto parsed = parse_journal_header(journal);
  REQUIRE(parsed);
  REQUIRE(parsed->records == 2);
  REQUIRE(parsed->nonce == 5);
  REQUIRE(parsed->pages == 7);
  REQUIRE(parsed->sector_bytes == 512);
  REQUIRE(parsed->page_bytes == 4096);
  REQUIRE_FALSE(parse_journal_header(journal.substr(0, 27)));
  REQUIRE_FALSE(parse_journal_header(std::string(28, '\0')));
  REQUIRE(journal_checksum(5, std::string(512, '\2')) == 5 + 2 + 2);
}

}  // namespace holdfast
