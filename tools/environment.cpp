#include "tools/environment.h"

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fs.h"

namespace holdfast {

namespace {

constexpr std::string_view kPrefix = "HOLDFAST_", kSuffix = "_FILE";
constexpr size_t kValueBytesMax = 64 * 1024;

}  // namespace

Status read_environment_files() {
  std::vector<std::pair<std::string, std::string>> files;  // variable, file
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) continue;
    if (name.size() <= kPrefix.size() + kSuffix.size()) continue;
    if (name.size() == text.size()) continue;
    files.emplace_back(name.substr(0, name.size() - kSuffix.size()), text.substr(name.size() + 1));
  }
  for (const auto& [name, file] : files) {
    if (std::getenv(name.c_str()) != nullptr) {
      return make_error(ErrorCode::kUsage,
                        "both " + name + " and " + name + "_FILE are set; unset one of them");
    }
    auto value = read_whole_file(file, kValueBytesMax);
    if (!value.ok()) {
      return make_error(ErrorCode::kUsage, "reading " + name + "_FILE: " + value.error().message);
    }
    while (!value->empty() && (value->back() == '\n' || value->back() == '\r')) value->pop_back();
    ::setenv(name.c_str(), value->c_str(), 1);
  }
  return {};
}

bool environment_flag(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return false;
  const std::string_view text = value;
  return !text.empty() && text != "0" && text != "false" && text != "off" && text != "no";
}

}  // namespace holdfast
