// IgnoreRules: which paths are excluded, by gitignore patterns (gitignore(5)).
//
// The last pattern that matches decides; "!" brings a path back. As with git, nothing below an
// excluded directory is asked about, so nothing there can be brought back. Names are bytes.
// Two deviations. A pattern that can never match (unclosed "[", trailing "\", a comment, nothing at
// all) is an error instead of being skipped: in a configuration it is a mistake. And "**" is
// special only as a whole component, as gitignore(5) says; git splits "foo**/bar" at the "**".
// Matching takes time proportional to pattern times path at most: names are hostile.
// Immutable after parse(); any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace holdfast {

class IgnoreRules {
 public:
  static Result<IgnoreRules> parse(const std::vector<std::string>& patterns);
  // `relative_path` is below the root, without a leading slash. The root itself ("") is never
  // excluded.
  bool excluded(std::string_view relative_path, bool is_dir) const;
  bool empty() const { return rules_.empty(); }

 private:
  friend class IgnoreParser;
  using ByteSet = std::array<uint64_t, 4>;
  enum class TokenKind : uint8_t { kByte, kAnyByte, kStar, kSet };
  struct Token {
    TokenKind kind = TokenKind::kByte;
    char byte = 0;
    uint32_t set = 0;  // index into sets_
  };
  // One component of a pattern; "**" stands for any number of components.
  struct Segment {
    bool any_depth = false;
    std::vector<Token> tokens;
  };
  struct Rule {
    bool negated = false;
    bool only_dirs = false;
    bool name_only = false;  // no slash in it: compared with the last component, at any depth
    std::vector<Segment> segments;
  };

  bool rule_matches(const Rule& rule, std::string_view path) const;
  bool segments_match(const std::vector<Segment>& segments, std::string_view path) const;
  bool segment_matches(const std::vector<Token>& tokens, std::string_view name) const;
  bool token_matches(const Token& token, char byte) const;

  std::vector<Rule> rules_;
  std::vector<ByteSet> sets_;
};

// Whether a file named CACHEDIR.TAG that begins with these bytes marks its directory as a cache
// (https://bford.info/cachedir/); 43 bytes are enough to tell.
bool is_cachedir_tag(std::string_view first_bytes);

}  // namespace holdfast
