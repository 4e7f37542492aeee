// IgnoreRules against git. The table was made by running `git check-ignore --no-index -v` (git
// 2.39.5) on every row, in a work tree in which only that path exists; rows below an excluded
// directory are left out, because nobody asks about those. The test itself needs no git.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/ignore.h"

using namespace holdfast;

namespace {

constexpr bool kDir = true;
constexpr bool kFile = false;
constexpr bool kIgnored = true;
constexpr bool kSeen = false;

struct Row {
  std::vector<std::string> patterns;
  std::string path;
  bool is_dir;
  bool ignored;
};

// clang-format off
const Row kRows[] = {
    {{"*.tmp"}, "a.tmp", kFile, kIgnored},
    {{"*.tmp"}, "d/a.tmp", kFile, kIgnored},
    {{"*.tmp"}, "a.tmpx", kFile, kSeen},
    {{"*.tmp"}, ".tmp", kFile, kIgnored},
    {{"*.tmp"}, "a.tmp", kDir, kIgnored},
    {{"*.tmp"}, "tmp", kFile, kSeen},
    {{"cache/"}, "cache", kDir, kIgnored},
    {{"cache/"}, "cache", kFile, kSeen},
    {{"cache/"}, "a/cache", kDir, kIgnored},
    {{"cache/"}, "cachex", kDir, kSeen},
    {{"/top"}, "top", kFile, kIgnored},
    {{"/top"}, "a/top", kFile, kSeen},
    {{"/top"}, "top", kDir, kIgnored},
    {{"a/b"}, "a/b", kFile, kIgnored},
    {{"a/b"}, "x/a/b", kFile, kSeen},
    {{"a/b"}, "a/b", kDir, kIgnored},
    {{"/a/b/"}, "a/b", kFile, kSeen},
    {{"/a/b/"}, "a/b", kDir, kIgnored},
    {{"a/*"}, "a/x", kFile, kIgnored},
    {{"a/*"}, "a/x", kDir, kIgnored},
    {{"a/*"}, "b/a/x", kFile, kSeen},
    {{"a/*"}, "a", kFile, kSeen},
    {{"a/*/c"}, "a/b/c", kFile, kIgnored},
    {{"a/*/c"}, "a/c", kFile, kSeen},
    {{"a/*/c"}, "a/b/x/c", kFile, kSeen},
    {{"*.log", "!keep.log"}, "x.log", kFile, kIgnored},
    {{"*.log", "!keep.log"}, "keep.log", kFile, kSeen},
    {{"*.log", "!keep.log"}, "d/keep.log", kFile, kSeen},
    {{"!keep.log", "*.log"}, "keep.log", kFile, kIgnored},
    {{"*", "!*.c"}, "x.h", kFile, kIgnored},
    {{"*", "!*.c"}, "x.c", kFile, kSeen},
    {{"*", "!*.c"}, "d", kDir, kIgnored},
    {{"**/foo"}, "foo", kFile, kIgnored},
    {{"**/foo"}, "a/foo", kFile, kIgnored},
    {{"**/foo"}, "a/b/foo", kFile, kIgnored},
    {{"**/foo"}, "afoo", kFile, kSeen},
    {{"foo/**"}, "foo", kFile, kSeen},
    {{"foo/**"}, "foo", kDir, kSeen},
    {{"foo/**"}, "foo/a", kFile, kIgnored},
    {{"foo/**"}, "foo/a", kDir, kIgnored},
    {{"foo/**"}, "b/foo/a", kFile, kSeen},
    {{"a/**/b"}, "a/b", kFile, kIgnored},
    {{"a/**/b"}, "a/x/b", kFile, kIgnored},
    {{"a/**/b"}, "a/x/y/b", kFile, kIgnored},
    {{"a/**/b"}, "ab", kFile, kSeen},
    {{"a/**/b"}, "a/xb", kFile, kSeen},
    {{"**"}, "a", kFile, kIgnored},
    {{"**"}, "a", kDir, kIgnored},
    {{"/**"}, "a", kFile, kIgnored},
    {{"/**"}, "a", kDir, kIgnored},
    {{"**/"}, "a", kDir, kIgnored},
    {{"**/"}, "a", kFile, kSeen},
    {{"a/**/"}, "a/b", kDir, kIgnored},
    {{"a/**/"}, "a/b", kFile, kSeen},
    {{"a/**/"}, "a", kDir, kSeen},
    {{"a/***/b"}, "a/b", kFile, kIgnored},
    {{"a/***/b"}, "a/x/b", kFile, kIgnored},
    {{"a/***/b"}, "a/x/y/b", kFile, kIgnored},
    {{"***"}, "a", kFile, kIgnored},
    {{"***"}, "a", kDir, kIgnored},
    {{"a/**/**/b"}, "a/b", kFile, kIgnored},
    {{"a/**/**/b"}, "a/x/b", kFile, kIgnored},
    {{"a/**/**/b"}, "a/x/y/z/b", kFile, kIgnored},
    {{"**foo"}, "foo", kFile, kIgnored},
    {{"**foo"}, "xfoo", kFile, kIgnored},
    {{"**foo"}, "a/xfoo", kFile, kIgnored},
    {{"a/**b"}, "a/b", kFile, kIgnored},
    {{"a/**b"}, "a/xb", kFile, kIgnored},
    {{"a/**b"}, "a/x/b", kFile, kSeen},
    {{"a/b**"}, "a/b", kFile, kIgnored},
    {{"a/b**"}, "a/bx", kFile, kIgnored},
    {{"*a**/bar"}, "xa/bar", kFile, kIgnored},
    {{"*a**/bar"}, "xay/bar", kFile, kIgnored},
    {{"*a**/bar"}, "xa/y/bar", kFile, kSeen},
    {{"**/a/**/b/**"}, "a/b/x", kFile, kIgnored},
    {{"**/a/**/b/**"}, "q/a/y/b/x", kFile, kIgnored},
    {{"**/a/**/b/**"}, "a/b", kFile, kSeen},
    {{"a?c"}, "abc", kFile, kIgnored},
    {{"a?c"}, "ac", kFile, kSeen},
    {{"a?c"}, "a/c", kFile, kSeen},
    {{"a?c"}, "abbc", kFile, kSeen},
    {{"d/a?c"}, "d/abc", kFile, kIgnored},
    {{"d/a?c"}, "d/a/c", kFile, kSeen},
    {{"?"}, "a", kFile, kIgnored},
    {{"?"}, "ab", kFile, kSeen},
    {{"?"}, "\xc3\xa9", kFile, kSeen},
    {{"??"}, "\xc3\xa9", kFile, kIgnored},
    {{"??"}, "ab", kFile, kIgnored},
    {{"[abc]x"}, "ax", kFile, kIgnored},
    {{"[abc]x"}, "dx", kFile, kSeen},
    {{"[abc]x"}, "x", kFile, kSeen},
    {{"[a-c]"}, "b", kFile, kIgnored},
    {{"[a-c]"}, "d", kFile, kSeen},
    {{"[a-c]"}, "-", kFile, kSeen},
    {{"[!a-c]"}, "b", kFile, kSeen},
    {{"[!a-c]"}, "d", kFile, kIgnored},
    {{"[^a-c]"}, "b", kFile, kSeen},
    {{"[^a-c]"}, "d", kFile, kIgnored},
    {{"[]a]"}, "]", kFile, kIgnored},
    {{"[]a]"}, "a", kFile, kIgnored},
    {{"[]a]"}, "b", kFile, kSeen},
    {{"[!]a]"}, "]", kFile, kSeen},
    {{"[!]a]"}, "b", kFile, kIgnored},
    {{"[]-a]"}, "]", kFile, kIgnored},
    {{"[]-a]"}, "^", kFile, kIgnored},
    {{"[]-a]"}, "a", kFile, kIgnored},
    {{"[]-a]"}, "b", kFile, kSeen},
    {{"[a-]"}, "a", kFile, kIgnored},
    {{"[a-]"}, "-", kFile, kIgnored},
    {{"[a-]"}, "b", kFile, kSeen},
    {{"[--0]"}, "-", kFile, kIgnored},
    {{"[--0]"}, "+", kFile, kSeen},
    {{"[--0]"}, "0", kFile, kIgnored},
    {{"[--0]"}, "1", kFile, kSeen},
    {{"[z-a]"}, "z", kFile, kIgnored},
    {{"[z-a]"}, "a", kFile, kSeen},
    {{"[z-a]"}, "m", kFile, kSeen},
    {{"[\\]]"}, "]", kFile, kIgnored},
    {{"[\\]]"}, "\\", kFile, kSeen},
    {{"[\\a-\\c]"}, "b", kFile, kIgnored},
    {{"[\\a-\\c]"}, "\\", kFile, kSeen},
    {{"[a-c-e]"}, "b", kFile, kIgnored},
    {{"[a-c-e]"}, "-", kFile, kIgnored},
    {{"[a-c-e]"}, "e", kFile, kIgnored},
    {{"[a-c-e]"}, "d", kFile, kSeen},
    {{"[[:digit:]x]"}, "5", kFile, kIgnored},
    {{"[[:digit:]x]"}, "x", kFile, kIgnored},
    {{"[[:digit:]x]"}, "y", kFile, kSeen},
    {{"[![:alpha:]]"}, "5", kFile, kIgnored},
    {{"[![:alpha:]]"}, "z", kFile, kSeen},
    {{"[[:upper:][:punct:]]"}, "Q", kFile, kIgnored},
    {{"[[:upper:][:punct:]]"}, "q", kFile, kSeen},
    {{"[[:upper:][:punct:]]"}, "!", kFile, kIgnored},
    {{"[[:space:]]"}, " ", kFile, kIgnored},
    {{"[[:space:]]"}, "x", kFile, kSeen},
    {{"[[:xdigit:]]"}, "f", kFile, kIgnored},
    {{"[[:xdigit:]]"}, "G", kFile, kSeen},
    {{"[[x]"}, "[", kFile, kIgnored},
    {{"[[x]"}, "x", kFile, kIgnored},
    {{"[[x]"}, "y", kFile, kSeen},
    {{"[[:x]"}, "[", kFile, kIgnored},
    {{"[[:x]"}, "x", kFile, kIgnored},
    {{"[[:x]"}, "y", kFile, kSeen},
    {{"a[/]b"}, "a/b", kFile, kSeen},
    {{"a[x/y]b"}, "axb", kFile, kIgnored},
    {{"a[x/y]b"}, "ayb", kFile, kIgnored},
    {{"a[x/y]b"}, "a/b", kFile, kSeen},
    {{"a[x/y]b"}, "d/axb", kFile, kSeen},
    {{"d/[!a]"}, "d/b", kFile, kIgnored},
    {{"d/[!a]"}, "d/a", kFile, kSeen},
    {{"a[!x]b"}, "a/b", kFile, kSeen},
    {{"a[!x]b"}, "ayb", kFile, kIgnored},
    {{"\\*"}, "*", kFile, kIgnored},
    {{"\\*"}, "a", kFile, kSeen},
    {{"\\!x"}, "!x", kFile, kIgnored},
    {{"\\!x"}, "x", kFile, kSeen},
    {{"\\#x"}, "#x", kFile, kIgnored},
    {{"\\#x"}, "x", kFile, kSeen},
    {{"a\\b"}, "ab", kFile, kIgnored},
    {{"a\\b"}, "a\\b", kFile, kSeen},
    {{"a\\\\b"}, "a\\b", kFile, kIgnored},
    {{"a\\\\b"}, "ab", kFile, kSeen},
    {{"foo\\/bar"}, "foo/bar", kFile, kIgnored},
    {{"foo\\/bar"}, "x/foo/bar", kFile, kSeen},
    {{"\\**"}, "*x", kFile, kIgnored},
    {{"\\**"}, "x", kFile, kSeen},
    {{"a/\\**/b"}, "a/*/b", kFile, kIgnored},
    {{"a/\\**/b"}, "a/*x/b", kFile, kIgnored},
    {{"a/\\**/b"}, "a/x/b", kFile, kSeen},
    {{"a/\\**/b"}, "a/b", kFile, kSeen},
    {{"a "}, "a", kFile, kIgnored},
    {{"a "}, "a ", kFile, kSeen},
    {{"a\\ "}, "a ", kFile, kIgnored},
    {{"a\\ "}, "a", kFile, kSeen},
    {{"a\\  "}, "a ", kFile, kIgnored},
    {{"a\\  "}, "a  ", kFile, kSeen},
    {{" a"}, " a", kFile, kIgnored},
    {{" a"}, "a", kFile, kSeen},
    {{"a\t"}, "a\t", kFile, kIgnored},
    {{"a\t"}, "a", kFile, kSeen},
    {{"foo//"}, "foo", kDir, kSeen},
    {{"a//b"}, "a/b", kFile, kSeen},
    {{"//a"}, "a", kFile, kSeen},
    {{"!a"}, "a", kFile, kSeen},
    {{"a", "!a", "a"}, "a", kFile, kIgnored},
    {{"a/", "!a"}, "a", kDir, kSeen},
    {{"a/", "!a"}, "a", kFile, kSeen},
    {{"Foo"}, "Foo", kFile, kIgnored},
    {{"Foo"}, "foo", kFile, kSeen},
    {{"*a*a*a*a*b"}, "aaaaaaaaaaaaaaaaaaaaaaaa", kFile, kSeen},
    {{"*a*a*a*a*b"}, "aaaaaaaaaaaaaaab", kFile, kIgnored},
    {{"*.*"}, "a.b", kFile, kIgnored},
    {{"*.*"}, "a", kFile, kSeen},
    {{"*.*"}, "b.", kFile, kIgnored},
    {{"a*/b"}, "ax/b", kFile, kIgnored},
    {{"a*/b"}, "a/b", kFile, kIgnored},
    {{"a*/b"}, "ax/y/b", kFile, kSeen},
    {{".*"}, ".hid", kDir, kIgnored},
    {{".*"}, "a.b", kFile, kSeen},
    {{".*"}, ".x", kFile, kIgnored},
    {{"caf\xc3\xa9"}, "caf\xc3\xa9", kFile, kIgnored},
    {{"caf\xc3\xa9"}, "cafe", kFile, kSeen},
    {{"/d/*", "!/d/keep/"}, "d/x", kFile, kIgnored},
    {{"/d/*", "!/d/keep/"}, "d/keep", kDir, kSeen},
    {{"/d/*", "!/d/keep/"}, "d/keep", kFile, kIgnored},
    {{"*/x"}, "a/x", kFile, kIgnored},
    {{"*/x"}, "x", kFile, kSeen},
    {{"*/x"}, "a/b/x", kFile, kSeen},
    {{"x/*y*z"}, "x/aybz", kFile, kIgnored},
    {{"x/*y*z"}, "x/yz", kFile, kIgnored},
    {{"x/*y*z"}, "x/a/yz", kFile, kSeen},
};
// clang-format on

IgnoreRules parse(const std::vector<std::string>& patterns) {
  auto rules = IgnoreRules::parse(patterns);
  INFO((rules.ok() ? std::string() : rules.error().message));
  REQUIRE(rules.ok());
  return std::move(*rules);
}

}  // namespace

TEST_CASE("excludes decide as git does", "[ignore]") {
  for (const Row& row : kRows) {
    CAPTURE(row.patterns, row.path, row.is_dir);
    CHECK(parse(row.patterns).excluded(row.path, row.is_dir) == row.ignored);
  }
}

TEST_CASE("the root is never excluded, and no rules exclude nothing", "[ignore]") {
  CHECK_FALSE(parse({"*", "/**"}).excluded("", true));
  CHECK_FALSE(parse({}).excluded("a", false));
  CHECK(parse({}).empty());
}

TEST_CASE("bytes that are no UTF-8 are matched as bytes", "[ignore]") {
  CHECK(parse({"?"}).excluded("\xff", false));
  CHECK(parse({"[\xf0-\xff]"}).excluded("d/\xfe", false));
  CHECK(parse({"*.tmp"}).excluded("new\nline\xff.tmp", false));
  CHECK_FALSE(parse({"[!\xff]"}).excluded("\xff", false));
}

// git also lets these cross directories, because it compares the part before the first wildcard by
// itself and then takes the stars for the beginning of a pattern. gitignore(5) says that such stars
// are regular ones, and so they are here.
TEST_CASE("stars that are not a whole component stay within one", "[ignore]") {
  CHECK(parse({"foo**/bar"}).excluded("fooa/bar", false));
  CHECK_FALSE(parse({"foo**/bar"}).excluded("fooa/b/bar", false));
  CHECK_FALSE(parse({"foo**/bar"}).excluded("foo/a/bar", false));
}

TEST_CASE("a pattern that can never match is an error that names it", "[ignore]") {
  const char* wrong[] = {"[abc",       "a[",  "[]",     "[!]",      "[a-", "[[:alpha:]",
                         "[[:nope:]]", "x\\", "foo\\/", "#comment", "",    "   ",
                         "/",          "!",   "!/",     "[a\\"};
  for (const char* pattern : wrong) {
    CAPTURE(pattern);
    const auto rules = IgnoreRules::parse({"fine", pattern, "also fine"});
    REQUIRE_FALSE(rules.ok());
    CHECK(rules.error().code == ErrorCode::kUsage);
    CHECK_THAT(rules.error().message,
               Catch::Contains("exclude pattern \"" + std::string(pattern) + "\""));
  }
  CHECK_FALSE(IgnoreRules::parse({std::string("a\0b", 3)}).ok());
}

TEST_CASE("patterns made to backtrack take no time", "[ignore]") {
  std::string stars;
  std::string deep;
  for (int i = 0; i < 100; ++i) {
    stars += "*a";
    deep += "**/a/";
  }
  std::string path;
  for (int i = 0; i < 2000; ++i) path += "a/";
  CHECK_FALSE(parse({stars + "b"}).excluded(std::string(255, 'a'), false));
  CHECK_FALSE(parse({deep + "b"}).excluded(path + "c", false));
  CHECK(parse({deep + "c"}).excluded(path + "c", false));
}

TEST_CASE("CACHEDIR.TAG is known by its signature", "[ignore]") {
  const std::string signature = "Signature: 8a477f597d28d172789f06886806bc55";
  CHECK(is_cachedir_tag(signature));
  CHECK(is_cachedir_tag(signature + "\n# made by a cache\n"));
  CHECK_FALSE(is_cachedir_tag(signature.substr(0, 42)));
  CHECK_FALSE(is_cachedir_tag(" " + signature));
  CHECK_FALSE(is_cachedir_tag(""));
}
