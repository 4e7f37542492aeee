// What decodes must encode to the same bytes; a checksum is put under what does not have the right
// one, so that the fuzzer gets beyond it.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/hash.h"
#include "service/seed_manifest.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  put_le(bytes, xxh3_64(bytes));
  const auto manifest = decode_seed_manifest(bytes);
  if (!manifest.ok()) return 0;
  for (const SeedEntry& entry : manifest->entries) CHECK(is_safe_relative_path(entry.path));
  CHECK(encode_seed_manifest(*manifest) == bytes);
  return 0;
}
