#include "base/ignore.h"

#include <optional>

#include "base/ignore_parser.h"

namespace holdfast {

Result<IgnoreRules> IgnoreRules::parse(const std::vector<std::string>& patterns) {
  IgnoreRules rules;
  for (const std::string& pattern : patterns) {
    IgnoreParser parser(pattern, rules);
    TRY(parser.parse());
  }
  return rules;
}

bool IgnoreRules::excluded(std::string_view relative_path, bool is_dir) const {
  if (relative_path.empty()) return false;
  for (auto rule = rules_.rbegin(); rule != rules_.rend(); ++rule) {
    if (rule->only_dirs && !is_dir) continue;
    if (rule_matches(*rule, relative_path)) return !rule->negated;
  }
  return false;
}

bool IgnoreRules::rule_matches(const Rule& rule, std::string_view path) const {
  if (!rule.name_only) return segments_match(rule.segments, path);
  const size_t slash = path.rfind('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  return segment_matches(rule.segments.front().tokens, name);
}

namespace {
std::string_view first_component(std::string_view path) { return path.substr(0, path.find('/')); }

// The path after its first component; nullopt when that was the last.
std::optional<std::string_view> after_first(std::string_view path) {
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  return path.substr(slash + 1);
}
}  // namespace

// Components against segments, "**" swallowing as few as possible and one more each time the rest
// does not fit. Only the last "**" seen can help: what an earlier one would swallow in addition,
// the later one can swallow too. So this is linear in components times segments.
bool IgnoreRules::segments_match(const std::vector<Segment>& segments,
                                 std::string_view path) const {
  std::optional<std::string_view> rest = path;
  size_t at = 0;
  std::optional<size_t> retry_segment;  // the one after the last "**"
  std::string_view retry_path;          // where it was tried last
  while (rest) {
    if (at < segments.size() && segments[at].any_depth) {
      if (at + 1 == segments.size()) return true;  // at least one component is left for it
      retry_segment = ++at;
      retry_path = *rest;
      continue;
    }
    if (at < segments.size() && segment_matches(segments[at].tokens, first_component(*rest))) {
      ++at;
      rest = after_first(*rest);
      continue;
    }
    if (!retry_segment) return false;
    const auto next = after_first(retry_path);
    if (!next) return false;
    retry_path = *next;
    rest = next;
    at = *retry_segment;
  }
  return at == segments.size();
}

// The same within a component, with "*" and bytes.
bool IgnoreRules::segment_matches(const std::vector<Token>& tokens, std::string_view name) const {
  size_t token = 0;
  size_t byte = 0;
  std::optional<size_t> retry_token;
  size_t retry_byte = 0;
  while (byte < name.size()) {
    if (token < tokens.size() && tokens[token].kind == TokenKind::kStar) {
      retry_token = ++token;
      retry_byte = byte;
    } else if (token < tokens.size() && token_matches(tokens[token], name[byte])) {
      ++token;
      ++byte;
    } else if (retry_token) {
      token = *retry_token;
      byte = ++retry_byte;
    } else {
      return false;
    }
  }
  while (token < tokens.size() && tokens[token].kind == TokenKind::kStar) ++token;
  return token == tokens.size();
}

bool IgnoreRules::token_matches(const Token& token, char byte) const {
  switch (token.kind) {
    case TokenKind::kByte: return token.byte == byte;
    case TokenKind::kAnyByte: return true;
    case TokenKind::kSet: {
      const auto value = static_cast<uint8_t>(byte);
      return (sets_[token.set][value / 64] >> (value % 64) & 1) != 0;
    }
    case TokenKind::kStar: break;
  }
  return false;
}

bool is_cachedir_tag(std::string_view first_bytes) {
  return first_bytes.starts_with("Signature: 8a477f597d28d172789f06886806bc55");
}

}  // namespace holdfast
