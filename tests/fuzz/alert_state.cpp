// What decodes must encode to the same bytes; a checksum is put under what does not have the right
// one, so that the fuzzer gets beyond it.
#include "service/alert_state.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "service/json_fields.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CHECK(!decode_alert_state(text) || encode_alert_state(*decode_alert_state(text)) == text);
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return 0;
  json.erase("checksum");
  const std::string sealed = sealed_json(std::move(json));
  const auto state = decode_alert_state(sealed);
  if (!state) return 0;
  CHECK(encode_alert_state(*state) == sealed);
  for (const PendingNotice& pending : state->pending) {
    CHECK(pending.notice.event <= AlertEvent::kTest);
  }
  return 0;
}
