// Dumped: a service with a [[dump]] whose command a test controls.
#pragma once

#include <string>

#include "tests/support/holdfast_run.h"

namespace holdfast {

struct Dumped {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};
  const std::string path = "dumps:app-db";

  // The command writes the file `db`, then does what the file `how` says (in sh).
  explicit Dumped(const std::string& keys = "", const std::string& sections = "") {
    write_file(root + "/a", "a");
    write_config(keys, sections);
    holdfast.set_env({{"HOLDFAST_CONFIG", work.path("holdfast.toml")}});
  }
  void write_config(const std::string& keys, const std::string& sections) {
    const std::string script = "cat " + work.path("db") + "; . " + work.path("how");
    write_file(work.path("holdfast.toml"),
               "[[watch]]\nname = \"data\"\npath = \"" + root +
                   "\"\n[[dump]]\nname = \"app-db\"\ncommand = [\"/bin/sh\", \"-c\", \"" + script +
                   "\"]\n" + (keys.find("every") == std::string::npos ? "every = \"6h\"\n" : "") +
                   keys + "\n" + sections);
  }
  void set(const std::string& bytes, const std::string& how = "true") const {
    write_file(work.path("db"), bytes);
    write_file(work.path("how"), how + "\n");
  }
  // The service makes the first dump by itself.
  void start_with(const std::string& bytes) {
    set(bytes);
    holdfast.start({});
    REQUIRE(holdfast.service().wait_for_error("dumped app-db"));
  }
  Outcome run() const { return holdfast.run({"run-dump", "app-db"}); }
  std::string content(uint64_t seq = 0) const {
    if (seq == 0) return holdfast.text({"cat", path});
    return holdfast.text({"cat", path, "--at", at(seq)});
  }
  std::string snapshot() const { return holdfast.lines({"snapshots"}).at(0).at("name"); }
  TestJson state() const { return holdfast.json({"status"}).at("dumps").at(0); }
};

}  // namespace holdfast
