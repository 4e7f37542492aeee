// "NAME=DIR", and names made of paths.
#include "base/root_name.h"

#include <catch2/catch.hpp>

using namespace holdfast;

TEST_CASE("split_named_dir", "[root_name]") {
  using Parts = std::pair<std::string_view, std::string_view>;
  CHECK(split_named_dir("uploads=/data") == Parts{"uploads", "/data"});
  CHECK(split_named_dir("uploads=data/a=b") == Parts{"uploads", "data/a=b"});
  CHECK(split_named_dir("/data") == Parts{"", "/data"});
  CHECK(split_named_dir("/data/a=b") == Parts{"", "/data/a=b"});
  CHECK(split_named_dir("./a=b") == Parts{"", "./a=b"});
  CHECK(split_named_dir("=data") == Parts{"", "data"});
  CHECK(split_named_dir("") == Parts{"", ""});
}

TEST_CASE("root_name_of", "[root_name]") {
  CHECK(root_name_of("/srv/up loads") == "up-loads");
  CHECK(root_name_of("app.conf_2-x") == "app.conf_2-x");
  CHECK(root_name_of("/") == "root");
  CHECK(root_name_of("/a/\xff") == "-");
}
