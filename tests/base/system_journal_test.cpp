// What an entry of systemd's journal holds.
#include <catch2/catch.hpp>
#include <fstream>
#include <set>
#include <sstream>

#include "base/system_journal.h"

using namespace holdfast;

namespace {

std::string text_of(const std::string& name) {
  std::ifstream file(std::string(HOLDFAST_SOURCE_DIR) + "/" + name);
  REQUIRE(file.is_open());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("an entry has fields to search by", "[log]") {
  const LogEvent event{LogLevel::kError, LogKind::kCorruption, "a\nb", "data", "d/\xff\n", 12};
  const std::vector<std::string> expected{"SYSLOG_IDENTIFIER=holdfast",
                                          "PRIORITY=3",
                                          "MESSAGE=a\\nb",
                                          "MESSAGE_ID=629fcf3d10034317b15314b1eea9ef8a",
                                          "HOLDFAST_ROOT=data",
                                          "HOLDFAST_PATH=d/\xff\n",
                                          "HOLDFAST_SEQ=12"};
  CHECK(journal_fields(event) == expected);
  LogEvent plain;
  plain.message = "m";
  const std::vector<std::string> few{"SYSLOG_IDENTIFIER=holdfast", "PRIORITY=6", "MESSAGE=m"};
  CHECK(journal_fields(plain) == few);
}

TEST_CASE("each kind of event has an id, a line in the documentation and a text", "[log]") {
  const std::string page = text_of("docs/systemd.md"),
                    catalog = text_of("systemd/holdfast.catalog");
  std::set<std::string> ids;
  for (int kind = 1; kind <= static_cast<int>(LogKind::kAlertCleared); ++kind) {
    const std::string id = message_id(static_cast<LogKind>(kind));
    INFO(id);
    CHECK(id.size() == 32);
    CHECK(ids.insert(id).second);
    CHECK(page.find("| `" + id + "` |") != std::string::npos);
    CHECK(catalog.find("-- " + id + "\n") != std::string::npos);
  }
}
