// The bytes of a fanotify descriptor (FAN_REPORT_DFID_NAME_TARGET), decoded one event at a time.
//
// Pure and safe on any input: it never reads past the end and never aborts. The kernel only hands
// over whole events, so anything else means that the bytes are not what they should be; the decoder
// then stops and says so with damaged(), and the caller must assume that events were lost. Pieces
// of an event that it does not know are skipped by their length, as the interface asks for.
// Borrows the bytes: handles and names die with them. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace holdfast {

// A name in a directory. The handle is its type (an int of this machine) and its bytes, as
// file_handle_of() gives it; empty: not told. The name is "." where the event is about the
// directory itself.
struct FanotifyPlace {
  std::string_view handle;
  std::string_view name;

  bool told() const { return !handle.empty(); }
};

struct FanotifyEvent {
  uint64_t mask = 0;
  FanotifyPlace place;     // of everything but a rename
  FanotifyPlace from, to;  // of a rename; either may be missing
};

class FanotifyDecoder {
 public:
  explicit FanotifyDecoder(std::string_view bytes) : rest_(bytes) {}
  // The next event; nullopt at the end, and at damage.
  std::optional<FanotifyEvent> next();
  bool damaged() const { return damaged_; }

 private:
  std::string_view rest_;
  bool damaged_ = false;
};

}  // namespace holdfast
