#include "watcher/inotify_decode.h"

#include <limits.h>

#include <algorithm>

#include "base/bytes.h"

namespace holdfast {

namespace {
// struct inotify_event: wd, mask, cookie, len, then len bytes of name. The kernel writes the name
// with at least one NUL and pads it to a multiple of the header's size; a name is at most NAME_MAX
// bytes.
constexpr uint32_t kHeaderBytes = 16;
constexpr uint32_t kNameBytesMax = (NAME_MAX + 1 + kHeaderBytes - 1) / kHeaderBytes * kHeaderBytes;

// The name before its padding; nullopt where the padding is missing or not all NUL.
std::optional<std::string_view> strip_padding(std::string_view padded) {
  if (padded.empty()) return padded;
  const size_t end = padded.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view padding = padded.substr(end);
  if (std::any_of(padding.begin(), padding.end(), [](char c) { return c != '\0'; })) {
    return std::nullopt;
  }
  return padded.substr(0, end);
}
}  // namespace

std::optional<InotifyEvent> InotifyDecoder::next() {
  if (rest_.empty()) return std::nullopt;
  ByteReader reader(rest_);
  InotifyEvent event;
  event.wd = reader.le<int32_t>();
  event.mask = reader.le<uint32_t>();
  event.cookie = reader.le<uint32_t>();
  const uint32_t name_bytes = reader.le<uint32_t>();
  const bool sane = name_bytes <= kNameBytesMax && name_bytes % kHeaderBytes == 0;
  if (!sane) reader.fail();
  const std::optional<std::string_view> name = strip_padding(reader.bytes(name_bytes));
  // A name is one path component; a slash in it would let a caller wander off the directory.
  if (reader.failed() || !name || name->find('/') != std::string_view::npos) {
    damaged_ = true;
    rest_ = {};
    return std::nullopt;
  }
  event.name = *name;
  rest_.remove_prefix(size_t{kHeaderBytes} + name_bytes);
  return event;
}

}  // namespace holdfast
