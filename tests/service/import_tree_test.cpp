// The names of an archive's members, and the tree that they make.
#include "service/import_tree.h"

#include <catch2/catch.hpp>

namespace holdfast {
namespace {

TarEntry member(FileType type) {
  TarEntry entry;
  entry.type = type;
  return entry;
}
MemberName named(const std::string& path) { return *member_name(path, 0); }
Status add(ImportTree& tree, const std::string& path, FileType type = FileType::kFile) {
  return tree.add(named(path), member(type), {}, {});
}

}  // namespace

TEST_CASE("a member's name is taken apart as tar does it", "[import]") {
  using Parts = std::vector<std::string>;
  REQUIRE(named("a/b").parts == Parts{"a", "b"});
  REQUIRE(named("//a/.//b/").parts == Parts{"a", "b"});
  REQUIRE(named("./").parts.empty());
  REQUIRE(named("..a/b..").parts == Parts{"..a", "b.."});
  REQUIRE(member_name("top/a/b", 1)->parts == Parts{"a", "b"});
  REQUIRE(member_name("top/", 1)->parts.empty());
  REQUIRE_FALSE(member_name("top/", 1)->stripped);
  REQUIRE(member_name("top/", 2)->stripped);
  REQUIRE(member_name("./", 1)->stripped);
  for (const std::string bad : {"..", "../a", "a/..", "/a/../b"}) {
    INFO(bad);
    REQUIRE(member_name(bad, 0).error().code == ErrorCode::kUsage);
    REQUIRE(member_name(bad, 9).error().code == ErrorCode::kUsage);
  }
  REQUIRE(member_name(std::string(255, 'x'), 0).ok());
  REQUIRE_FALSE(member_name(std::string(256, 'x'), 0).ok());
}

TEST_CASE("later members win, and links keep what they lead to", "[import]") {
  ImportTree tree;
  REQUIRE(tree.empty());
  REQUIRE(add(tree, "d/a").ok());
  REQUIRE(tree.add_link(named("d/b"), named("d/a")).ok());
  const ImportTree::Dir& root = tree.dir(ImportTree::kRoot);
  const ImportTree::Dir& d = tree.dir(root.names.at("d").id);
  REQUIRE_FALSE(d.named);
  const auto first = d.names.at("a").id;
  REQUIRE(d.names.at("b").id == first);
  REQUIRE(tree.item(first).stat.nlink == 2);
  REQUIRE(add(tree, "d/a", FileType::kFifo).ok());
  REQUIRE(d.names.at("a").id != first);
  REQUIRE(tree.item(first).stat.nlink == 1);
  REQUIRE(add(tree, "d", FileType::kDir).ok());  // its metadata; what is in it stays
  REQUIRE(d.named);
  REQUIRE(d.names.size() == 2);
  REQUIRE(add(tree, "d").ok());  // a file in the place of all that
  REQUIRE(tree.item(first).stat.nlink == 0);
  REQUIRE_FALSE(root.names.at("d").is_dir);
  REQUIRE_FALSE(add(tree, "d/below").ok());
  REQUIRE_FALSE(tree.add_link(named("x"), named("nowhere")).ok());
  REQUIRE_FALSE(tree.add_link(named("x"), named("d/below")).ok());
  REQUIRE_FALSE(root.names.contains("x"));
  REQUIRE_FALSE(add(tree, ".").ok());
  REQUIRE(add(tree, ".", FileType::kDir).ok());
}

}  // namespace holdfast
