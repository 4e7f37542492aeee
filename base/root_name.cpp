#include "base/root_name.h"

#include <cctype>

#include "base/path.h"

namespace holdfast {

std::pair<std::string_view, std::string_view> split_named_dir(std::string_view argument) {
  const size_t equals = argument.find('=');
  if (equals == std::string_view::npos || argument.find('/') < equals) return {"", argument};
  return {argument.substr(0, equals), argument.substr(equals + 1)};
}

std::string root_name_of(std::string_view path) {
  std::string name = path == "/" ? "root" : std::string(split_last(path).second);
  for (char& c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (!plain && c != '.' && c != '_' && c != '-') c = '-';
  }
  return name;
}

}  // namespace holdfast
