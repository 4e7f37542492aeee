// Any bytes may go into the fanotify decoder; handles and names it hands out lie inside the input,
// and it always ends.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "watcher/fanotify_decode.h"

namespace {
void check_inside(std::string_view whole, std::string_view part) {
  if (part.empty() || part == ".") return;  // "." may be the decoder's own
  const bool inside =
      part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
  if (!inside) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  holdfast::FanotifyDecoder decoder(bytes);
  size_t events = 0;
  while (const auto event = decoder.next()) {
    ++events;
    for (const holdfast::FanotifyPlace& place : {event->place, event->from, event->to}) {
      check_inside(bytes, place.handle);
      check_inside(bytes, place.name);
      const bool odd = place.name.find('\0') != std::string_view::npos ||
                       place.name.find('/') != std::string_view::npos;
      if (odd || (place.told() && (place.handle.size() <= 4 || place.name.empty()))) std::abort();
    }
  }
  if (events * 24 > size || decoder.next()) std::abort();
  return 0;
}
