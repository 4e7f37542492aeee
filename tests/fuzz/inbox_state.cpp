// What decodes must encode to the same bytes; a checksum is put under what does not have the right
// one, so that the fuzzer gets beyond it.
#include "service/inbox_state.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "service/query.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CHECK(!decode_inbox_state(text) || encode_inbox_state(*decode_inbox_state(text)) == text);
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return 0;
  json.erase("checksum");
  const ContentHash hash = content_hash(json.dump());
  json["checksum"] = "xxh3:" + to_hex(hash.bytes.data(), hash.bytes.size());
  const std::string sealed = json_line(json);
  const auto state = decode_inbox_state(sealed);
  if (!state) return 0;
  CHECK(encode_inbox_state(*state) == sealed);
  CHECK(!state->job || state->job->phase <= InboxPhase::kFiled);
  for (const InboxResult& result : state->last) CHECK(result.outcome <= InboxOutcome::kSame);
  return 0;
}
