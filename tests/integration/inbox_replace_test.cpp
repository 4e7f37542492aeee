// The restore inbox and databases: a SQLite file that replaces one, and PostgreSQL's psql.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "base/fd.h"
#include "tests/support/inboxed.h"
#include "tests/support/postgres.h"

namespace holdfast {
namespace {

using Catch::Contains;

std::string sql(const std::string& database, const std::string& text) {
  return run_tool({"sqlite3", "-bail", database, text}).out;
}

struct Replaced : Inboxed {
  std::string live = data + "/app.db";
  Replaced() {
    sql(live, "create table t(x); insert into t values('old')");
    sql(work.path("new.db"),
        "create table t(x); insert into t values('new'); create index i on t(x)");
    REQUIRE(::chmod(live.c_str(), 0660) == 0);
    if (::geteuid() == 0) REQUIRE(::chown(live.c_str(), 1234, 1235) == 0);
  }
  std::string replace_section() const {
    return section("replace = \"" + live + "\"\nstop = [\"web\"]\n");
  }
  void start_replacing() {
    write_config(replace_section());
    start();
  }
  void require_old() const {
    REQUIRE(sql(live, "select x from t") == "old\n");
    REQUIRE(docker.running("web"));
  }
};

}  // namespace

TEST_CASE("a dropped database replaces the other one, which can be restored", "[inbox]") {
  Replaced inbox;
  inbox.start_replacing();
  const std::string packed = run_tool({"gzip", "-c", inbox.work.path("new.db")}).out;
  inbox.drop("app.db.gz", packed);
  inbox.wait_restored("app.db.gz");
  REQUIRE(sql(inbox.live, "select x from t") == "new\n");
  REQUIRE(inbox.docker.changes() == Calls{"stop web", "start web"});
  struct stat st {};
  REQUIRE(::stat(inbox.live.c_str(), &st) == 0);
  REQUIRE((st.st_mode & 07777) == 0660);
  if (::geteuid() == 0) REQUIRE((st.st_uid == 1234 && st.st_gid == 1235));
  const std::string log = read_file(inbox.done("app.db.gz.log"));
  CHECK_THAT(log, Contains("PRAGMA integrity_check: ok"));
  REQUIRE_FALSE(exists(inbox.done("app.db.gz.replaced")));

  // The command of the log, as a person would paste it.
  const size_t begin = log.find("--state "), end = log.find('\n', begin);
  REQUIRE(begin != std::string::npos);
  run_tool({"sh", "-c", std::string(holdfast_binary()) + " " + log.substr(begin, end - begin)});
  REQUIRE(sql(inbox.live, "select x from t") == "old\n");
  const std::string left = run_process({{"ls", "-A", inbox.data}, "", {}, 0}).out;
  REQUIRE(left == "a\napp.db\n");
}

TEST_CASE("what is no sound database replaces nothing", "[inbox]") {
  Replaced inbox;
  sql(inbox.work.path("new.db"),
      "with recursive n(i) as (select 1 union all select i+1 from n where i<5000) insert into t "
      "select hex(randomblob(40)) from n");
  std::string bytes = read_file(inbox.work.path("new.db"));
  std::string why;
  SECTION("a damaged one") {
    REQUIRE(bytes.size() > 200'000);
    for (size_t i = 100'000; i < 104'096; ++i) bytes[i] = static_cast<char>(bytes[i] ^ 0x55);
    why = "PRAGMA integrity_check: ";
  }
  SECTION("one that is cut off") {
    bytes.resize(bytes.size() / 2);
    why = "PRAGMA integrity_check: ";
  }
  SECTION("something else") {
    bytes = "select 1; -- no database";
    why = "it is not a database of SQLite";
  }
  SECTION("less than SQLite looks at") {
    bytes = "x";
    why = "it is not a database of SQLite";
  }
  SECTION("no more than the beginning of one") {
    bytes.resize(90);
    why = "PRAGMA integrity_check: ";
  }
  inbox.start_replacing();
  inbox.drop("app.db", bytes);
  inbox.wait_failed("app.db");
  CHECK_THAT(read_file(inbox.failed("app.db.log")), Contains(why));
  REQUIRE(inbox.docker.calls().empty());
  inbox.require_old();
}

TEST_CASE("a database that a program has open is not replaced", "[inbox]") {
  Replaced inbox;
  const Fd writer(::open(inbox.live.c_str(), O_RDWR | O_CLOEXEC));
  inbox.start_replacing();
  inbox.drop("app.db", read_file(inbox.work.path("new.db")));
  inbox.wait_failed("app.db");
  CHECK_THAT(read_file(inbox.failed("app.db.log")), Contains("a program has " + inbox.live));
  inbox.require_old();
}

TEST_CASE("what the journal does not have all of is kept beside the dropped one", "[inbox]") {
  Replaced inbox;
  SECTION("it has a log with what was committed") {
    // As a program leaves it that is killed: nobody has it open, and the rows are in the log.
    Process writer({{"sqlite3", "-bail", inbox.live}, "", {}, 0});
    run_tool({"sh", "-c",
              "cp " + inbox.live + " " + inbox.work.path("x.db") + " && sqlite3 " +
                  inbox.work.path("x.db") +
                  " 'pragma journal_mode=wal' \"insert into t values('in the log')\" '.shell cp " +
                  inbox.work.path("x.db") + " " + inbox.live + "' '.shell cp " +
                  inbox.work.path("x.db-wal") + " " + inbox.live + "-wal'"});
    writer.signal(SIGKILL);
    writer.wait();
    REQUIRE(exists(inbox.live + "-wal"));
    inbox.start_replacing();
  }
  SECTION("it lies in no watched directory") {
    inbox.live = inbox.work.make("elsewhere") + "/app.db";
    sql(inbox.live, "create table t(x); insert into t values('old')");
    inbox.start_replacing();
  }
  const bool had_log = exists(inbox.live + "-wal");
  inbox.drop("app.db", read_file(inbox.work.path("new.db")));
  inbox.wait_restored("app.db");
  REQUIRE(sql(inbox.live, "select x from t") == "new\n");
  REQUIRE_FALSE(exists(inbox.live + "-wal"));
  const std::string kept = inbox.done("app.db.replaced");
  CHECK_THAT(read_file(inbox.done("app.db.log")), Contains("cp '" + kept + "'"));
  REQUIRE(sql(kept, "select x from t") == (had_log ? "old\nin the log\n" : "old\n"));
}

TEST_CASE("a database that is not there is put there, and a link is not followed", "[inbox]") {
  Replaced inbox;
  REQUIRE(::unlink(inbox.live.c_str()) == 0);
  SECTION("nothing there") {
    inbox.start_replacing();
    inbox.drop("app.db", read_file(inbox.work.path("new.db")));
    inbox.wait_restored("app.db");
    REQUIRE(sql(inbox.live, "select x from t") == "new\n");
  }
  SECTION("a link") {
    REQUIRE(::symlink(inbox.work.path("target").c_str(), inbox.live.c_str()) == 0);
    inbox.start_replacing();
    inbox.drop("app.db", read_file(inbox.work.path("new.db")));
    inbox.wait_failed("app.db");
    CHECK_THAT(read_file(inbox.failed("app.db.log")), Contains("is no regular file"));
    REQUIRE_FALSE(exists(inbox.work.path("target")));
    REQUIRE(inbox.docker.calls().empty());
  }
}

TEST_CASE("killed while a database is replaced, it is whole and replaced once", "[inbox]") {
  Replaced inbox;
  SECTION("before it") {
    inbox.docker.hang("stop web");
    inbox.start_replacing();
    inbox.drop("app.db", read_file(inbox.work.path("new.db")));
    REQUIRE(inbox.docker.wait_for("stop web"));
    inbox.holdfast.kill();
    inbox.docker.mend("stop web");
    REQUIRE(sql(inbox.live, "select x from t") == "old\n");
  }
  SECTION("after it") {
    inbox.docker.hang("start web");
    inbox.start_replacing();
    inbox.drop("app.db", read_file(inbox.work.path("new.db")));
    REQUIRE(inbox.docker.wait_for("start web"));
    inbox.holdfast.kill();
    inbox.docker.mend("start web");
    sql(inbox.live, "insert into t values('written since')");
  }
  inbox.start();
  inbox.wait_restored("app.db");
  CHECK_THAT(sql(inbox.live, "select x from t"), Catch::StartsWith("new\n"));
  if (inbox.docker.changes().size() == 3) {  // stop, and a start that hung, and one that did not
    REQUIRE(sql(inbox.live, "select count(*) from t") == "2\n");
  }
  REQUIRE(inbox.docker.running("web"));
}

TEST_CASE("a dump of PostgreSQL that is dropped is played into its server", "[inbox]") {
  const std::string bin = postgres_programs();
  if (bin.empty()) {
    WARN("left out: PostgreSQL is not installed (./dev deps test does that)");
    return;
  }
  Inboxed inbox;
  const Postgres database(bin);
  database.sql("app", "create table t(x int); insert into t select generate_series(1, 10000)");
  const std::string dump =
      run_process({database.tool("pg_dump", {"--clean", "--if-exists", "app"}), "/", {}, 0}).out;
  REQUIRE(dump.size() > 10'000);
  write_file(inbox.work.path("plain"), dump);
  const std::string packed = run_tool({"gzip", "-c", inbox.work.path("plain")}).out;
  std::string restore;
  for (const std::string& word :
       database.tool("psql", {"-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", "app", "-f"})) {
    restore += "\"" + word + "\", ";
  }
  inbox.write_config(inbox.section("stop = [\"web\"]\nrestore = [" + restore + "\"{file}\"]\n"));
  inbox.start();

  database.sql("app", "delete from t where x > 10");
  inbox.drop("app.sql.gz", packed);
  inbox.wait_restored("app.sql.gz");
  REQUIRE(database.sql("app", "select count(*), sum(x) from t") == "10000|50005000\n");
  REQUIRE(inbox.docker.changes() == Calls{"stop web", "start web"});

  // One that ends in the middle changes nothing, because it is one transaction.
  database.sql("app", "delete from t where x > 10");
  inbox.drop("bad.sql", dump.substr(0, dump.size() / 2) + "\nnonsense;\n");
  inbox.wait_failed("bad.sql");
  CHECK_THAT(read_file(inbox.failed("bad.sql.log")), Contains("exit status 3"));
  REQUIRE(database.sql("app", "select count(*) from t") == "10\n");
  REQUIRE(inbox.docker.running("web"));
}

}  // namespace holdfast
