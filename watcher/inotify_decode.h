// The bytes of an inotify descriptor, decoded one event at a time.
//
// Pure and safe on any input: it never reads past the end and never aborts. The kernel only hands
// over whole events, so anything else means that the bytes are not what they should be; the decoder
// then stops and says so with damaged(), and the caller must assume that events were lost.
// Borrows the bytes: an event's name dies with them. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace holdfast {

struct InotifyEvent {
  int32_t wd = 0;  // -1 for an overflow
  uint32_t mask = 0;
  uint32_t cookie = 0;
  std::string_view name;  // without its padding; empty when the event is about the directory itself
};

class InotifyDecoder {
 public:
  explicit InotifyDecoder(std::string_view bytes) : rest_(bytes) {}
  // The next event; nullopt at the end, and at damage.
  std::optional<InotifyEvent> next();
  bool damaged() const { return damaged_; }

 private:
  std::string_view rest_;
  bool damaged_ = false;
};

}  // namespace holdfast
