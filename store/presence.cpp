// Store::check_presence(): the quick look that every status makes.
#include <algorithm>

#include "base/bytes.h"
#include "store/store.h"

namespace holdfast {

Status Store::check_presence(const LmdbTxn& txn,
                             const std::function<void(const std::string&)>& finding) const {
  TRY_ASSIGN(Cursor cursor, Cursor::open(txn, packs_));
  TRY_ASSIGN(bool found, cursor.first());
  while (found) {
    TRY_ASSIGN(const PackEntry entry, decode_pack_entry(cursor.value()));
    const uint32_t pack = get_be32(cursor.key().data());
    if (entry.condemned) {
      TRY_ASSIGN(found, cursor.next());
      continue;
    }
    auto size = storage_->size(pack);
    if (!size.ok()) {
      finding(
          "the pack " + storage_->name(pack) + " is gone or cannot be read (" +
          size.error().message +
          "); what it held cannot be restored: bring the file back, holdfast check names the rest");
    } else if (*size < entry.bytes) {
      finding("the pack " + storage_->name(pack) + " is shorter than it was: " +
              std::to_string(*size) + " of " + std::to_string(entry.bytes) + " bytes");
    }
    TRY_ASSIGN(found, cursor.next());
  }
  return {};
}

}  // namespace holdfast
