// Rotting: a root on an ext4 of its own, whose bits can be flipped under it, and `verify` there.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/support/mounts.h"

namespace holdfast {

struct Rotting {
  WorkDir work;
  LoopMount disk;
  std::string root;
  Holdfast holdfast{work.path("state")};

  explicit Rotting(uint64_t bytes = 64 << 20, const std::string& type = "ext4")
      : disk(work, "disk", bytes, type), root(disk.path() + "/data") {
    make_dir(root);
  }
  void start() {
    run_tool({"sync", "-f", root});
    holdfast.start({"data=" + root});
    holdfast.flush();
  }
  std::string in(const std::string& name) const { return root + "/" + name; }
};

// What `verify --json` printed; `expected` is its exit code, or -1 for any.
inline TestJson parsed_verify(const Outcome& outcome, int expected) {
  INFO("verify said: " << outcome.out << outcome.err);
  if (expected >= 0) REQUIRE(outcome.exit_code == expected);
  const auto lines = parse_lines(outcome.out);
  REQUIRE(lines.size() == 1);
  return lines[0];
}

inline TestJson verify(const Holdfast& holdfast, std::vector<std::string> args = {},
                       int expected = -1) {
  args.insert(args.begin(), {"--json", "verify"});
  return parsed_verify(holdfast.run(args), expected);
}

}  // namespace holdfast
