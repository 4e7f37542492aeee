// decode_record: never reads past its input, and what it accepts is what encode_record writes. What
// is read without decoding is the same.
#include <cstdint>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "journal/record.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto record = decode_record(bytes); record.ok()) {
    CHECK(is_safe_name(record->name) || record->name.empty());
    const auto encoded = encode_record(*record);
    CHECK(encoded.ok());
    CHECK(*encoded == bytes);
    CHECK(peek_time(bytes) == record->time_ns && peek_wall(bytes) == record->wall_ns);
    CHECK(peek_sequence(bytes) == record->seq);
    CHECK(peek_kind(bytes) == std::pair(record->kind, record->verdict));
  }
  (void)peek_wall(bytes);
  if (const auto records = split_records(bytes); records.ok()) {
    size_t total = 0;
    for (const std::string_view record : *records) total += record.size();
    CHECK(total == bytes.size());
  }
  return 0;
}
