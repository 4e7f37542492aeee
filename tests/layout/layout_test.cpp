#include "tests/layout/layout.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>

namespace holdfast {
namespace {

namespace fs = std::filesystem;

// A directory that is gone when the test is over.
class TempTree {
 public:
  TempTree() {
    std::string pattern = (fs::temp_directory_path() / "holdfast-layout-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;
  ~TempTree() { fs::remove_all(path_); }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

struct Row {
  const char* file;
  std::string text;
  const char* complaint;  // "": none
};

}  // namespace

TEST_CASE("this source tree keeps its rules", "[layout]") {
  for (const std::string& violation : layout_violations(HOLDFAST_SOURCE_DIR)) FAIL_CHECK(violation);
}

TEST_CASE("each rule finds what breaks it", "[layout]") {
  const Row row = GENERATE(values<Row>({
      {"base/a.cpp", "#include \"service/loop.h\"\n",
       "base/a.cpp:1: base/ must not include service/"},
      {"watcher/a.cpp", "#include \"journal/a.h\"\n", "watcher/ must not include journal/"},
      {"store/a.cpp", "#include \"watcher/a.h\"\n", "store/ must not include watcher/"},
      {"service/a.cpp", "#include \"tools/a.h\"\n", "service/ must not include tools/"},
      {"tools/a.cpp", "#include \"tests/a.h\"\n", "tools/ must not include tests/"},
      {"service/a.cpp", "#include \"journal/a.h\"\n", ""},
      {"tests/a.cpp", "#include \"service/a.h\"\n", ""},
      {"base/a.cpp", "#include \"b.h\"\n", "\"b.h\" has to be named from the top"},
      {"store/a.cpp", "#include <lmdb.h>\n", "<lmdb.h> must not be included in store/"},
      {"tools/a.cpp", "#include <uv.h>\n", "<uv.h> must not be included in tools/"},
      {"base/a.cpp", "#include <toml++/toml.h>\n", "must not be included in base/"},
      {"tests/a.cpp", "#include <lmdb.h>\n", ""},
      {"base/a.cpp", repeated("\n", 601), "base/a.cpp:601: the file is longer"},
      {"base/a.cpp", repeated("\n", 600), ""},
      {"base/a.cpp", "// " + repeated("x", 98), "more than 100 columns"},
      {"base/a.cpp", "// " + repeated("\u00e9", 97), ""},
      {"base/a.cpp", "int f() {\n" + repeated("  g();\n", 69) + "}\n",
       "base/a.cpp:1: the function"},
      {"base/a.cpp", "int f() {\n" + repeated("  g();\n", 68) + "}\n", ""},
      {"base/a.cpp", "int f(int a,\n      int b) {\n" + repeated("  g();\n", 70) + "}\n",
       "function"},
      {"base/a.cpp", "int t[] = {\n" + repeated("    1,\n", 90) + "};\n", ""},
      {"base/a.cpp", repeated("int f();\n", 90) + "int f() {\n}\n", ""},
      {"base/a.cpp",
       "// TO"
       "DO: later\n",
       "unfinished work"},
      {"base/a.cpp", "int* a = new int;\n", "new without an owner"},
      {"base/a.cpp", "auto a = std::unique_ptr<A>(new A);\n", ""},
      {"base/a.cpp", "// a new one\nauto a = \"new\";\n", ""},
      {"base/a.cpp", "void f() { delete a; }\n", "delete by hand"},
      {"base/a.cpp", "A(const A&) = delete;\n", ""},
      {"tests/a.cpp", "void f() { std::this_thread::sleep_for(1s); }\n", "sleeping"},
      {"base/a.h", "// What it is.\n", "no #pragma once"},
      {"base/a.h", "#pragma once\n", "does not begin by saying what it is"},
      {"base/a.h", "// What it is.\n#pragma once\n", ""},
  }));
  const TempTree tree;
  tree.write(row.file, row.text);
  const std::vector<std::string> found = layout_violations(tree.path());
  INFO(row.file << ": " << row.text);
  if (*row.complaint == '\0') {
    REQUIRE(found == std::vector<std::string>{});
  } else {
    REQUIRE(found.size() == 1);
    REQUIRE_THAT(found[0], Catch::Contains(row.complaint));
  }
}

TEST_CASE("the image's label has the version of the project", "[layout]") {
  const auto found = [](const std::string& file, const std::string& pattern) {
    std::ifstream in(std::string(HOLDFAST_SOURCE_DIR) + "/" + file);
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    std::smatch match;
    REQUIRE(std::regex_search(text, match, std::regex(pattern)));
    return match[1].str();
  };
  REQUIRE(found("CMakeLists.txt", R"(project\(holdfast VERSION ([0-9.]+))") ==
          found("Dockerfile", R"re(image\.version="([^"]+)")re"));
}

TEST_CASE("a C library has one owner, a header and its source", "[layout]") {
  const TempTree tree;
  tree.write("service/loop.h", "// The loop.\n#pragma once\n#include <uv.h>\n");
  tree.write("service/loop.cpp", "#include <uv.h>\n");
  REQUIRE(layout_violations(tree.path()).empty());
  tree.write("service/timer.cpp", "#include <uv.h>\n");
  REQUIRE(
      layout_violations(tree.path()) ==
      std::vector<std::string>{"service/timer.cpp:1: <uv.h> has an owner, service/loop; use that"});
}

TEST_CASE("comments and literals are not code", "[layout]") {
  const std::vector<std::string> lines = {
      "a \"x // y\" b // c", "d /* e", "f */ g", "R\"(new", ")\" h", "1'000 'i' '\\'' j"};
  const std::vector<std::string> code = {"a \"\" b ", "d ", " g", "\"\"", " h", "1'000 '' '' j"};
  REQUIRE(strip_comments_and_literals(lines) == code);
}

}  // namespace holdfast
