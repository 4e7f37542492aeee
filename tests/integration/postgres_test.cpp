// A real database: dumped, wrecked and brought back, alone and together with a directory.
#include <catch2/catch.hpp>

#include "tests/support/postgres.h"

namespace holdfast {
namespace {

using Catch::Contains;
namespace fs = std::filesystem;

std::string toml_list(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "[\"" : "\", \"") + word;
  return list + "\"]";
}

struct App {
  WorkDir work;
  std::string uploads = work.make("uploads");
  Holdfast holdfast{work.path("state")};
  Postgres database;

  explicit App(const std::string& bin) : database(bin) {
    run_tool(database.tool("pgbench", {"-i", "-s", "1", "-q", "app"}));
    const std::string restore =
        database.words("pg_restore", {"-d", "app", "--clean", "--if-exists", "--exit-on-error"});
    write_file(work.path("holdfast.toml"),
               "[[watch]]\nname = \"uploads\"\npath = \"" + uploads +
                   "\"\n[[dump]]\nname = \"app-db\"\nevery = \"6h\"\ncommand = " +
                   toml_list(database.tool("pg_dump", {"-Fc", "-Z0", "app"})) + "\nrestore = \"" +
                   restore + "\"\n");
    holdfast.set_env({{"HOLDFAST_CONFIG", work.path("holdfast.toml")}});
    holdfast.start({});
    REQUIRE(holdfast.service().wait_for_error("dumped app-db"));
  }
  // As a person would, with the program of this build.
  void run_printed(const std::string& command) const {
    const std::string path = fs::path(holdfast_binary()).parent_path().string() + ":/usr/bin:/bin";
    const Outcome said =
        run_process({{"/bin/sh", "-c", command},
                     "",
                     {{"PATH", path}, {"HOLDFAST_CONFIG", work.path("holdfast.toml")}},
                     0});
    INFO(command << " said: " << said.out << said.err);
    REQUIRE(said.exit_code == 0);
  }
};

}  // namespace

TEST_CASE("a PostgreSQL database and its uploads come back to one moment", "[postgres]") {
  const std::string bin = postgres_programs();
  if (bin.empty()) {
    WARN("left out: no PostgreSQL server is installed (Debian: postgresql)");
    return;
  }
  App app(bin);
  const std::string at_first = app.database.sums();
  const TestJson first = app.holdfast.json({"snapshot", "--no-dumps"});

  run_tool(app.database.tool("pgbench", {"-n", "-t", "300", "app"}));
  write_file(app.uploads + "/invoice.txt", "12.50");
  const std::string before = app.database.sums();
  REQUIRE(before != at_first);
  const TestJson taken = app.holdfast.json({"snapshot", "-m", "before the deploy"});
  REQUIRE(taken.at("dumps").at(0).at("outcome") == "ok");
  // Most of the second dump was there.
  const TestJson dump = taken.at("dumps").at(0);
  REQUIRE(dump.at("new_bytes").get<uint64_t>() < dump.at("size").get<uint64_t>());

  app.database.sql("app", "delete from pgbench_accounts where aid % 3 = 0");
  app.database.sql("app", "drop table pgbench_tellers");
  write_file(app.uploads + "/invoice.txt", "0.00");
  for (const TestJson& command : taken.at("undo")) app.run_printed(command.get<std::string>());
  REQUIRE(app.database.sums() == before);
  REQUIRE(read_file(app.uploads + "/invoice.txt") == "12.50");

  // And further back, to a moment that the service's own dump is in.
  app.run_printed("holdfast --state " + app.holdfast.state() + " restore dumps:app-db --at " +
                  first.at("name").get<std::string>() + " --to-command '" +
                  app.database.words("pg_restore", {"-d", "app", "--clean", "--if-exists"}) + "'");
  REQUIRE(app.database.sums() == at_first);
  app.holdfast.require_clean(true);

  // A database that is gone is a failed dump, and the last good one stays.
  app.database.sql("postgres", "drop database app");
  const Outcome failed = app.holdfast.run({"run-dump", "app-db"});
  REQUIRE(failed.exit_code == 1);
  REQUIRE_THAT(failed.err, Contains("app") && Contains("does not exist"));
  app.database.sql("postgres", "create database app");
  app.run_printed(taken.at("undo").at(1).get<std::string>());
  REQUIRE(app.database.sums() == before);
}

}  // namespace holdfast
