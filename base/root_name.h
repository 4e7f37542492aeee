// Names of roots, and "NAME=DIR" as command lines give both. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace holdfast {

// {"NAME", "DIR"}. Without a name, or where the "=" comes after a slash, all of it is the
// directory:
// {"", "DIR"}.
std::pair<std::string_view, std::string_view> split_named_dir(std::string_view argument);
// The name of a root, made of its path's last part: what may not stand in one becomes "-".
std::string root_name_of(std::string_view path);

}  // namespace holdfast
