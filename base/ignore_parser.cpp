#include "base/ignore_parser.h"

#include <algorithm>

#include "base/path.h"

namespace holdfast {

namespace {

void add(std::array<uint64_t, 4>& set, uint8_t byte) {
  set[byte / 64] |= uint64_t{1} << (byte % 64);
}

// Trailing spaces do not count, unless the last one is escaped.
std::string_view strip_trailing_spaces(std::string_view text) {
  size_t end = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
    } else if (text[i] == ' ') {
      continue;
    }
    end = i + 1;
  }
  return text.substr(0, end);
}

// ASCII only, whatever the locale is.
bool in_class(std::string_view name, uint8_t c, bool& known) {
  const bool upper = c >= 'A' && c <= 'Z';
  const bool lower = c >= 'a' && c <= 'z';
  const bool digit = c >= '0' && c <= '9';
  const bool graph = c > 0x20 && c < 0x7f;
  known = true;
  if (name == "alnum") return upper || lower || digit;
  if (name == "alpha") return upper || lower;
  if (name == "blank") return c == ' ' || c == '\t';
  if (name == "cntrl") return c < 0x20 || c == 0x7f;
  if (name == "digit") return digit;
  if (name == "graph") return graph;
  if (name == "lower") return lower;
  if (name == "print") return graph || c == ' ';
  if (name == "punct") return graph && !upper && !lower && !digit;
  if (name == "space") return c == ' ' || (c >= '\t' && c <= '\r');
  if (name == "upper") return upper;
  if (name == "xdigit") return digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  known = false;
  return false;
}

}  // namespace

Error IgnoreParser::wrong(std::string_view why) const {
  return make_error(ErrorCode::kUsage,
                    "exclude pattern \"" + display_text(pattern_) + "\": " + std::string(why));
}

Status IgnoreParser::parse() {
  rest_ = strip_trailing_spaces(pattern_);
  if (rest_.starts_with('#')) {
    return wrong(
        "this is a comment in gitignore and excludes nothing; write \\# for a name that begins "
        "with #");
  }
  if (rest_.starts_with('!')) {
    rule_.negated = true;
    rest_.remove_prefix(1);
  }
  if (rest_.ends_with('/')) {
    rule_.only_dirs = true;
    rest_.remove_suffix(1);
  }
  rule_.name_only = rest_.find('/') == std::string_view::npos;
  if (rest_.starts_with('/')) rest_.remove_prefix(1);
  if (rest_.empty()) return wrong("it is empty and excludes nothing; remove it");
  if (rest_.find('\0') != std::string_view::npos) return wrong("no file name has a NUL byte");
  rule_.segments.emplace_back();
  while (!rest_.empty()) TRY(parse_component_bytes());
  end_segment();
  rules_.rules_.push_back(std::move(rule_));
  return {};
}

// A segment of nothing but two or more stars spans components, but not in a pattern without a
// slash, which only ever sees one. Runs of stars count as one.
void IgnoreParser::end_segment() {
  IgnoreRules::Segment& segment = rule_.segments.back();
  segment.any_depth = !rule_.name_only && raw_stars_ >= 2 && segment.tokens.size() == raw_stars_;
  if (segment.any_depth) segment.tokens.clear();
  const auto both_stars = [](const IgnoreRules::Token& a, const IgnoreRules::Token& b) {
    return a.kind == IgnoreRules::TokenKind::kStar && b.kind == IgnoreRules::TokenKind::kStar;
  };
  const auto end = std::unique(segment.tokens.begin(), segment.tokens.end(), both_stars);
  segment.tokens.erase(end, segment.tokens.end());
  raw_stars_ = 0;
}

Status IgnoreParser::parse_component_bytes() {
  char byte = rest_.front();
  rest_.remove_prefix(1);
  bool escaped = false;
  if (byte == '\\') {
    if (rest_.empty()) return wrong("a \\ at the end escapes nothing; write \\\\ for a backslash");
    byte = rest_.front();
    rest_.remove_prefix(1);
    escaped = true;
  }
  if (byte == '/') {  // escaped or not, a slash separates
    end_segment();
    rule_.segments.emplace_back();
  } else if (escaped) {
    push({IgnoreRules::TokenKind::kByte, byte, 0});
  } else if (byte == '*') {
    ++raw_stars_;
    push({IgnoreRules::TokenKind::kStar, 0, 0});
  } else if (byte == '?') {
    push({IgnoreRules::TokenKind::kAnyByte, 0, 0});
  } else if (byte == '[') {
    return parse_set();
  } else {
    push({IgnoreRules::TokenKind::kByte, byte, 0});
  }
  return {};
}

// After the "[": an optional "!" or "^", then bytes, ranges and classes up to a "]" that is not the
// first.
Status IgnoreParser::parse_set() {
  IgnoreRules::ByteSet set{};
  const bool negated = rest_.starts_with('!') || rest_.starts_with('^');
  if (negated) rest_.remove_prefix(1);
  for (bool first = true; first || !rest_.starts_with(']'); first = false) {
    if (rest_.starts_with("[:")) {
      TRY(parse_class(set));
      continue;
    }
    TRY_ASSIGN(const uint8_t low, set_byte());
    if (rest_.size() >= 2 && rest_[0] == '-' && rest_[1] != ']') {
      rest_.remove_prefix(1);
      TRY_ASSIGN(const uint8_t high, set_byte());
      for (unsigned byte = low; byte <= high; ++byte) add(set, static_cast<uint8_t>(byte));
      // git compares the range's beginning by itself first, so "[z-a]" is "z".
      add(set, low);
    } else {
      add(set, low);
    }
  }
  rest_.remove_prefix(1);
  if (negated) {
    for (uint64_t& word : set) word = ~word;
  }
  push({IgnoreRules::TokenKind::kSet, 0, static_cast<uint32_t>(rules_.sets_.size())});
  rules_.sets_.push_back(set);
  return {};
}

Result<uint8_t> IgnoreParser::set_byte() {
  constexpr std::string_view kUnclosed = "the [ is not closed; write \\[ for a bracket itself";
  if (rest_.starts_with('\\')) rest_.remove_prefix(1);
  if (rest_.empty()) return wrong(kUnclosed);
  const auto byte = static_cast<uint8_t>(rest_.front());
  rest_.remove_prefix(1);
  return byte;
}

Status IgnoreParser::parse_class(IgnoreRules::ByteSet& set) {
  const size_t end = rest_.find(']');
  if (end == std::string_view::npos || end < 3 || rest_[end - 1] != ':') {
    add(set, '[');  // no class after all: the bracket stands for itself
    rest_.remove_prefix(1);
    return {};
  }
  const std::string_view name = rest_.substr(2, end - 3);
  bool known = false;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (in_class(name, static_cast<uint8_t>(byte), known)) add(set, static_cast<uint8_t>(byte));
  }
  if (!known) {
    return wrong("[:" + std::string(name) +
                 ":] is no character class; the classes are alnum, alpha, blank, "
                 "cntrl, digit, graph, lower, print, punct, space, upper and xdigit");
  }
  rest_.remove_prefix(end + 1);
  return {};
}

}  // namespace holdfast
