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

// Gives the first bytes back that were read to look at them.
class Head {
 public:
  Head(const ReadBytes& read, size_t size) : read_(read), head_(size, '\0') {}
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

Error damaged(const std::string& why) { return make_error(ErrorCode::kDamaged, why); }

// One call of inflate(). `ended`: a member ended here.
Status inflate_some(Inflater& inflater, std::vector<char>& out, const WriteBytes& write,
                    bool& ended) {
  z_stream& stream = inflater.stream;
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int code = ::inflate(&stream, Z_NO_FLUSH);
  if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
    return damaged(std::string("the gzip data is damaged: ") +
                   (stream.msg != nullptr ? stream.msg : "zlib does not say how"));
  }
  ended = code == Z_STREAM_END;
  const size_t made = out.size() - stream.avail_out;
  return made > 0 ? write({out.data(), made}) : Status();
}

// Members follow each other, as `cat a.gz b.gz` makes them; zeros may follow the last.
Status gunzip(const ReadBytes& read, const WriteBytes& write) {
  Inflater inflater;
  if (!inflater.good) return make_error(ErrorCode::kFailed, "starting zlib failed");
  std::vector<char> in(kBlockBytes), out(kBlockBytes);
  bool between = false;  // two members
  for (;;) {
    TRY_ASSIGN(size_t left, read(in.data(), in.size()));
    if (left == 0) return between ? Status() : damaged("the gzip data is cut off");
    for (const char* at = in.data(); left > 0;) {
      if (between && *at == '\0') {
        ++at, --left;
        continue;
      }
      constexpr char kMagic = '\x1f';
      if (between && *at != kMagic) {
        return damaged("something that is not gzip follows the gzip data");
      }
      if (between) ::inflateReset(&inflater.stream);
      between = false;
      inflater.stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(at));
      inflater.stream.avail_in = static_cast<uInt>(left);
      do {
        TRY(inflate_some(inflater, out, write, between));
      } while (!between && (inflater.stream.avail_in > 0 || inflater.stream.avail_out == 0));
      at += left - inflater.stream.avail_in;
      left = inflater.stream.avail_in;
    }
  }
}

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
  constexpr size_t kHeadBytes = 6;
  Head head(read, kHeadBytes);
  TRY(head.fill());
  if (!begins_as(packing, head.bytes())) {
    return damaged(std::string("it is not ") + words_for_packing(packing) +
                   ", which its name says; give it a name that says what it is");
  }
  const ReadBytes from = [&](char* out, size_t size) { return head.read(out, size); };
  switch (packing) {
    case Packing::kNone: return copy(from, write);
    case Packing::kGzip: return gunzip(from, write);
    case Packing::kZstd: TRY(unpack_stream(StreamFilter::kZstd, from, write)); break;
    case Packing::kXz: TRY(unpack_stream(StreamFilter::kXz, from, write)); break;
    case Packing::kBzip2: TRY(unpack_stream(StreamFilter::kBzip2, from, write)); break;
  }
  return copy(from, [](std::string_view) { return Status(); });
}

}  // namespace holdfast
