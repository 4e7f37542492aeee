// Keys of the journal's tables: they sort as what they stand for, and have one form.
#include "journal/keys.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/hash.h"

using namespace holdfast;

namespace {

std::string number(uint64_t value) { return std::string(Key().number(value).view()); }

std::string hex(const std::string& bytes) {
  return to_hex(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

// Both sides of every length that a number can have, in order.
std::vector<uint64_t> edges() {
  std::vector<uint64_t> values{0, 1};
  for (int bits = 7; bits <= 56; bits += 7) {
    values.push_back((uint64_t{1} << bits) - 1);
    values.push_back(uint64_t{1} << bits);
  }
  values.push_back(UINT64_MAX - 1);
  values.push_back(UINT64_MAX);
  return values;
}

}  // namespace

TEST_CASE("numbers in keys sort as they do, and are as short as can be", "[journal]") {
  CHECK(hex(number(127)) == "7f");
  CHECK(hex(number(128)) == "8080");
  CHECK(hex(number(16'384)) == "c04000");
  CHECK(hex(number(uint64_t{1} << 56)) == "ff0100000000000000");
  CHECK(hex(number(UINT64_MAX)) == "ffffffffffffffffff");
  std::string before;
  for (const uint64_t value : edges()) {
    const std::string bytes = number(value);
    INFO(value << " is " << hex(bytes));
    REQUIRE((before.empty() || before < bytes));
    REQUIRE((before.empty() || !bytes.starts_with(before)));
    std::string_view rest = bytes;
    REQUIRE(take_number(rest) == value);
    REQUIRE(rest.empty());
    for (size_t size = 0; size < bytes.size(); ++size) {
      std::string_view cut = std::string_view(bytes).substr(0, size);
      REQUIRE_FALSE(take_number(cut).has_value());
    }
    before = bytes;
  }
}

TEST_CASE("a number in a key that is longer than it has to be is refused", "[journal]") {
  for (const std::string& bytes :
       {std::string("\x80\x7f", 2), std::string("\xc0\x3f\xff", 3), std::string("\xe0\0\0\1", 4),
        std::string("\xfe\0\xff\xff\xff\xff\xff\xff", 8),
        std::string("\xff\0\xff\xff\xff\xff\xff\xff\xff", 9)}) {
    std::string_view rest = bytes;
    INFO(hex(bytes));
    REQUIRE_FALSE(take_number(rest).has_value());
  }
}

TEST_CASE("keys and values are what they were made from, and nothing else is read", "[journal]") {
  for (const uint64_t value : edges()) {
    const Sequence seq{value};
    const NodeId node{UINT64_MAX - value};
    const auto refuses = [](const Key& key, auto parse) {
      const std::string longer = std::string(key.view()) + '\0';
      return !parse(longer) && !parse(key.view().substr(0, key.view().size() - 1));
    };
    REQUIRE(parse_record_key(record_key(seq)) == seq);
    REQUIRE(refuses(record_key(seq), parse_record_key));
    const auto version = parse_version_key(version_key(node, seq));
    REQUIRE((version && version->node == node && version->seq == seq));
    REQUIRE(refuses(version_key(node, seq), parse_version_key));
    const auto inode = parse_inode_key(inode_key(node, value));
    REQUIRE((inode && inode->root == node && inode->inode == value));
    REQUIRE(refuses(inode_key(node, value), parse_inode_key));
    const Key named = entry_key(node, "a name", seq);
    const auto entry = parse_entry_key(named);
    REQUIRE((entry && entry->parent == node && entry->name == "a name" && entry->seq == seq));
    REQUIRE(refuses(named, parse_entry_key));
    const RowValue leads = entry_value({NodeId{value}, FileType::kSymlink});
    const EntryValue expected{NodeId{value}, value == 0 ? FileType::kFile : FileType::kSymlink};
    REQUIRE(parse_entry_value(leads) == expected);
    const auto row = parse_inode_value(inode_value({node, UINT32_MAX}));
    REQUIRE((row && row->node == node && row->names == UINT32_MAX));
  }
  REQUIRE_FALSE(parse_entry_key(entry_key({1}, "..", {1})).has_value());
  REQUIRE_FALSE(parse_entry_key(Key().number(1).bytes("no end")).has_value());
  REQUIRE_FALSE(parse_entry_value(RowValue().number(0).byte(1)).has_value());
  REQUIRE_FALSE(parse_entry_value(RowValue().number(1).byte(0)).has_value());
  REQUIRE_FALSE(parse_inode_value(RowValue().number(1).number(UINT64_MAX)).has_value());
}

TEST_CASE("the rows of a name, and of a directory, are one range", "[journal]") {
  const Key first = entry_key({300}, "b", {1}), last = entry_key({300}, "b", {UINT64_MAX});
  CHECK(directory_prefix({300}).view() < first.view());
  CHECK(entry_key({300}, "a\xff", {UINT64_MAX}).view() < first.view());
  CHECK(entry_key({299}, "z", {UINT64_MAX}).view() < directory_prefix({300}).view());
  CHECK(last.view() < after_name({300}, "b").view());
  CHECK(after_name({300}, "b").view() < entry_key({300}, "b\2", {0}).view());
  CHECK(last.view() < directory_prefix({301}).view());
}
