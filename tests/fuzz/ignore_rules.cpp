// Any text may be an exclude pattern and any bytes a path: parsing and matching end, and the same
// question has the same answer. The first line is a path, the others are patterns.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/ignore.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> lines;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    lines.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  if (lines.size() < 2) return 0;
  const std::string path = lines.front();
  lines.erase(lines.begin());
  const auto rules = holdfast::IgnoreRules::parse(lines);
  if (!rules.ok()) return 0;
  const bool file = rules->excluded(path, false);
  const bool dir = rules->excluded(path, true);
  // Parsing again gives the same rules; and without "!" a directory is excluded wherever a file is.
  const auto again = holdfast::IgnoreRules::parse(lines);
  bool negation = false;
  for (const std::string& line : lines) negation = negation || line.starts_with('!');
  if (!again.ok() || again->excluded(path, false) != file || (!negation && file && !dir))
    std::abort();
  return 0;
}
