#include "tests/layout/layout.h"

namespace holdfast {

namespace {

enum class Mode { kCode, kBlockComment, kRawString };

// What has to be remembered from one line to the next.
struct Stripper {
  Mode mode = Mode::kCode;
  std::string raw_end;  // of the raw string that is open: )delimiter"

  std::string strip(const std::string& line) {
    std::string code;
    size_t at = 0;
    while (at < line.size()) {
      if (mode == Mode::kBlockComment) {
        at = skip_past(line, at, "*/");
      } else if (mode == Mode::kRawString) {
        at = skip_past(line, at, raw_end);
      } else if (line.compare(at, 2, "//") == 0) {
        break;
      } else if (line.compare(at, 2, "/*") == 0) {
        mode = Mode::kBlockComment;
        at += 2;
      } else if (line.compare(at, 2, "R\"") == 0) {
        const size_t open = line.find('(', at);
        if (open == std::string::npos) return code;
        raw_end = ")" + line.substr(at + 2, open - at - 2) + "\"";
        mode = Mode::kRawString;
        code += "\"\"";
        at = open + 1;
      } else if (line[at] == '"' || is_character_literal(line, at)) {
        code += line[at];
        code += line[at];
        at = end_of_literal(line, at);
      } else {
        code += line[at++];
      }
    }
    return code;
  }

 private:
  size_t skip_past(const std::string& line, size_t at, const std::string& end) {
    const size_t found = line.find(end, at);
    if (found == std::string::npos) return line.size();
    mode = Mode::kCode;
    return found + end.size();
  }
  // A quote between two letters or digits separates digits: 1'000'000.
  static bool is_character_literal(const std::string& line, size_t at) {
    if (line[at] != '\'') return false;
    return at == 0 || isxdigit(static_cast<unsigned char>(line[at - 1])) == 0;
  }
  static size_t end_of_literal(const std::string& line, size_t at) {
    const char quote = line[at];
    for (++at; at < line.size() && line[at] != quote; ++at) {
      if (line[at] == '\\') ++at;
    }
    return at + 1;
  }
};

}  // namespace

std::vector<std::string> strip_comments_and_literals(const std::vector<std::string>& lines) {
  std::vector<std::string> code;
  Stripper stripper;
  for (const std::string& line : lines) {
    // The name in an #include is a literal only in its looks.
    code.push_back(line.starts_with("#include") ? line : stripper.strip(line));
  }
  return code;
}

}  // namespace holdfast
