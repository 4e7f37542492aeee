// Postgres: a PostgreSQL server of the test's own, of Debian's package.
#pragma once

#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/holdfast_run.h"

namespace holdfast {

// Debian has each version's programs in a directory of its own. "": none is installed.
inline std::string postgres_programs() {
  std::string newest;
  std::error_code none;
  for (const auto& version : std::filesystem::directory_iterator("/usr/lib/postgresql", none)) {
    const std::string bin = version.path().string() + "/bin";
    if (exists(bin + "/postgres") && exists(bin + "/pgbench")) newest = std::max(newest, bin);
  }
  return newest;
}

// A server on a Unix socket, gone with the test. PostgreSQL refuses to run as root.
class Postgres {
 public:
  explicit Postgres(std::string bin) : bin_(std::move(bin)) {
    const char* base = std::getenv("TMPDIR");
    dir_ = std::string(base != nullptr ? base : "/tmp") + "/hf-pg-XXXXXX";
    REQUIRE(::mkdtemp(dir_.data()) != nullptr);
    REQUIRE(::chmod(dir_.c_str(), 0755) == 0);
    if (::geteuid() == 0) {
      const passwd* user = ::getpwnam("postgres");
      REQUIRE(user != nullptr);
      uid_ = user->pw_uid;
      REQUIRE(::chown(dir_.c_str(), uid_, uid_) == 0);
    }
    const Outcome made = run_process(
        {{bin_ + "/initdb", "-D", dir_ + "/data", "-A", "trust", "-U", "postgres", "-N"},
         "/",
         {},
         uid_});
    INFO("initdb said: " << made.err);
    REQUIRE(made.exit_code == 0);
    server_ =
        std::make_unique<Process>(Command{{bin_ + "/postgres", "-D", dir_ + "/data", "-k", dir_,
                                           "-c", "listen_addresses=", "-c", "fsync=off"},
                                          "/",
                                          {},
                                          uid_});
    REQUIRE(server_->wait_for_error("ready to accept connections"));
    sql("postgres", "create database app");
  }
  ~Postgres() {
    server_->signal(SIGINT);
    server_->wait();
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
  }
  Postgres(const Postgres&) = delete;
  Postgres& operator=(const Postgres&) = delete;

  std::vector<std::string> tool(const std::string& name, std::vector<std::string> args) const {
    std::vector<std::string> all{bin_ + "/" + name, "-h", dir_, "-U", "postgres"};
    all.insert(all.end(), args.begin(), args.end());
    return all;
  }
  std::string sql(const std::string& database, const std::string& text) const {
    const Outcome said = run_process({tool("psql", {"-d", database, "-X", "-q", "-t", "-A", "-v",
                                                    "ON_ERROR_STOP=1", "-c", text}),
                                      "/",
                                      {},
                                      0});
    INFO("psql said: " << said.err);
    REQUIRE(said.exit_code == 0);
    return said.out;
  }
  // Row counts and checksums of all that pgbench made.
  std::string sums() const {
    std::string all;
    for (const char* table : {"accounts", "branches", "tellers"}) {
      all +=
          sql("app", std::string("select count(*), sum(hashtext(t::text)::bigint) from pgbench_") +
                         table + " t");
    }
    return all;
  }
  std::string words(const std::string& name, const std::vector<std::string>& args) const {
    std::string joined;
    for (const std::string& word : tool(name, args)) joined += (joined.empty() ? "" : " ") + word;
    return joined;
  }

 private:
  const std::string bin_;
  std::string dir_;
  uid_t uid_ = 0;
  std::unique_ptr<Process> server_;
};

}  // namespace holdfast
