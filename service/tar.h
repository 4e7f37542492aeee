// Tar: archives as other tools write and read them, and streams that they pack. The owner of
// libarchive.
//
// TarWriter writes the POSIX format (pax), which alone has nanoseconds and names of any length;
// extended attributes as SCHILY.xattr, which GNU tar, bsdtar and star read. Names are bytes: UTF-8
// is written as such, and what is none as it is, and said to be binary. One thread each.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "journal/record.h"

namespace holdfast {

// A member of an archive. `stat` has mode with its type bits, owner, size, stamps and device.
struct TarEntry {
  std::string path;  // components joined by '/'; neither absolute nor with ".." when written
  FileType type = FileType::kFile;
  FileStat stat;
  std::string link_target;  // symlinks
  std::string hardlink;     // not empty: one more name of that member, without content
  std::vector<Xattr> xattrs;
};

class TarWriter {
 public:
  // `write` returns false where nobody takes the bytes any more: kInterrupted.
  static Result<std::unique_ptr<TarWriter>> create(std::function<bool(std::string_view)> write);
  ~TarWriter();
  // kUnsupported: a tar cannot hold it (a socket); the archive can go on.
  Status begin(const TarEntry& entry);
  Status data(std::string_view bytes);  // stat.size of the entry in all
  Status finish();                      // the archive's end

 private:
  struct Impl;
  TarWriter();
  std::unique_ptr<Impl> impl_;
};

class TarReader {
 public:
  // Unpacks gzip, zstd, xz, bzip2 and lz4 on the way. `read` fills the buffer, at least in part,
  // and returns 0 at the end.
  using Read = std::function<Result<size_t>(char* buffer, size_t bytes)>;
  // `packed` false: only what is not packed.
  static Result<std::unique_ptr<TarReader>> open(Read read, bool packed = true);
  ~TarReader();
  // nullopt: that was the last one. kDamaged: this is no tar, or it ends in the middle. The path is
  // as the archive has it: it may be absolute or lead upwards.
  Result<std::optional<TarEntry>> next();
  // The next bytes of the member's content, holes as zeros; empty at its end. The view is valid
  // until the next call.
  Result<std::string_view> data();
  // After the last member, of what is not packed: reads all that is left. kDamaged: the archive
  // lacks its end, so that nobody knows what else was to be in it.
  Status finish();
  uint64_t position() const;  // of the newest member's header, or of the archive's end

 private:
  struct Impl;
  TarReader();
  std::unique_ptr<Impl> impl_;
};

// One packed stream, not an archive. Whether it begins as it should is for the caller to see.
enum class StreamFilter : uint8_t { kZstd, kXz, kBzip2 };
class PackedReader {
 public:
  using Read = std::function<Result<size_t>(char* buffer, size_t bytes)>;  // 0: the end
  static Result<std::unique_ptr<PackedReader>> open(StreamFilter filter, Read read);
  ~PackedReader();
  Result<size_t> read(char* out, size_t size);  // 0: the end

 private:
  struct Impl;
  PackedReader();
  std::unique_ptr<Impl> impl_;
};
// `read` gives packed bytes (0: the end), `write` gets what they hold.
Status unpack_stream(StreamFilter filter, const std::function<Result<size_t>(char*, size_t)>& read,
                     const std::function<Status(std::string_view)>& write);

}  // namespace holdfast
