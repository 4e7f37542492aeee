// The rules of the source tree, as a function from a directory to what breaks them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace holdfast {

struct SourceFile {
  std::string path;  // relative to the tree, with slashes
  std::vector<std::string> lines;
  // The same lines without comments and with emptied string and character literals.
  std::vector<std::string> code;

  std::string folder() const { return path.substr(0, path.find('/')); }
  std::string stem() const { return path.substr(0, path.rfind('.')); }
  bool is_header() const { return path.ends_with(".h"); }
  bool is_product() const { return folder() != "tests" && folder() != "bench"; }
};

// "path:line: what is wrong", sorted by file. `tree` is the directory that holds base/, tools/, ...
std::vector<std::string> layout_violations(const std::filesystem::path& tree);

// For layout_violations and its test.
std::vector<std::string> strip_comments_and_literals(const std::vector<std::string>& lines);

}  // namespace holdfast
