#include "service/unpack.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "service/tar.h"

namespace holdfast {

namespace {
constexpr size_t kBlockBytes = 256 * 1024;
constexpr size_t kHeadBytes = 6;

// Gives the first bytes back that were read to look at them.
class FirstBytes {
 public:
  FirstBytes(const ReadBytes& read, size_t size) : read_(read), head_(size, '\0') {}
  Status fill() {
    size_t at = 0;
    while (at < head_.size()) {
      TRY_ASSIGN(const size_t got, read_(head_.data() + at, head_.size() - at));
      if (got == 0) break;
      at += got;
    }
    head_.resize(at);
    return {};
  }
  const std::string& bytes() const { return head_; }
  Result<size_t> read(char* out, size_t size) {
    if (at_ == head_.size()) return read_(out, size);
    const size_t given = std::min(size, head_.size() - at_);
    std::memcpy(out, head_.data() + at_, given);
    at_ += given;
    return given;
  }

 private:
  const ReadBytes& read_;
  std::string head_;
  size_t at_ = 0;
};

// An inflater that is ended in any case.
struct Inflater {
  z_stream stream{};
  bool good = false;
  Inflater() {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    good = ::inflateInit2(&stream, kGzipOnly) == Z_OK;
  }
  ~Inflater() {
    if (good) ::inflateEnd(&stream);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
};

Error damaged_packing(const std::string& why) { return make_error(ErrorCode::kDamaged, why); }

// Members follow each other, as `cat a.gz b.gz` makes them; zeros may follow the last.
class GzipReader {
 public:
  explicit GzipReader(ReadBytes read) : read_(std::move(read)) {}
  Result<size_t> read(char* out, size_t size) {
    if (!inflater_.good) return make_error(ErrorCode::kFailed, "starting zlib failed");
    z_stream& stream = inflater_.stream;
    stream.next_out = reinterpret_cast<Bytef*>(out);
    stream.avail_out = static_cast<uInt>(size);
    while (stream.avail_out == size) {
      if (stream.avail_in == 0) {
        TRY_ASSIGN(const size_t got, read_(in_.data(), in_.size()));
        if (got == 0 && between_) return 0;
        if (got == 0) return damaged_packing("the gzip data is cut off");
        stream.next_in = reinterpret_cast<Bytef*>(in_.data());
        stream.avail_in = static_cast<uInt>(got);
      }
      if (between_ && *stream.next_in == 0) {
        ++stream.next_in, --stream.avail_in;
        continue;
      }
      TRY(inflate_some());
    }
    return size - stream.avail_out;
  }

 private:
  Status inflate_some() {
    z_stream& stream = inflater_.stream;
    constexpr Bytef kMagic = 0x1f;
    if (between_ && *stream.next_in != kMagic) {
      return damaged_packing("something that is not gzip follows the gzip data");
    }
    if (between_) ::inflateReset(&stream);
    const int code = ::inflate(&stream, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
      return damaged_packing(std::string("the gzip data is damaged: ") +
                             (stream.msg != nullptr ? stream.msg : "zlib does not say how"));
    }
    between_ = code == Z_STREAM_END;
    return {};
  }

  const ReadBytes read_;
  Inflater inflater_;
  std::vector<char> in_ = std::vector<char>(kBlockBytes);
  bool between_ = false;  // two members
};

Status copy(const ReadBytes& read, const WriteBytes& write) {
  std::vector<char> buffer(kBlockBytes);
  for (;;) {
    TRY_ASSIGN(const size_t got, read(buffer.data(), buffer.size()));
    if (got == 0) return {};
    TRY(write({buffer.data(), got}));
  }
}

bool begins_as(Packing packing, std::string_view head) {
  const auto starts = [&](std::string_view magic) { return head.starts_with(magic); };
  switch (packing) {
    case Packing::kNone: return true;
    case Packing::kGzip: return starts("\x1f\x8b");
    case Packing::kXz: return starts(std::string_view("\xfd\x37zXZ\0", 6));
    case Packing::kBzip2: return starts("BZh");
    case Packing::kZstd:  // or a frame that is to be skipped, such as pzstd writes
      return starts("\x28\xb5\x2f\xfd") || (head.size() >= 4 && (head[0] & '\xf0') == '\x50' &&
                                            head.substr(1, 3) == "\x2a\x4d\x18");
  }
  return false;
}

}  // namespace

Status unpack(Packing packing, const ReadBytes& read, const WriteBytes& write) {
  FirstBytes head(read, kHeadBytes);
  TRY(head.fill());
  if (!begins_as(packing, head.bytes())) {
    return damaged_packing(std::string("it is not ") + words_for_packing(packing) +
                           ", which its name says; give it a name that says what it is");
  }
  const ReadBytes from = [&](char* out, size_t size) { return head.read(out, size); };
  switch (packing) {
    case Packing::kNone: return copy(from, write);
    case Packing::kGzip: {
      GzipReader gzip(from);
      return copy([&](char* out, size_t size) { return gzip.read(out, size); }, write);
    }
    case Packing::kZstd: TRY(unpack_stream(StreamFilter::kZstd, from, write)); break;
    case Packing::kXz: TRY(unpack_stream(StreamFilter::kXz, from, write)); break;
    case Packing::kBzip2: TRY(unpack_stream(StreamFilter::kBzip2, from, write)); break;
  }
  return copy(from, [](std::string_view) { return Status(); });
}

struct UnpackReader::Impl {
  explicit Impl(ReadBytes read) : source(std::move(read)), head(source, kHeadBytes) {}
  const ReadBytes source;
  FirstBytes head;
  bool begun = false;
  std::unique_ptr<GzipReader> gzip;
  std::unique_ptr<PackedReader> packed;

  Status begin() {
    TRY(head.fill());
    const ReadBytes from = [this](char* out, size_t size) { return head.read(out, size); };
    if (begins_as(Packing::kGzip, head.bytes())) {
      gzip = std::make_unique<GzipReader>(from);
      return {};
    }
    constexpr std::pair<Packing, StreamFilter> kPackings[] = {
        {Packing::kZstd, StreamFilter::kZstd},
        {Packing::kXz, StreamFilter::kXz},
        {Packing::kBzip2, StreamFilter::kBzip2}};
    for (const auto& [packing, filter] : kPackings) {
      if (!begins_as(packing, head.bytes())) continue;
      TRY_ASSIGN(packed, PackedReader::open(filter, from));
    }
    return {};
  }
};

UnpackReader::UnpackReader(ReadBytes read) : impl_(std::make_unique<Impl>(std::move(read))) {}
UnpackReader::~UnpackReader() = default;

Result<size_t> UnpackReader::read(char* out, size_t size) {
  if (!impl_->begun) {
    impl_->begun = true;
    TRY(impl_->begin());
  }
  if (impl_->gzip) return impl_->gzip->read(out, size);
  if (impl_->packed) return impl_->packed->read(out, size);
  return impl_->head.read(out, size);
}

}  // namespace holdfast
