#include "tests/layout/layout.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <regex>
#include <set>

namespace holdfast {

namespace {

namespace fs = std::filesystem;

constexpr size_t kFileLinesMax = 600;
constexpr size_t kFunctionLinesMax = 70;
constexpr size_t kColumnsMax = 100;

// Who may include whom: tools > service > { watcher | journal | store } > base. Siblings don't
// meet.
const std::map<std::string, std::set<std::string>>& allowed_includes() {
  static const std::set<std::string> everything = {"base",    "watcher", "journal", "store",
                                                   "service", "tools",   "tests",   "bench"};
  static const std::map<std::string, std::set<std::string>> allowed = {
      {"base", {"base"}},
      {"watcher", {"watcher", "base"}},
      {"journal", {"journal", "base"}},
      {"store", {"store", "base"}},
      {"service", {"service", "watcher", "journal", "store", "base"}},
      {"tools", {"tools", "service", "watcher", "journal", "store", "base"}},
      {"bench", {"bench", "tools", "service", "watcher", "journal", "store", "base"}},
      {"tests", everything},
  };
  return allowed;
}

// A C library has one owner: the header and source of one stem, in one of the folders named here.
// Libraries of C++ types may be used all over their folders.
struct Library {
  const char* header;  // a regular expression over what stands in <>
  std::set<std::string> folders;
  bool one_owner;
};
const std::vector<Library>& libraries() {
  static const std::vector<Library> known = {
      {R"(lmdb\.h)", {"base"}, true},
      {R"(zstd(_errors)?\.h)", {"store"}, true},
      {R"(sodium\.h)", {"base"}, true},
      {R"(xxhash\.h)", {"base"}, true},
      {R"((spdlog|fmt)/.*)", {"base"}, true},
      {R"(systemd/sd-daemon\.h)", {"base"}, true},
      {R"(systemd/sd-journal\.h)", {"base"}, true},
      {R"(uv\.h)", {"base", "service"}, true},
      {R"(microhttpd\.h)", {"base", "service"}, true},
      {R"(curl/curl\.h)", {"base", "service"}, true},
      {R"(sqlite3\.h)", {"base", "service"}, true},
      {R"(zlib\.h)", {"base", "service"}, true},
      {R"(archive(_entry)?\.h)", {"base", "service"}, true},
      {R"(toml\+\+/.*)", {"service"}, true},
      {R"(nlohmann/.*)", {"service", "tools"}, false},
      {R"(CLI/.*)", {"tools"}, false},
  };
  return known;
}

std::vector<SourceFile> read_tree(const fs::path& tree) {
  std::vector<SourceFile> files;
  for (const auto& [folder, allowed] : allowed_includes()) {
    if (!fs::exists(tree / folder)) continue;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(tree / folder)) {
      const std::string extension = entry.path().extension().string();
      if (!entry.is_regular_file() || (extension != ".h" && extension != ".cpp")) continue;
      SourceFile file;
      file.path = entry.path().lexically_relative(tree).generic_string();
      std::ifstream stream(entry.path());
      for (std::string line; std::getline(stream, line);) file.lines.push_back(line);
      file.code = strip_comments_and_literals(file.lines);
      files.push_back(std::move(file));
    }
  }
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return files;
}

class Checker {
 public:
  void check(const SourceFile& file) {
    file_ = &file;
    check_includes();
    check_sizes();
    check_words();
    check_functions();
    if (file.is_header()) check_header();
  }
  std::vector<std::string> take() { return std::move(found_); }

 private:
  void report(size_t index, const std::string& problem) {
    found_.push_back(file_->path + ":" + std::to_string(index + 1) + ": " + problem);
  }

  void check_includes() {
    static const std::regex quoted(R"re(^#include\s+"([^"]+)")re");
    static const std::regex angled(R"(^#include\s+<([^>]+)>)");
    for (size_t i = 0; i < file_->lines.size(); ++i) {
      std::smatch match;
      if (std::regex_search(file_->lines[i], match, quoted)) check_own_include(i, match[1]);
      if (std::regex_search(file_->lines[i], match, angled)) check_library(i, match[1]);
    }
  }

  void check_own_include(size_t index, const std::string& name) {
    // A test's own helpers may stand beside it.
    if (file_->folder() == "tests" && name.find('/') == std::string::npos) return;
    const std::string folder = name.substr(0, name.find('/'));
    if (!allowed_includes().contains(folder)) {
      report(index, "\"" + name + "\" has to be named from the top, as in \"base/result.h\"");
    } else if (!allowed_includes().at(file_->folder()).contains(folder)) {
      report(index, file_->folder() + "/ must not include " + folder + "/");
    }
  }

  void check_library(size_t index, const std::string& header) {
    if (!file_->is_product()) return;  // tests and benchmarks see everything
    for (const Library& library : libraries()) {
      if (!std::regex_match(header, std::regex(library.header))) continue;
      if (!library.folders.contains(file_->folder())) {
        report(index, "<" + header + "> must not be included in " + file_->folder() + "/");
      } else if (library.one_owner) {
        const std::string& owner = owners_.try_emplace(library.header, file_->stem()).first->second;
        if (owner != file_->stem()) {
          report(index, "<" + header + "> has an owner, " + owner + "; use that");
        }
      }
    }
  }

  void check_sizes() {
    if (file_->lines.size() > kFileLinesMax) {
      report(kFileLinesMax, "the file is longer than " + std::to_string(kFileLinesMax) + " lines");
    }
    for (size_t i = 0; i < file_->lines.size(); ++i) {
      const std::string& line = file_->lines[i];
      // Bytes that continue a UTF-8 sequence take no column.
      const auto columns = static_cast<size_t>(std::count_if(line.begin(), line.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
      }));
      if (columns > kColumnsMax) {
        report(i, "the line has more than " + std::to_string(kColumnsMax) + " columns");
      }
    }
  }

  void check_words() {
    // Split, or this file would find itself.
    static const std::regex unfinished(
        "\\b(TO"
        "DO|FIX"
        "ME|XX"
        "X)\\b");
    static const std::regex naked_new(R"(\bnew\b(?!\s*\())");
    static const std::regex owned_new(R"(_ptr\b|\breset\(|_\(new\b)");  // state_(new State{…})
    static const std::regex naked_delete(R"((^|[^=\s])\s*\bdelete\b(?!\s*;))");
    static const std::regex defaulted_delete(R"(=\s*delete\b)");
    static const std::regex sleeping(R"(\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\()");
    for (size_t i = 0; i < file_->code.size(); ++i) {
      const std::string& code = file_->code[i];
      if (std::regex_search(file_->lines[i], unfinished))
        report(i, "unfinished work is no comment");
      if (code.starts_with("#")) continue;
      const bool owned = std::regex_search(code, owned_new) ||
                         (i > 0 && std::regex_search(file_->code[i - 1], owned_new));
      if (std::regex_search(code, naked_new) && !owned) report(i, "new without an owner");
      if (std::regex_search(code, naked_delete) && !std::regex_search(code, defaulted_delete)) {
        report(i, "delete by hand");
      }
      if (file_->folder() == "tests" && std::regex_search(code, sleeping)) {
        report(i, "sleeping; wait for what is to happen instead");
      }
    }
  }

  // clang-format puts the first line of a function of a namespace, and its last brace, in column
  // one.
  void check_functions() {
    if (!file_->is_product()) return;
    static const std::regex no_function(
        R"(^(namespace|class|struct|enum|union|extern|template|#|\}))");
    size_t start = 0;
    bool inside = false, opened = false;
    for (size_t i = 0; i < file_->code.size(); ++i) {
      const std::string& code = file_->code[i];
      if (code.empty()) continue;
      if (inside && code == "}") {
        if (i - start + 1 > kFunctionLinesMax) {
          report(start,
                 "the function is longer than " + std::to_string(kFunctionLinesMax) + " lines");
        }
        inside = opened = false;
      } else if (!inside && code.front() != ' ' && !std::regex_search(code, no_function)) {
        inside = true;
        start = i;
      }
      if (inside && code.ends_with('{')) opened = true;
      if (inside && ((!opened && code.ends_with(';')) || code.front() == '}'))
        inside = opened = false;
    }
  }

  void check_header() {
    const auto is_pragma = [](const std::string& line) { return line == "#pragma once"; };
    if (std::none_of(file_->lines.begin(), file_->lines.end(), is_pragma)) {
      report(0, "the header has no #pragma once");
    }
    if (file_->lines.empty() || !file_->lines[0].starts_with("//")) {
      report(0, "the header does not begin by saying what it is");
    }
  }

  const SourceFile* file_ = nullptr;
  std::map<std::string, std::string> owners_;  // library to the stem of its first user
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> layout_violations(const fs::path& tree) {
  Checker checker;
  for (const SourceFile& file : read_tree(tree)) checker.check(file);
  return checker.take();
}

}  // namespace holdfast
