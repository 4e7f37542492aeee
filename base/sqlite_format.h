// The bytes of a SQLite database and of the files beside it, as far as they say what the database
// holds: its head, the write-ahead log, the index of that in shared memory, the rollback journal.
//
// From https://www.sqlite.org/fileformat2.html and https://www.sqlite.org/walformat.html. Pure;
// thread-safe. Whatever the bytes are, the answer is a value or nullopt.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace holdfast {

inline constexpr size_t kSqliteHeaderBytes = 100;
struct SqliteHeader {
  uint32_t page_bytes = 0;
  bool wal = false;  // what is committed may be in the write-ahead log
};
std::optional<SqliteHeader> parse_sqlite_header(std::string_view bytes);

// What stands beside a database under its name with something added.
enum class Sidecar : uint8_t { kWal, kShm, kJournal };
struct SidecarName {
  Sidecar kind = Sidecar::kWal;
  std::string_view database;
};
std::optional<SidecarName> parse_sidecar_name(std::string_view name);

using WalSalt = std::array<char, 8>;  // another one each time the log begins anew

// The head of X-shm: how far the log is valid, and how much of it is in the database.
inline constexpr size_t kWalIndexBytes = 136;
struct WalIndex {
  uint32_t frames = 0;  // valid, and ended by a commit
  uint32_t pages = 0;   // of the database after the last of them
  uint32_t page_bytes = 0;
  uint32_t backfilled = 0;  // frames whose pages are in the database
  WalSalt salt{};
};
// nullopt: not what SQLite writes, or read in the middle of its writing.
std::optional<WalIndex> parse_wal_index(std::string_view bytes);

// The running checksum of a log, over pairs of 32-bit words.
struct WalChecksum {
  uint32_t first = 0, second = 0;
  void add(std::string_view bytes, bool big_endian);
  bool operator==(const WalChecksum&) const = default;
};

inline constexpr size_t kWalHeaderBytes = 32;
struct WalHeader {
  uint32_t page_bytes = 0;
  bool big_endian = false;  // of the words in checksums
  WalSalt salt{};
  WalChecksum checksum;
};
std::optional<WalHeader> parse_wal_header(std::string_view bytes);

inline constexpr size_t kWalFrameBytes = 24;  // followed by the page
struct WalFrame {
  uint32_t page = 0;
  uint32_t commit_pages = 0;  // not 0: ends a transaction, after which there are so many
  WalSalt salt{};
  WalChecksum checksum;
};
WalFrame parse_wal_frame(std::string_view bytes);  // of kWalFrameBytes

// The head of a part of a rollback journal; its records follow at the next sector.
inline constexpr std::string_view kJournalMagic("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 8);
inline constexpr size_t kJournalHeaderBytes = 28;
struct JournalHeader {
  uint32_t records = 0;  // kJournalToEnd: as many as there are
  uint32_t nonce = 0;
  uint32_t pages = 0;  // of the database before the transaction
  uint32_t sector_bytes = 0, page_bytes = 0;
};
inline constexpr uint32_t kJournalToEnd = 0xffffffff;
std::optional<JournalHeader> parse_journal_header(std::string_view bytes);
uint32_t journal_checksum(uint32_t nonce, std::string_view page);

}  // namespace holdfast
