// SQLite databases, captured while programs write to them (docs/sqlite.md).
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>

#include "base/fd.h"
#include "tests/support/rotting.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

std::vector<std::string> tool(std::vector<std::string> args) {
  args.insert(args.begin(), HOLDFAST_SQLITE_TOOL);
  return args;
}
std::string sql(const std::string& database, const std::string& text) {
  const Outcome outcome = run_process({tool({"run", database, text}), "", {}, 0});
  INFO(text << ": " << outcome.err);
  REQUIRE(outcome.exit_code == 0);
  return outcome.out;
}
// A process that has done `text` and keeps the database open.
struct Holder {
  Process process;
  Holder(const std::string& database, const std::string& text)
      : process({tool({"hold", database, text}), "", {}, 0}) {
    const bool ready = process.wait_for_output("ready");
    INFO(process.error_output());
    REQUIRE(ready);
  }
  void kill() {
    process.signal(SIGKILL);
    process.wait();
  }
};

const std::string kTable = "CREATE TABLE t(id INTEGER PRIMARY KEY, v, filler);";
// `rows` rows of about 400 bytes with the value `v`.
std::string fill(int rows, const std::string& v) {
  return "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < " +
         std::to_string(rows) + ") INSERT OR REPLACE INTO t SELECT x, " + v +
         ", hex(randomblob(200)) FROM c;";
}

// A directory with a database that has been there before it was watched.
struct Made {
  WorkDir dir;
  explicit Made(const std::string& text) {
    dir.make("data");
    sql(dir.path("data/app.data"), text);
  }
};

struct Databases : Made, Watched {
  std::string db = in("app.data");  // not told by its name
  std::string copy = out("copy");

  explicit Databases(const std::string& text = "PRAGMA journal_mode=WAL;" + kTable + fill(500, "1"))
      : Made(text), Watched(dir.path("data")) {}

  std::vector<TestJson> history(const std::string& path = "app.data") const {
    return holdfast.lines({"history", "data:" + path});
  }
  void take(uint64_t seq) const {
    run_process({{"rm", "-f", copy, copy + "-wal", copy + "-shm", copy + "-journal"}, "", {}, 0});
    write_file(copy, content("app.data", seq));
  }
  // What a query gives on the version at a moment, which has to be sound.
  std::string at_moment(uint64_t seq, const std::string& query) const {
    take(seq);
    REQUIRE(sql(copy, "PRAGMA integrity_check") == "ok\n");
    return sql(copy, query);
  }
  void require_no_sidecars() const {
    for (const std::string ending : {"-wal", "-shm", "-journal"}) {
      const Outcome outcome = holdfast.run({"history", "data:app.data" + ending});
      INFO(ending << ": " << outcome.out);
      REQUIRE(outcome.exit_code == 4);
    }
  }
};

uint64_t read_progress(const std::string& path) {
  uint64_t n = 0;
  Fd fd(::open(path.c_str(), O_RDONLY));
  if (fd && ::pread(fd.get(), &n, sizeof n, 0) != sizeof n) n = 0;
  return n;
}

double seconds_of_writing() {
  const char* text = std::getenv("HOLDFAST_SQLITE_SECONDS");
  return text != nullptr ? std::atof(text) : 8;
}

// A writer at full speed; each version has to be its first N transactions, and at least those that
// it had committed before the flush.
void write_and_capture(const std::string& mode, const std::string& page, const std::string& mmap,
                       double seconds) {
  Databases w("PRAGMA page_size=" + page + "; CREATE TABLE first(x);");
  const std::string progress = w.out("progress");
  Process writer({tool({"write", w.db, progress, mode, page, mmap}), "", {}, 0});
  REQUIRE(writer.wait_for_output("writing"));
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  int versions = 0, unproven = 0;
  do {
    const uint64_t committed = read_progress(progress);
    const uint64_t seq = w.holdfast.flush();
    const TestJson newest = w.history().back();
    unproven += has_flag(newest, "unproven") || has_flag(newest, "unstable") ? 1 : 0;
    w.take(seq);
    const Outcome checked = run_process({tool({"check", w.copy}), "", {}, 0});
    INFO("version @" << seq << ": " << checked.err << newest.dump());
    REQUIRE(checked.exit_code == 0);
    REQUIRE(std::stoull(checked.out) >= committed);
    ++versions;
    REQUIRE(writer.running());
  } while (std::chrono::steady_clock::now() < end);
  writer.signal(SIGTERM);
  const Outcome written = writer.wait();
  INFO(written.err);
  REQUIRE(written.exit_code == 0);
  WARN(mode << ", pages of " << page << ", mmap " << mmap << ": " << written.out.substr(8)
            << versions << " versions, none torn");
  REQUIRE(unproven == 0);
  const std::string last = std::to_string(read_progress(progress));
  REQUIRE(w.at_moment(w.holdfast.flush(), "SELECT max(n) FROM done") == last + "\n");
  w.require_no_sidecars();
}

}  // namespace

TEST_CASE("every version of a database under a writer is whole", "[sqlite]") {
  const double each = seconds_of_writing() / 6;
  SECTION("WAL") { write_and_capture("wal", "4096", "0", each); }
  SECTION("WAL, small pages") { write_and_capture("wal", "512", "0", each); }
  SECTION("WAL, large pages, mapped") { write_and_capture("wal", "65536", "268435456", each); }
  SECTION("rollback") { write_and_capture("delete", "4096", "0", each); }
  SECTION("rollback, truncated") { write_and_capture("truncate", "1024", "268435456", each); }
  SECTION("rollback, kept") { write_and_capture("persist", "8192", "0", each); }
}

// Not how long, which is the machine's business: for what part of the capture.
TEST_CASE("a writer goes on while a large database is captured for the first time", "[sqlite]") {
  Made made(
      "PRAGMA synchronous=OFF; CREATE TABLE t(v); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
      "SELECT x + 1 FROM c WHERE x < 1500) INSERT INTO t SELECT randomblob(100000) FROM c;");
  Process writer({tool({"pace", made.dir.path("data/app.data"), "60000"}), "", {}, 0});
  REQUIRE(writer.wait_for_output("writing"));
  const auto begin = std::chrono::steady_clock::now();
  Watched w(made.dir.path("data"));
  const double took_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  writer.signal(SIGTERM);
  const Outcome written = writer.wait();
  INFO(written.err);
  REQUIRE(written.exit_code == 0);
  WARN("captured within " << took_ms << " ms, " << written.out.substr(8));
  const double longest_ms = std::stod(written.out.substr(written.out.find("longest ") + 8));
  REQUIRE(longest_ms < took_ms / 2);
  REQUIRE_FALSE(has_flag(w.last_of("app.data"), "unproven"));
  write_file(w.out("copy"), w.content("app.data", w.begin));
  REQUIRE(sql(w.out("copy"), "PRAGMA integrity_check") == "ok\n");
}

TEST_CASE("what is committed in the log is in the version", "[sqlite]") {
  Databases w;
  Holder holder(w.db, "PRAGMA wal_autocheckpoint=0; UPDATE t SET v=2 WHERE id<=300;");
  const std::string raw = read_file(w.db);
  const uint64_t seq = w.holdfast.flush();
  REQUIRE(w.at_moment(seq, "SELECT count(*) FROM t WHERE v=2") == "300\n");
  const TestJson live = w.history().back();
  REQUIRE(has_flag(live, "live"));
  REQUIRE_FALSE(has_flag(live, "unproven"));
  REQUIRE(live.at("verdict") == "modified");
  REQUIRE(read_file(w.db) == raw);  // nobody ran a checkpoint
  w.require_no_sidecars();
  // Verified against the log, and not against the bytes of the file.
  const TestJson verified = verify(w.holdfast, {}, 0);
  INFO(verified.dump());
  REQUIRE(verified.at("findings").empty());
  // Nothing changes: nothing is journaled.
  REQUIRE(w.holdfast.flush() == seq);
  // The version is byte for byte what a checkpoint makes of the file.
  sql(w.db, "PRAGMA wal_checkpoint(FULL)");
  w.holdfast.flush();
  REQUIRE(w.history().back().at("hash") == live.at("hash"));
  REQUIRE(read_file(w.db) == w.content("app.data", seq));
  REQUIRE_FALSE(has_flag(w.history().back(), "live"));
  REQUIRE(verify(w.holdfast, {}, 0).at("findings").empty());
}

TEST_CASE("a log that nobody has open any more counts too", "[sqlite]") {
  Databases w;
  {
    Holder holder(w.db, "PRAGMA wal_autocheckpoint=0; UPDATE t SET v=2;");
    holder.kill();
  }
  const bool with_index = GENERATE(true, false);
  if (!with_index) REQUIRE(::unlink((w.db + "-shm").c_str()) == 0);
  append_file(w.db + "-wal", "");
  const std::string log = read_file(w.db + "-wal");
  const uint64_t seq = w.holdfast.flush();
  REQUIRE(w.at_moment(seq, "SELECT count(*) FROM t WHERE v=2") == "500\n");
  REQUIRE(exists(w.db + "-shm") == with_index);  // nothing is made beside it
  REQUIRE(read_file(w.db + "-wal") == log);
  // Found again by a service that was off when the log was written.
  w.holdfast.stop();
  {
    Holder holder(w.db, "PRAGMA wal_autocheckpoint=0; UPDATE t SET v=3;");
    holder.kill();
  }
  w.holdfast.start({"data=" + w.root});
  REQUIRE(w.at_moment(w.holdfast.flush(), "SELECT count(*) FROM t WHERE v=3") == "500\n");
  REQUIRE(w.history().back().at("verdict") == "modified_offline");
  REQUIRE(verify(w.holdfast, {}, 0).at("problems") == 0);
}

TEST_CASE("a half transaction of a program that crashed is not in the version", "[sqlite]") {
  Databases w(kTable + fill(3000, "1"));
  const std::string whole = read_file(w.db);
  {
    Holder holder(w.db,
                  "PRAGMA cache_size=10; BEGIN; UPDATE t SET v=2, filler=hex(randomblob(200));");
    holder.kill();
  }
  REQUIRE(read_file(w.db) != whole);  // it had written some of it
  REQUIRE(exists(w.db + "-journal"));
  const std::string journal = read_file(w.db + "-journal");
  const uint64_t seq = w.holdfast.flush();
  const TestJson record = w.history().back();
  INFO(record.dump());
  REQUIRE_FALSE(has_flag(record, "unproven"));
  REQUIRE(w.at_moment(seq, "SELECT count(*) FROM t WHERE v=1") == "3000\n");
  REQUIRE(w.content("app.data", seq) == whole);
  REQUIRE(read_file(w.db + "-journal") == journal);  // and it is still SQLite's to roll back
  w.require_no_sidecars();
  REQUIRE(sql(w.db, "SELECT count(*) FROM t WHERE v=1") == "3000\n");
  REQUIRE(w.at_moment(w.holdfast.flush(), "SELECT count(*) FROM t WHERE v=1") == "3000\n");
}

TEST_CASE("a database that a program keeps for itself is told to be unproven", "[sqlite]") {
  Databases w(kTable + fill(500, "1"));
  {
    Holder holder(w.db, "PRAGMA locking_mode=EXCLUSIVE; UPDATE t SET v=2;");
    w.holdfast.flush();
    REQUIRE(has_flag(w.history().back(), "unproven"));
    REQUIRE(w.holdfast.run({"status", "--check"}).exit_code == 3);
    REQUIRE(w.holdfast.text({"status"}).find("may be torn") != std::string::npos);
    holder.kill();
  }
  sql(w.db, "UPDATE t SET v=3");
  REQUIRE(w.at_moment(w.holdfast.flush(), "SELECT count(*) FROM t WHERE v=3") == "500\n");
  REQUIRE_FALSE(has_flag(w.history().back(), "unproven"));
  REQUIRE(w.holdfast.run({"status", "--check"}).exit_code == 0);
}

TEST_CASE("a log that a program keeps for itself is read all the same", "[sqlite]") {
  Databases w;
  Holder holder(w.db, "PRAGMA locking_mode=EXCLUSIVE; UPDATE t SET v=2;");
  REQUIRE_FALSE(exists(w.db + "-shm"));
  REQUIRE(w.at_moment(w.holdfast.flush(), "SELECT count(*) FROM t WHERE v=2") == "500\n");
  REQUIRE_FALSE(has_flag(w.history().back(), "unproven"));
}

TEST_CASE("what only looks like a database is a file", "[sqlite]") {
  Databases w;
  write_file(w.in("magic"), std::string("SQLite format 3\0", 16) + "and no more");
  write_file(w.in("magic-wal"), "a file of its own");
  write_file(w.in("zeros"), std::string("SQLite format 3\0", 16) + std::string(10'000, '\0'));
  write_file(w.in("empty"), "");
  write_file(w.in("empty-journal"), "of nothing");
  write_file(w.in("alone-wal"), "beside nothing");
  make_dir(w.in("dir"));
  write_file(w.in("dir-wal"), "beside a directory");
  REQUIRE(::mkfifo((w.db + "-wal").c_str(), 0600) == 0);
  REQUIRE(::symlink("/etc/passwd", (w.db + "-shm").c_str()) == 0);
  w.holdfast.flush();
  REQUIRE(w.content("magic-wal") == "a file of its own");
  REQUIRE(w.content("empty-journal") == "of nothing");
  REQUIRE(w.content("alone-wal") == "beside nothing");
  REQUIRE(w.content("dir-wal") == "beside a directory");
  REQUIRE(w.content("zeros") == read_file(w.in("zeros")));
  REQUIRE(w.content("magic") == read_file(w.in("magic")));
  REQUIRE(w.content("app.data") == read_file(w.db));
  REQUIRE(w.last_of("app.data-wal").at("type") == "fifo");
  REQUIRE(w.last_of("app.data-shm").at("type") == "symlink");
  w.require_present();
}

TEST_CASE("bits that rot in a database are found, though a program has it open", "[sqlite]") {
  if (!is_root_for("flipping bits below a file system")) return;
  Rotting rot;
  const std::string db = rot.in("app.data");
  sql(db, "PRAGMA journal_mode=WAL;" + kTable + fill(2000, "1"));
  rot.start();
  Holder reader(db, "SELECT count(*) FROM t;");
  rot.holdfast.flush();
  REQUIRE(verify(rot.holdfast, {}, 0).at("findings").empty());
  rot.disk.flip_bit(db, 300'000);
  const TestJson found = verify(rot.holdfast, {}, 3);
  INFO(found.dump());
  REQUIRE(found.at("findings").size() == 1);
  REQUIRE(found.at("findings")[0].at("verdict") == "corrupt");
}

TEST_CASE("a restored database has no log of another moment beside it", "[sqlite]") {
  Databases w;
  const uint64_t first = w.holdfast.flush();
  Holder holder(w.db, "PRAGMA wal_autocheckpoint=0; UPDATE t SET v=2;");
  const uint64_t second = w.holdfast.flush();
  // The file's own bytes are still those of the first moment: what it shows is not.
  const TestJson back =
      w.holdfast.json({"--json", "restore", "data:app.data", "--at", at(first), "--in-place"});
  INFO(back.dump());
  REQUIRE(back.at("changed") == 1);
  REQUIRE(back.at("warnings").dump().find(std::to_string(holder.process.pid())) !=
          std::string::npos);
  REQUIRE_FALSE(exists(w.db + "-wal"));
  REQUIRE_FALSE(exists(w.db + "-shm"));
  REQUIRE(sql(w.db, "PRAGMA integrity_check; SELECT count(*) FROM t WHERE v=1") == "ok\n500\n");
  holder.kill();
  w.holdfast.json({"--json", "restore", "data:app.data", "--at", at(second), "--in-place"});
  REQUIRE(sql(w.db, "PRAGMA integrity_check; SELECT count(*) FROM t WHERE v=2") == "ok\n500\n");
  // What it shows already is left alone, log and all.
  Holder again(w.db, "PRAGMA wal_autocheckpoint=0; UPDATE t SET v=3;");
  const uint64_t third = w.holdfast.flush();
  const TestJson same =
      w.holdfast.json({"--json", "restore", "data:app.data", "--at", at(third), "--in-place"});
  REQUIRE(same.at("changed") == 0);
  REQUIRE(exists(w.db + "-wal"));
}

TEST_CASE("a database that is renamed and deleted while it is captured", "[sqlite]") {
  Databases w;
  Process writer({tool({"write", w.db, w.out("progress"), "wal", "4096", "0"}), "", {}, 0});
  REQUIRE(writer.wait_for_output("writing"));
  for (int i = 0; i < 20; ++i) {
    rename_path(w.db, w.in("moved"));
    w.holdfast.flush();
    rename_path(w.in("moved"), w.db);
    REQUIRE(::symlink("/etc/passwd", w.in("moved").c_str()) == 0);
    w.holdfast.flush();
    REQUIRE(::unlink(w.in("moved").c_str()) == 0);
  }
  writer.signal(SIGKILL);
  writer.wait();
  for (const std::string ending : {"", "-wal", "-shm"}) {
    REQUIRE(::unlink((w.db + ending).c_str()) == 0);
  }
  w.require_present();
  w.holdfast.require_clean();
}

TEST_CASE("a service that is killed while it reads leaves no lock behind", "[sqlite]") {
  Databases w;
  Process writer({tool({"write", w.db, w.out("progress"), "wal", "4096", "0"}), "", {}, 0});
  REQUIRE(writer.wait_for_output("writing"));
  for (int i = 0; i < 3; ++i) {
    w.holdfast.flush();
    w.holdfast.kill();
    w.holdfast.start({"data=" + w.root});
  }
  writer.signal(SIGTERM);
  REQUIRE(writer.wait().exit_code == 0);
  const std::string last = std::to_string(read_progress(w.out("progress")));
  REQUIRE(w.at_moment(w.holdfast.flush(), "SELECT max(n) FROM done") == last + "\n");
  // The last one to close can tidy up, unless just then it is being read once more.
  int tries = 0;
  while (exists(w.db + "-wal") && ++tries < 20) {
    sql(w.db, "SELECT 1 FROM done LIMIT 1");
    w.holdfast.flush();
  }
  REQUIRE(tries < 20);
  w.holdfast.require_clean();
}

TEST_CASE("a version takes the pages that changed, and not the database", "[sqlite]") {
  Databases w("PRAGMA journal_mode=WAL; " + kTable + fill(50'000, "1"));
  const auto stored = [&] {
    return w.holdfast.json({"--json", "status"}).at("store").at("bytes").get<uint64_t>();
  };
  const uint64_t before = stored();
  Holder holder(
      w.db,
      "PRAGMA wal_autocheckpoint=0; UPDATE t SET filler=hex(randomblob(200)) WHERE id % 100 = 0;");
  w.holdfast.flush();
  REQUIRE(has_flag(w.history().back(), "live"));
  const uint64_t grown = stored() - before, whole = read_file(w.db).size();
  WARN(whole << " bytes, a hundredth of the rows changed: " << grown << " bytes more");
  REQUIRE(grown < whole / 8);
}

}  // namespace holdfast
