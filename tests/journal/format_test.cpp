// The worked examples of docs/formats/record.md and journal.md are what the code writes.
#include <cctype>
#include <fstream>
#include <sstream>

#include "base/types.h"
#include "tests/journal/example_record.h"
#include "tests/journal/journal_fixture.h"

using namespace holdfast;

namespace {

// The lines of the first block of a document that is fenced as ```<kind>.
std::vector<std::string> block(const std::string& document, const std::string& kind) {
  std::ifstream in(std::string(HOLDFAST_SOURCE_DIR "/docs/formats/") + document);
  INFO("docs/formats/" << document);
  REQUIRE(in.good());
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (inside && line == "```") break;
    if (inside) lines.push_back(line);
    if (line == "```" + kind) inside = true;
  }
  REQUIRE_FALSE(lines.empty());
  return lines;
}

std::string hex(std::string_view bytes) {
  return to_hex(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

// "offset | bytes | words": the bytes of all lines; each offset must be where its bytes begin.
std::string hex_dump(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) {
    std::istringstream in(line);
    std::string offset;
    std::string bytes;
    REQUIRE(std::getline(in, offset, '|'));
    REQUIRE(std::getline(in, bytes, '|'));
    INFO(line);
    if (std::isdigit(static_cast<unsigned char>(offset.front()))) {
      REQUIRE(std::stoul(offset) == all.size() / 2);
    }
    for (const char c : bytes) {
      if (c != ' ') all += c;
    }
  }
  return all;
}

struct ExampleFixture : JournalFixture {
  ExampleFixture() {
    clock.wall = 1'795'183'387'000'000'000;  // 2026-11-20T14:03:07Z
    std::string booted;
    must(journal->boot(write(), clock, booted));
    add_root("uploads", "/srv/uploads");
    const NodeId file = create(root, "a", 0x20001);
    must(journal->end_batch(write(), Sequence{1}, Sequence{3}));
    clock.wall -= 60'000'000'000;  // somebody sets the clock back by a minute
    append(rename_record(file, root, "a", root, "b", 0x20001));
    Record pin;
    pin.kind = RecordKind::kSnapshot;
    pin.prev = head().seq;
    pin.note = std::string("first\0hello\0by=me", 17);
    append(pin);
    must(journal->end_batch(write(), Sequence{4}, Sequence{5}));
  }
  std::vector<std::string> rows() {
    std::vector<std::string> lines;
    for (const char* name : {"records", "entries", "versions", "inodes", "times", "snapshots",
                             "boots", "roots", "meta"}) {
      const Tables tables = dump();
      for (const auto& [key, value] : tables.at(name)) {
        const std::string text = value.empty() ? "-" : hex(value);
        const bool record = std::string(name) == "records";
        lines.push_back(std::string(name) + " | " + hex(key) + " | " +
                        (record ? std::to_string(value.size()) + " bytes" : text));
      }
    }
    return lines;
  }
};

}  // namespace

TEST_CASE("the worked example of record.md is what the code writes", "[record]") {
  REQUIRE(hex_dump(block("record.md", "hex")) == hex(must(encode_record(example_record()))));
}

TEST_CASE_METHOD(ExampleFixture, "the worked example of journal.md is what the code writes",
                 "[journal]") {
  REQUIRE(block("journal.md", "rows") == rows());
  require_sound();
}
