// What stands beside a SQLite database: heads, a log and a journal, whatever their bytes are.
#include <sys/mman.h>

#include <cstdint>
#include <string_view>

#include "base/fd.h"
#include "base/fs.h"
#include "service/sqlite_log.h"

using namespace holdfast;

namespace {

void check_pages(const Result<LoggedPages>& pages, size_t size) {
  if (!pages.ok()) return;
  uint32_t last = 0;
  for (const PagePatch& patch : pages->patches) {
    CHECK(patch.page > last && patch.page <= pages->pages);
    CHECK(patch.offset + pages->page_bytes <= size);
    last = patch.page;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  static_cast<void>(parse_sqlite_header(bytes).has_value());
  static_cast<void>(parse_sidecar_name(bytes).has_value());
  const Fd file(::memfd_create("fuzz", MFD_CLOEXEC));
  CHECK(pwrite_full(file.get(), bytes, 0).ok());
  check_pages(valid_log(file.get()), size);
  check_pages(pages_of_journal(file.get()), size);
  if (const auto index = parse_wal_index(bytes)) {
    static_cast<void>(patches_of_log(file.get(), *index).ok());
  }
  return 0;
}
