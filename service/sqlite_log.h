// The pages that a write-ahead log or a rollback journal has for a database, and where. Reads
// through an open descriptor of the file; memory grows with the number of different pages in it,
// and is bounded by kLogFramesMax.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/sqlite_format.h"
#include "service/sqlite_view.h"

namespace holdfast {

inline constexpr uint32_t kLogFramesMax = 4u << 20;  // 16 GiB of pages of 4 KiB

struct LoggedPages {
  std::vector<PagePatch> patches;  // by page, one for each
  uint32_t page_bytes = 0;
  uint32_t pages = 0;  // of the database; 0: the log says nothing
};

// The pages of the frames that the index calls valid. kDamaged: they are of another log.
Result<std::vector<PagePatch>> patches_of_log(int log_fd, const WalIndex& index);
// What a log without an index holds: its frames up to the last commit whose checksums fit.
Result<LoggedPages> valid_log(int log_fd);
// The pages as they were before the transaction that a journal would take back. kUnsupported: the
// transaction spans several databases, and whether it is to be taken back is not told here.
Result<LoggedPages> pages_of_journal(int journal_fd);

}  // namespace holdfast
