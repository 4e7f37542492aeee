// The manual page and the completions, which the program writes of the words of its --help.
#include <catch2/catch.hpp>
#include <sstream>

#include "tests/support/holdfast_run.h"
#include "tests/support/process.h"

namespace holdfast {
namespace {

// The commands that --help lists.
std::vector<std::string> commands() {
  const WorkDir work;
  std::istringstream help(Holdfast(work.path("none")).text({"--help"}));
  std::vector<std::string> found;
  bool below = false;
  for (std::string line; std::getline(help, line);) {
    if (line.starts_with("Subcommands:")) below = true;
    if (!below || !line.starts_with("  ") || line[2] == ' ') continue;
    found.push_back(line.substr(2, line.find(' ', 2) - 2));
  }
  REQUIRE(found.size() > 15);
  return found;
}

std::string manual(const std::string& kind) {
  const WorkDir work;
  return Holdfast(work.path("none")).text({"manual", kind});
}

// What bash offers for the last of these words.
std::string completed(const std::vector<std::string>& words) {
  const WorkDir work;
  write_file(work.path("completion"), manual("bash"));
  std::string script = ". " + work.path("completion") + "; COMP_WORDS=(";
  for (const std::string& word : words) script += "'" + word + "' ";
  script += "); COMP_CWORD=" + std::to_string(words.size() - 1) +
            "; _holdfast; printf '%s ' \"${COMPREPLY[@]}\"";
  Process bash({{"bash", "-c", script}, work.path(), {}, 0});
  const Outcome outcome = bash.wait();
  REQUIRE(outcome.err.empty());
  return outcome.out;
}

}  // namespace

TEST_CASE("the manual page has every command and option", "[manual]") {
  const std::string page = manual("man");
  for (const std::string& command : commands()) {
    INFO(command);
    std::string name;
    for (const char c : command) name += c == '-' ? std::string("\\-") : std::string(1, c);
    REQUIRE(page.find(".SS \"" + name) != std::string::npos);
  }
  REQUIRE(page.find("\\fB\\-\\-in\\-place\\fR") != std::string::npos);
  REQUIRE(page.find("HOLDFAST_STATE") != std::string::npos);
}

TEST_CASE("a shell completes commands, options and files", "[manual]") {
  REQUIRE(completed({"holdfast", "--state", "/x", "rest"}) == "restore ");
  REQUIRE(completed({"holdfast", "restore", "--in-p"}) == "--in-place ");
  REQUIRE(completed({"holdfast", "--state", "compl"}) == "completion ");
  const std::string all = completed({"holdfast", ""});
  for (const std::string& command : commands()) {
    INFO(command);
    REQUIRE((" " + all).find(" " + command + " ") != std::string::npos);
    REQUIRE(manual("zsh").find("'" + command + ":") != std::string::npos);
    REQUIRE(manual("fish").find("-a " + command + " ") != std::string::npos);
  }
}

}  // namespace holdfast
