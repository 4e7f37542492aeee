// Byte paths: taking apart, putting together, showing.
#include <catch2/catch.hpp>
#include <string>

#include "base/path.h"

using namespace holdfast;
using namespace std::string_literals;

TEST_CASE("join_path", "[path]") {
  CHECK(join_path("", "b") == "b");
  CHECK(join_path("a", "") == "a");
  CHECK(join_path("a", "b") == "a/b");
  CHECK(join_path("a/", "b") == "a/b");
  CHECK(join_path("/", "b") == "/b");
  CHECK(join_path("a", "/b") == "a/b");
  CHECK(join_path("", "") == "");
  CHECK(join_path("\xff", "\n") == "\xff/\n");
}

TEST_CASE("split_last", "[path]") {
  struct Row {
    const char* path;
    const char* parent;
    const char* name;
  };
  const Row rows[] = {{"a/b", "a", "b"},     {"a", "", "a"}, {"/a", "/", "a"}, {"/a/b", "/a", "b"},
                      {"a/b/c", "a/b", "c"}, {"", "", ""},   {"/", "/", ""}};
  for (const Row& row : rows) {
    const auto [parent, name] = split_last(row.path);
    CAPTURE(row.path);
    CHECK(parent == row.parent);
    CHECK(name == row.name);
  }
}

TEST_CASE("normalize_absolute", "[path]") {
  struct Row {
    const char* path;
    const char* cwd;
    const char* expected;
  };
  const Row rows[] = {
      {"/a/b", "/x", "/a/b"},
      {"a/b", "/x", "/x/a/b"},
      {".", "/x/y", "/x/y"},
      {"..", "/x/y", "/x"},
      {"../../../..", "/x/y", "/"},
      {"/", "/x", "/"},
      {"//a///b//", "/x", "/a/b"},
      {"/a/./b/../c/", "/x", "/a/c"},
      {"./a", "/", "/a"},
      {"a..b/...", "/", "/a..b/..."},
      {"/\xff\n/..\xff", "/", "/\xff\n/..\xff"},
      {"a", "//x/.", "/x/a"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.path, row.cwd);
    const auto result = normalize_absolute(row.path, row.cwd);
    REQUIRE(result.ok());
    CHECK(*result == row.expected);
  }
  CHECK(normalize_absolute("", "/x").error().code == ErrorCode::kUsage);
  CHECK_FALSE(normalize_absolute("a\0b"s, "/x").ok());
  CHECK_FALSE(normalize_absolute("a", "").ok());
  CHECK_FALSE(normalize_absolute("a", "x").ok());
  CHECK(normalize_absolute("/a", "").ok());
}

TEST_CASE("UTF-8 or not, and made so", "[path]") {
  struct Row {
    std::string bytes;
    bool valid;
    std::string lossy;
  };
  const std::string bad = "\xef\xbf\xbd";
  const Row rows[] = {
      {"", true, ""},
      {"plain", true, "plain"},
      {"\0"s, true, "\0"s},
      {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
      {"\xf4\x8f\xbf\xbf", true, "\xf4\x8f\xbf\xbf"},                  // U+10FFFF
      {"\xf4\x90\x80\x80", false, bad + bad + bad + bad},              // above it
      {"\xed\x9f\xbf\xee\x80\x80", true, "\xed\x9f\xbf\xee\x80\x80"},  // around the surrogates
      {"\xed\xa0\x80", false, bad + bad + bad},                        // a surrogate
      {"\xc0\xaf", false, bad + bad},                                  // an overlong slash
      {"\xe0\x80\xaf", false, bad + bad + bad},
      {"\xf0\x80\x80\xaf", false, bad + bad + bad + bad},
      {"a\xff"
       "b",
       false, "a" + bad + "b"},
      {"\x80", false, bad},
      {"\xe2\x82", false, bad},  // cut: one maximal run, one sign
      {"\xe2\x82z", false, bad + "z"},
      {"\xf0\x9f\x98", false, bad},
      {"\xc3", false, bad},
      {"\xc3\xc3\xa9", false, bad + "\xc3\xa9"},
  };
  for (const Row& row : rows) {
    CAPTURE(display_path(row.bytes));
    CHECK(is_utf8(row.bytes) == row.valid);
    CHECK(to_utf8_lossy(row.bytes) == row.lossy);
    CHECK(is_utf8(to_utf8_lossy(row.bytes)));
  }
}

TEST_CASE("path_below knows what lies where", "[path]") {
  CHECK(path_below("/a/b", "/a") == "b");
  CHECK(path_below("/a/b/c", "/a") == "b/c");
  CHECK(path_below("/a", "/a") == "");
  CHECK(path_below("/a/b", "/") == "a/b");
  CHECK(path_below("/", "/") == "");
  CHECK_FALSE(path_below("/ab", "/a"));
  CHECK_FALSE(path_below("/", "/a"));
  CHECK_FALSE(path_below("/b", "/a"));
}

TEST_CASE("display_path is safe on a terminal", "[path]") {
  struct Row {
    std::string bytes;
    const char* shown;
  };
  const Row rows[] = {
      {"plain name.txt", "plain name.txt"},
      {"caf\xc3\xa9", "caf\xc3\xa9"},
      {"a\nb", "a\\nb"},
      {"a\tb\rc", "a\\tb\\rc"},
      {"\x1b[31mred", "\\x1b[31mred"},
      {"bell\x07", "bell\\x07"},
      {"del\x7f", "del\\x7f"},
      {"nul\0x"s, "nul\\x00x"},
      {"bad\xff", "bad\\xff"},
      {"cut\xe2\x82", "cut\\xe2\\x82"},
      {"csi\xc2\x9b"
       "31m",
       "csi\\xc2\\x9b31m"},                             // U+009B starts a sequence too
      {"exe\xe2\x80\xaetxt", "exe\\xe2\\x80\\xaetxt"},  // right-to-left override
      {"line\xe2\x80\xa8sep", "line\\xe2\\x80\\xa8sep"},
      {"back\\slash", "back\\\\slash"},
  };
  for (const Row& row : rows) CHECK(display_path(row.bytes) == row.shown);
  CHECK(display_text("watching a\\nb\n") == "watching a\\nb\\n");
}

TEST_CASE("base64 has RFC 4648's test vectors", "[path]") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foob") == "Zm9vYg==");
  CHECK(base64("fooba") == "Zm9vYmE=");
  CHECK(base64("foobar") == "Zm9vYmFy");
  CHECK(base64("\xff\xfe\xfd") == "//79");
  CHECK(base64("\0\0"s) == "AAA=");
}

TEST_CASE("percent encoding goes there and back", "[path]") {
  CHECK(percent_encode("a-b._~9Z") == "a-b._~9Z");
  CHECK(percent_encode("a b/c%") == "a%20b%2Fc%25");
  CHECK(percent_encode("\xff\n\0"s) == "%FF%0A%00");
  std::string every;
  for (int byte = 0; byte < 256; ++byte) every += static_cast<char>(byte);
  const auto back = percent_decode(percent_encode(every));
  REQUIRE(back.ok());
  CHECK(*back == every);
  CHECK(*percent_decode("%2f%2F+") == "//+");
  CHECK(*percent_decode("") == "");
  for (const char* wrong : {"%", "%2", "a%2", "%zz", "%2g", "%%20", "% 20"}) {
    CAPTURE(wrong);
    CHECK_FALSE(percent_decode(wrong).ok());
  }
}
