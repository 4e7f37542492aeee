// Unpack: what a packed file holds, as a stream. The owner of zlib: gzip's checksums are verified
// here, which libarchive does not do. Blocking; any thread.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "service/inbox_rules.h"

namespace holdfast {

using ReadBytes = std::function<Result<size_t>(char* out, size_t size)>;  // 0: the end
using WriteBytes = std::function<Status(std::string_view bytes)>;

// kDamaged: it is not packed as its name says, is damaged, cut off, or has something behind its
// end. Errors of `read` and `write` come back as they are. All of `read` has been read then.
Status unpack(Packing packing, const ReadBytes& read, const WriteBytes& write);

}  // namespace holdfast
