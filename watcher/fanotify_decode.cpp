#include "watcher/fanotify_decode.h"

#include <limits.h>

#include "base/bytes.h"

namespace holdfast {

namespace {
// struct fanotify_event_metadata: event_len u32, vers u8, reserved u8, metadata_len u16, mask u64,
// fd s32, pid s32. Then information records, each with a header: type u8, pad u8, len u16 (header
// included). Those with a handle go on with fsid (8 bytes), struct file_handle (handle_bytes u32,
// handle_type s32, the bytes), a name that ends with NUL, and padding. (fanotify(7))
constexpr uint32_t kMetadataBytes = 24;
constexpr uint8_t kVersion = 3;
constexpr size_t kInfoHeaderBytes = 4;
constexpr size_t kFsidBytes = 8;
constexpr size_t kHandleBytesMax = 128;  // MAX_HANDLE_SZ
// linux/fanotify.h; FAN_EVENT_INFO_TYPE_*.
constexpr uint8_t kInfoDfidName = 2;
constexpr uint8_t kInfoDfid = 3;
constexpr uint8_t kInfoOldDfidName = 10;
constexpr uint8_t kInfoNewDfidName = 12;

// A handle and, with `named`, the name after it; nullopt: damage.
std::optional<FanotifyPlace> read_place(std::string_view info, bool named) {
  ByteReader reader(info);
  reader.bytes(kFsidBytes);
  const auto handle_bytes = reader.le<uint32_t>();
  const size_t handle_at = kFsidBytes + sizeof handle_bytes;
  reader.le<int32_t>();
  if (reader.failed() || handle_bytes == 0 || handle_bytes > kHandleBytesMax) return std::nullopt;
  reader.bytes(handle_bytes);
  if (reader.failed()) return std::nullopt;
  FanotifyPlace place;
  place.handle = info.substr(handle_at, sizeof(int32_t) + handle_bytes);
  place.name = ".";
  if (!named) return place;
  const std::string_view rest = info.substr(handle_at + sizeof(int32_t) + handle_bytes);
  const size_t end = rest.find('\0');
  if (end == std::string_view::npos || end == 0 || end > NAME_MAX) return std::nullopt;
  place.name = rest.substr(0, end);
  // A name is one path component; a slash in it would let a caller wander off the directory.
  if (place.name.find('/') != std::string_view::npos || place.name == "..") return std::nullopt;
  return place;
}

// False: damage.
bool read_infos(std::string_view infos, FanotifyEvent& event) {
  while (!infos.empty()) {
    ByteReader reader(infos);
    const auto type = reader.le<uint8_t>();
    reader.le<uint8_t>();
    const auto length = reader.le<uint16_t>();
    if (reader.failed() || length < kInfoHeaderBytes || length > infos.size()) return false;
    const std::string_view info = infos.substr(kInfoHeaderBytes, length - kInfoHeaderBytes);
    infos.remove_prefix(length);
    const bool known = type == kInfoDfidName || type == kInfoDfid || type == kInfoOldDfidName ||
                       type == kInfoNewDfidName;
    if (!known) continue;  // the object's own handle above all
    const auto place = read_place(info, type != kInfoDfid);
    if (!place) return false;
    FanotifyPlace& into = type == kInfoOldDfidName   ? event.from
                          : type == kInfoNewDfidName ? event.to
                                                     : event.place;
    into = *place;
  }
  return true;
}
}  // namespace

std::optional<FanotifyEvent> FanotifyDecoder::next() {
  if (rest_.empty()) return std::nullopt;
  ByteReader reader(rest_);
  FanotifyEvent event;
  const auto event_bytes = reader.le<uint32_t>();
  const auto version = reader.le<uint8_t>();
  reader.le<uint8_t>();
  const auto metadata_bytes = reader.le<uint16_t>();
  event.mask = reader.le<uint64_t>();
  const bool sane = !reader.failed() && version == kVersion && metadata_bytes >= kMetadataBytes &&
                    event_bytes >= metadata_bytes && event_bytes <= rest_.size();
  if (!sane || !read_infos(rest_.substr(metadata_bytes, event_bytes - metadata_bytes), event)) {
    damaged_ = true;
    rest_ = {};
    return std::nullopt;
  }
  rest_.remove_prefix(event_bytes);
  return event;
}

}  // namespace holdfast
