// Any bytes may go into the inotify decoder; names it hands out lie inside the input, and it always
// ends.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "watcher/inotify_decode.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  holdfast::InotifyDecoder decoder(bytes);
  size_t events = 0;
  size_t name_bytes = 0;
  while (const auto event = decoder.next()) {
    ++events;
    name_bytes += event->name.size();
    const bool inside = event->name.empty() ||
                        (event->name.data() >= bytes.data() &&
                         event->name.data() + event->name.size() <= bytes.data() + bytes.size());
    if (!inside || event->name.find('\0') != std::string_view::npos) std::abort();
  }
  if (events * 16 + name_bytes > size || decoder.next()) std::abort();
  return 0;
}
