#include "base/sqlite_format.h"

#include <bit>
#include <cstring>

namespace holdfast {

namespace {

constexpr std::string_view kHeaderMagic("SQLite format 3\0", 16);
constexpr uint32_t kWalMagic = 0x377f0682;  // its last bit: the checksums' words are big-endian
constexpr uint32_t kWalVersion = 3007000;

uint32_t big_u32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}
uint32_t little_u32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i > 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + i - 1]);
  return value;
}
// X-shm is never read by another machine: it holds numbers as the processor does.
uint32_t own_u32(std::string_view bytes, size_t at) {
  return std::endian::native == std::endian::little ? little_u32(bytes, at) : big_u32(bytes, at);
}

bool is_page_size(uint32_t bytes) {
  return bytes >= 512 && bytes <= 65536 && std::has_single_bit(bytes);
}

WalSalt salt_at(std::string_view bytes, size_t at) {
  WalSalt salt;
  std::memcpy(salt.data(), bytes.data() + at, salt.size());
  return salt;
}

}  // namespace

std::optional<SqliteHeader> parse_sqlite_header(std::string_view bytes) {
  if (bytes.size() < kSqliteHeaderBytes || !bytes.starts_with(kHeaderMagic)) return std::nullopt;
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(bytes[at]); };
  SqliteHeader header;
  header.page_bytes = uint32_t{byte(16)} << 8 | byte(17);
  if (header.page_bytes == 1) header.page_bytes = 65536;
  const uint8_t read_version = byte(19);
  header.wal = read_version == 2;
  // Payload fractions are fixed: whoever has only the first bytes right is no database.
  const bool fractions = byte(21) == 64 && byte(22) == 32 && byte(23) == 32;
  if (!is_page_size(header.page_bytes) || read_version < 1 || read_version > 2 || !fractions) {
    return std::nullopt;
  }
  return header;
}

std::optional<SidecarName> parse_sidecar_name(std::string_view name) {
  constexpr std::pair<std::string_view, Sidecar> kEndings[] = {
      {"-wal", Sidecar::kWal}, {"-shm", Sidecar::kShm}, {"-journal", Sidecar::kJournal}};
  for (const auto& [ending, kind] : kEndings) {
    if (name.size() > ending.size() && name.ends_with(ending)) {
      return SidecarName{kind, name.substr(0, name.size() - ending.size())};
    }
  }
  return std::nullopt;
}

void WalChecksum::add(std::string_view bytes, bool big_endian) {
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    first += (big_endian ? big_u32(bytes, at) : little_u32(bytes, at)) + second;
    second += (big_endian ? big_u32(bytes, at + 4) : little_u32(bytes, at + 4)) + first;
  }
}

std::optional<WalIndex> parse_wal_index(std::string_view bytes) {
  constexpr size_t kCopyBytes = 48;
  if (bytes.size() < kWalIndexBytes) return std::nullopt;
  if (bytes.substr(0, kCopyBytes) != bytes.substr(kCopyBytes, kCopyBytes)) return std::nullopt;
  if (own_u32(bytes, 0) != kWalVersion || bytes[12] == 0) return std::nullopt;
  WalChecksum checksum;
  checksum.add(bytes.substr(0, 40), std::endian::native == std::endian::big);
  if (checksum != WalChecksum{own_u32(bytes, 40), own_u32(bytes, 44)}) return std::nullopt;
  WalIndex index;
  uint16_t page = 0;
  std::memcpy(&page, bytes.data() + 14, sizeof page);
  index.page_bytes = (page & 0xfe00u) + ((page & 1u) << 16);
  index.frames = own_u32(bytes, 16);
  index.pages = own_u32(bytes, 20);
  index.salt = salt_at(bytes, 32);
  index.backfilled = own_u32(bytes, 96);
  // An empty log knows no page size yet.
  if (index.frames > 0 && !is_page_size(index.page_bytes)) return std::nullopt;
  return index;
}

std::optional<WalHeader> parse_wal_header(std::string_view bytes) {
  if (bytes.size() < kWalHeaderBytes) return std::nullopt;
  if ((big_u32(bytes, 0) & ~1u) != kWalMagic || big_u32(bytes, 4) != kWalVersion) {
    return std::nullopt;
  }
  WalHeader header;
  header.big_endian = (big_u32(bytes, 0) & 1) != 0;
  header.page_bytes = big_u32(bytes, 8);
  header.salt = salt_at(bytes, 16);
  header.checksum.add(bytes.substr(0, 24), header.big_endian);
  if (header.checksum != WalChecksum{big_u32(bytes, 24), big_u32(bytes, 28)}) return std::nullopt;
  if (!is_page_size(header.page_bytes)) return std::nullopt;
  return header;
}

WalFrame parse_wal_frame(std::string_view bytes) {
  return {big_u32(bytes, 0),
          big_u32(bytes, 4),
          salt_at(bytes, 8),
          {big_u32(bytes, 16), big_u32(bytes, 20)}};
}

std::optional<JournalHeader> parse_journal_header(std::string_view bytes) {
  if (bytes.size() < kJournalHeaderBytes || !bytes.starts_with(kJournalMagic)) return std::nullopt;
  JournalHeader header{big_u32(bytes, 8), big_u32(bytes, 12), big_u32(bytes, 16),
                       big_u32(bytes, 20), big_u32(bytes, 24)};
  const bool sector = header.sector_bytes >= 32 && header.sector_bytes <= 65536 &&
                      std::has_single_bit(header.sector_bytes);
  if (!sector || !is_page_size(header.page_bytes)) return std::nullopt;
  return header;
}

uint32_t journal_checksum(uint32_t nonce, std::string_view page) {
  uint32_t sum = nonce;
  for (auto at = static_cast<int64_t>(page.size()) - 200; at > 0; at -= 200) {
    sum += static_cast<uint8_t>(page[static_cast<size_t>(at)]);
  }
  return sum;
}

}  // namespace holdfast
