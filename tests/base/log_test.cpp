// The log's lines, read back from standard error.
#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/log.h"

using namespace holdfast;

namespace {

// Standard error goes to a file while `body` runs.
std::vector<std::string> lines_of(const std::function<void()>& body) {
  std::string file = (std::filesystem::temp_directory_path() / "holdfast-log-XXXXXX").string();
  Fd to(::mkstemp(file.data()));
  REQUIRE(to.valid());
  const Fd saved(::dup(STDERR_FILENO));
  REQUIRE(::dup2(to.get(), STDERR_FILENO) >= 0);
  body();
  REQUIRE(::dup2(saved.get(), STDERR_FILENO) >= 0);
  std::vector<std::string> lines;
  std::ifstream read(file);
  for (std::string line; std::getline(read, line);) lines.push_back(line);
  std::filesystem::remove(file);
  return lines;
}

}  // namespace

TEST_CASE("a log line has a UTC time, a level and the message", "[log]") {
  const auto lines = lines_of([] {
    const auto log = make_stderr_log(LogLevel::kDebug);
    log->debug("one");
    log->info("two {} %s");
    log->warn("three");
    log->error("four");
  });
  const std::string time = R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ )";
  const char* expected[] = {"debug one", R"(info  two \{\} %s)", "warn  three", "error four"};
  REQUIRE(lines.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    CAPTURE(lines[i]);
    CHECK(std::regex_match(lines[i], std::regex(time + expected[i])));
  }
}

TEST_CASE("lines below the level are not written", "[log]") {
  const auto lines = lines_of([] {
    const auto log = make_stderr_log(LogLevel::kWarn);
    log->debug("no");
    log->info("no");
    log->warn("yes");
  });
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0], Catch::EndsWith("warn  yes"));
}

TEST_CASE("a message cannot forge a line or reach the terminal", "[log]") {
  const auto lines = lines_of([] {
    make_stderr_log()->info("a\n2026-01-01T00:00:00Z error forged\x1b[2J \xff caf\xc3\xa9");
  });
  REQUIRE(lines.size() == 1);
  CHECK_THAT(lines[0],
             Catch::EndsWith("a\\n2026-01-01T00:00:00Z error forged\\x1b[2J \\xff caf\xc3\xa9"));
}

TEST_CASE("the null log says nothing", "[log]") {
  NullLog null;
  Log& log = null;
  CHECK(lines_of([&] { log.error("nobody hears"); }).empty());
}
