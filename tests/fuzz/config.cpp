// Any bytes are a configuration or an error with the file's name in it; nothing else may happen.
#include "service/config.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const holdfast::Result<holdfast::Config> config = holdfast::parse_config(text, "fuzz.toml");
  if (config.ok()) {
    for (const holdfast::WatchConfig& watch : config->watches) {
      CHECK(!watch.name.empty() && watch.path.front() == '/' && watch.line > 0);
    }
  } else {
    CHECK(config.error().message.starts_with("fuzz.toml:"));
  }
  return 0;
}
