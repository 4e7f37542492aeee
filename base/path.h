// Paths and names are bytes. Helpers to take them apart, put them together and show them.
//
// Nothing here touches a file system: ".." is resolved by the text alone. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace holdfast {

// "a" + "b" = "a/b"; an empty side gives the other one; no slash is doubled at the seam.
std::string join_path(std::string_view a, std::string_view b);
// The parent and the last component: "a/b" = {"a", "b"}; "a" = {"", "a"}; "/a" = {"/", "a"}.
std::pair<std::string_view, std::string_view> split_last(std::string_view path);
// What leads from the directory to `path`, both absolute and normal: "/a/b" below "/a" is "b",
// below
// "/" it is "a/b", below itself "". nullopt: it lies elsewhere.
std::optional<std::string_view> path_below(std::string_view path, std::string_view dir);
// `path` as an absolute one, seen from `cwd`, without ".", "..", doubled or trailing slashes.
Result<std::string> normalize_absolute(std::string_view path, std::string_view cwd);

bool is_utf8(std::string_view bytes);
// Each maximal run that cannot be UTF-8 becomes one U+FFFD, as browsers do it.
std::string to_utf8_lossy(std::string_view bytes);
// Safe to print: control characters, bidirectional overrides and invalid UTF-8 as \n, \x1b, \xff;
// a backslash as \\, so that the result is unambiguous.
std::string display_path(std::string_view path);
// The same for a whole message, which may contain such paths already: backslashes stay.
std::string display_text(std::string_view text);

std::string base64(std::string_view bytes);  // RFC 4648 section 4, padded
// RFC 3986: all but letters, digits and "-._~" is encoded, a slash too.
std::string percent_encode(std::string_view bytes);
Result<std::string> percent_decode(std::string_view text);  // "+" stays "+"

}  // namespace holdfast
