// IgnoreParser: one gitignore pattern, from text to a rule of IgnoreRules. Only for ignore.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/ignore.h"

namespace holdfast {

class IgnoreParser {
 public:
  IgnoreParser(std::string_view pattern, IgnoreRules& rules) : pattern_(pattern), rules_(rules) {}
  Status parse();  // adds the rule, or says what is wrong with the pattern

 private:
  Error wrong(std::string_view why) const;
  Status parse_component_bytes();
  Status parse_set();
  Result<uint8_t> set_byte();
  Status parse_class(IgnoreRules::ByteSet& set);
  void push(IgnoreRules::Token token) { rule_.segments.back().tokens.push_back(token); }
  void end_segment();

  std::string_view pattern_;
  std::string_view rest_;
  IgnoreRules& rules_;
  IgnoreRules::Rule rule_;
  size_t raw_stars_ = 0;  // unescaped stars in the segment so far
};

}  // namespace holdfast
