// Unpack: what a packed file holds, as a stream. The owner of zlib: gzip's checksums are verified
// here, which libarchive does not do. Blocking; any thread.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "service/inbox_rules.h"

namespace holdfast {

using ReadBytes = std::function<Result<size_t>(char* out, size_t size)>;  // 0: the end
using WriteBytes = std::function<Status(std::string_view bytes)>;

// kDamaged: it is not packed as its name says, is damaged, cut off, or has something behind its
// end. Errors of `read` and `write` come back as they are. All of `read` has been read then.
Status unpack(Packing packing, const ReadBytes& read, const WriteBytes& write);

// The same for whoever asks for the bytes piece by piece: a stream that is packed as its own first
// bytes say, or not at all. One thread.
class UnpackReader {
 public:
  explicit UnpackReader(ReadBytes read);
  ~UnpackReader();
  // At least one byte, or 0: the end, up to which everything was sound.
  Result<size_t> read(char* out, size_t size);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast
