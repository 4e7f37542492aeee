#include "base/path.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace holdfast {

std::string join_path(std::string_view a, std::string_view b) {
  if (a.empty()) return std::string(b);
  std::string joined(a);
  if (b.empty()) return joined;
  if (joined.back() != '/') joined += '/';
  return joined.append(b.front() == '/' ? b.substr(1) : b);
}

std::pair<std::string_view, std::string_view> split_last(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {{}, path};
  return {path.substr(0, slash == 0 ? 1 : slash), path.substr(slash + 1)};
}

namespace {
void apply_components(std::string_view path, std::vector<std::string_view>& stack) {
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      stack.push_back(part);
    } else if (!stack.empty()) {  // above the root is the root
      stack.pop_back();
    }
  }
}
}  // namespace

std::optional<std::string_view> path_below(std::string_view path, std::string_view dir) {
  if (!path.starts_with(dir)) return std::nullopt;
  if (path.size() == dir.size()) return std::string_view();
  const bool at_seam = dir.ends_with('/') || path[dir.size()] == '/';
  if (!at_seam) return std::nullopt;
  return path.substr(dir.size() + (dir.ends_with('/') ? 0 : 1));
}

Result<std::string> normalize_absolute(std::string_view path, std::string_view cwd) {
  if (path.empty()) return make_error(ErrorCode::kUsage, "an empty path names nothing");
  if (path.find('\0') != std::string_view::npos) {
    return make_error(ErrorCode::kUsage, "path " + display_path(path) + " contains a NUL byte");
  }
  std::vector<std::string_view> stack;
  if (path.front() != '/') {
    if (cwd.empty() || cwd.front() != '/') {
      return make_error(ErrorCode::kUsage, "path " + display_path(path) +
                                               " is relative and the working directory is unknown; "
                                               "give an absolute path");
    }
    apply_components(cwd, stack);
  }
  apply_components(path, stack);
  std::string result;
  for (const std::string_view part : stack) result.append("/").append(part);
  return result.empty() ? std::string("/") : result;
}

namespace {

struct Utf8Step {
  size_t bytes = 1;
  std::optional<uint32_t> code_point;  // nullopt: these bytes are no character
};

// The first character of `text` (not empty), by table 3-7 of the Unicode standard: no overlong
// forms, no surrogates, nothing above U+10FFFF. Where it breaks off, `bytes` is the maximal valid
// beginning.
Utf8Step utf8_step(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {1, lead};
  const size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                        : lead >= 0xe0 && lead <= 0xef ? 3
                        : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                       : 0;
  if (length == 0) return {1, std::nullopt};
  uint32_t code_point = lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size()) return {i, std::nullopt};
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    if (i == 1 && lead == 0xe0) low = 0xa0;
    if (i == 1 && lead == 0xed) high = 0x9f;
    if (i == 1 && lead == 0xf0) low = 0x90;
    if (i == 1 && lead == 0xf4) high = 0x8f;
    if (byte(i) < low || byte(i) > high) return {i, std::nullopt};
    code_point = (code_point << 6) | (byte(i) & 0x3fu);
  }
  return {length, code_point};
}

// Characters that move the cursor, start an escape sequence or reorder the text around them.
bool unsafe_on_terminal(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f || c == 0x061c ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

constexpr char kHexLower[] = "0123456789abcdef";
constexpr char kHexUpper[] = "0123456789ABCDEF";

void append_escaped(std::string& out, char c) {
  switch (c) {
    case '\n': out += "\\n"; return;
    case '\t': out += "\\t"; return;
    case '\r': out += "\\r"; return;
    default: break;
  }
  const auto byte = static_cast<uint8_t>(c);
  out += "\\x";
  out += kHexLower[byte >> 4];
  out += kHexLower[byte & 15];
}

std::string escape_for_terminal(std::string_view text, bool escape_backslash) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    const std::string_view bytes = text.substr(0, step.bytes);
    text.remove_prefix(step.bytes);
    if (!step.code_point || unsafe_on_terminal(*step.code_point)) {
      for (const char c : bytes) append_escaped(out, c);
    } else if (escape_backslash && bytes == "\\") {
      out += "\\\\";
    } else {
      out += bytes;
    }
  }
  return out;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    if (!step.code_point) return false;
    bytes.remove_prefix(step.bytes);
  }
  return true;
}

std::string to_utf8_lossy(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    out += step.code_point ? bytes.substr(0, step.bytes) : std::string_view("\xef\xbf\xbd");
    bytes.remove_prefix(step.bytes);
  }
  return out;
}

std::string display_path(std::string_view path) { return escape_for_terminal(path, true); }
std::string display_text(std::string_view text) { return escape_for_terminal(text, false); }

std::string base64(std::string_view bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view group = bytes.substr(i, 3);
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) {
      bits = (bits << 8) | (j < group.size() ? static_cast<uint8_t>(group[j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += j <= group.size() ? kAlphabet[(bits >> (18 - 6 * j)) & 63] : '=';
    }
  }
  return out;
}

std::string percent_encode(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHexUpper[byte >> 4];
      out += kHexUpper[byte & 15];
    }
  }
  return out;
}

namespace {
std::optional<unsigned> hex_value(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}
}  // namespace

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto high = text.size() - i > 2 ? hex_value(text[i + 1]) : std::nullopt;
    const auto low = text.size() - i > 2 ? hex_value(text[i + 2]) : std::nullopt;
    if (!high || !low) {
      return make_error(ErrorCode::kUsage, "\"" + display_text(text) +
                                               "\": a % must be followed by two hex digits; "
                                               "write a % itself as %25");
    }
    out += static_cast<char>(*high << 4 | *low);
    i += 2;
  }
  return out;
}

}  // namespace holdfast
