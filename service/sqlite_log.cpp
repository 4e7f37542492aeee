#include "service/sqlite_log.h"

#include <algorithm>
#include <string>

#include "base/fs.h"

namespace holdfast {

namespace {

constexpr uint32_t kPendingByte = 0x40000000;  // its page never holds anything

// Of several patches of one page the last one holds.
std::vector<PagePatch> last_of_each(std::vector<PagePatch> patches) {
  std::stable_sort(patches.begin(), patches.end(),
                   [](const PagePatch& a, const PagePatch& b) { return a.page < b.page; });
  std::vector<PagePatch> last;
  for (const PagePatch& patch : patches) {
    if (!last.empty() && last.back().page == patch.page) {
      last.back() = patch;
    } else {
      last.push_back(patch);
    }
  }
  return last;
}

void leave_out_behind(std::vector<PagePatch>& patches, uint32_t pages) {
  std::erase_if(patches, [&](const PagePatch& patch) { return patch.page > pages; });
}

Error too_long() {
  return make_error(ErrorCode::kUnsupported, "it is longer than is looked through");
}

}  // namespace

Result<std::vector<PagePatch>> patches_of_log(int log_fd, const WalIndex& index) {
  if (index.frames > kLogFramesMax) return too_long();
  std::vector<PagePatch> patches;
  patches.reserve(index.frames);
  uint64_t at = kWalHeaderBytes;
  char bytes[kWalFrameBytes];
  for (uint32_t i = 0; i < index.frames; ++i) {
    TRY_ASSIGN(const size_t got, pread_full(log_fd, bytes, sizeof bytes, at));
    const WalFrame frame = got == sizeof bytes ? parse_wal_frame({bytes, got}) : WalFrame();
    const bool last = i + 1 == index.frames;
    if (frame.page == 0 || frame.salt != index.salt ||
        (last && frame.commit_pages != index.pages)) {
      return make_error(ErrorCode::kDamaged, "its frames are not those of its index");
    }
    patches.push_back({frame.page, at + kWalFrameBytes});
    at += kWalFrameBytes + index.page_bytes;
  }
  patches = last_of_each(std::move(patches));
  leave_out_behind(patches, index.pages);
  return patches;
}

Result<LoggedPages> valid_log(int log_fd) {
  LoggedPages valid;
  char head[kWalHeaderBytes];
  TRY_ASSIGN(const size_t head_bytes, pread_full(log_fd, head, sizeof head, 0));
  const auto header = parse_wal_header({head, head_bytes});
  if (!header) return valid;
  WalChecksum checksum = header->checksum;
  std::vector<PagePatch> patches;
  size_t committed = 0;
  std::string bytes(kWalFrameBytes + header->page_bytes, '\0');
  uint64_t at = kWalHeaderBytes;
  for (;; at += bytes.size()) {
    if (patches.size() >= kLogFramesMax) return too_long();
    TRY_ASSIGN(const size_t got, pread_full(log_fd, bytes.data(), bytes.size(), at));
    if (got < bytes.size()) break;
    const WalFrame frame = parse_wal_frame(bytes);
    checksum.add(std::string_view(bytes).substr(0, 8), header->big_endian);
    checksum.add(std::string_view(bytes).substr(kWalFrameBytes), header->big_endian);
    if (frame.page == 0 || frame.salt != header->salt || frame.checksum != checksum) break;
    patches.push_back({frame.page, at + kWalFrameBytes});
    if (frame.commit_pages == 0) continue;
    committed = patches.size();
    valid.pages = frame.commit_pages;
  }
  patches.resize(committed);
  valid.page_bytes = header->page_bytes;
  valid.patches = last_of_each(std::move(patches));
  leave_out_behind(valid.patches, valid.pages);
  return valid;
}

Result<LoggedPages> pages_of_journal(int journal_fd) {
  LoggedPages before;
  TRY_ASSIGN(const StatxResult st, statx_fd(journal_fd));
  char end[8];
  if (st.size >= sizeof end) {
    TRY_ASSIGN(const size_t got, pread_full(journal_fd, end, sizeof end, st.size - sizeof end));
    if (std::string_view(end, got) == kJournalMagic) {
      return make_error(ErrorCode::kUnsupported, "its transaction spans several databases");
    }
  }
  uint64_t at = 0;
  for (;;) {
    char head[kJournalHeaderBytes];
    TRY_ASSIGN(const size_t head_bytes, pread_full(journal_fd, head, sizeof head, at));
    const auto header = parse_journal_header({head, head_bytes});
    if (!header || (before.page_bytes != 0 && header->page_bytes != before.page_bytes)) break;
    if (before.page_bytes == 0) before.pages = header->pages;
    before.page_bytes = header->page_bytes;
    at += header->sector_bytes;
    std::string record(4 + size_t{header->page_bytes} + 4, '\0');
    const auto number = [&](size_t from) {
      uint32_t value = 0;
      for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(record[from + i]);
      return value;
    };
    const std::string_view page(record.data() + 4, header->page_bytes);
    bool ends = false;
    for (uint32_t i = 0; i < header->records; ++i, at += record.size()) {
      if (before.patches.size() >= kLogFramesMax) return too_long();
      TRY_ASSIGN(const size_t got, pread_full(journal_fd, record.data(), record.size(), at));
      ends = got < record.size() || number(0) == 0 ||
             number(0) == kPendingByte / header->page_bytes + 1 ||
             number(4 + page.size()) != journal_checksum(header->nonce, page);
      if (ends) break;
      before.patches.push_back({number(0), at + 4});
    }
    if (ends) break;
    at = (at + header->sector_bytes - 1) / header->sector_bytes * header->sector_bytes;
  }
  before.patches = last_of_each(std::move(before.patches));
  leave_out_behind(before.patches, before.pages);
  return before;
}

}  // namespace holdfast
