// The restore inbox and a real container engine: podman, whose API is Docker's.
#include <signal.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/inboxed.h"

namespace holdfast {
namespace {

using Catch::Contains;
namespace fs = std::filesystem;

// Containers without an image: their root is a directory with one program and its libraries.
class Podman {
 public:
  explicit Podman(const WorkDir& work) : dir_(work.make("podman")) {
    const std::string root = work.make("podman/fs");
    for (const char* name : {"bin", "proc", "dev", "sys", "etc", "run", "tmp"}) {
      make_dir(root + "/" + name);
    }
    run_tool({"sh", "-c",
              "cp -L \"$(command -v sleep)\" '" + root +
                  "/bin/sleep'; for l in $(ldd \"$(command -v sleep)\" | grep -o '/[^ ]*'); do "
                  "mkdir -p '" +
                  root + "'$(dirname $l); cp -L $l '" + root + "'$l; done"});
  }
  ~Podman() {
    for (const std::string& name : names_) run({"rm", "-f", "-t", "0", name});
  }
  Podman(const Podman&) = delete;
  Podman& operator=(const Podman&) = delete;

  std::vector<std::string> command(std::vector<std::string> args) const {
    std::vector<std::string> all{
        "podman",      "--root",           dir_ + "/root", "--runroot",
        dir_ + "/run", "--tmpdir",         dir_ + "/tmp",  "--storage-driver",
        "vfs",         "--cgroup-manager", "cgroupfs",     "--runtime",
        "runc"};
    all.insert(all.end(), args.begin(), args.end());
    return all;
  }
  Outcome run(const std::vector<std::string>& args) const {
    return run_process({command(args), "", {}, 0});
  }
  // "": it runs. Else why this machine has no containers.
  std::string start(const std::string& name) {
    names_.push_back(name);
    const Outcome made =
        run({"create", "--name", name, "--network", "none", "--ulimit", "nofile=1024:1024",
             "--ulimit", "nproc=10000:10000", "--rootfs", dir_ + "/fs", "/bin/sleep", "1000"});
    if (made.exit_code != 0) return made.err;
    const Outcome started = run({"start", name});
    return started.exit_code == 0 ? "" : started.err;
  }
  std::string socket() const { return dir_ + "/api.sock"; }
  std::unique_ptr<Process> serve() const {
    auto service = std::make_unique<Process>(Command{
        command({"--log-level", "info", "system", "service", "--time", "0", "unix://" + socket()}),
        "",
        {},
        0});
    REQUIRE(service->wait_for_error("API service listening"));
    return service;
  }
  std::string state_of(const std::string& name) const {
    return run({"inspect", "--format", "{{.State.Running}}", name}).out;
  }

 private:
  const std::string dir_;
  std::vector<std::string> names_;
};

}  // namespace

TEST_CASE("containers of podman are stopped and started", "[inbox]") {
  if (!is_root_for("containers")) return;
  if (run_process({{"sh", "-c", "command -v podman && command -v runc"}, "", {}, 0}).exit_code) {
    WARN("left out: podman or runc is not installed (./dev deps test does that)");
    return;
  }
  Inboxed inbox;
  Podman podman(inbox.work);
  for (const char* name : {"app-web-1", "app-worker-1"}) {
    if (const std::string why = podman.start(name); !why.empty()) {
      WARN("left out: podman cannot run a container here: " << why);
      return;
    }
  }
  const auto service = podman.serve();
  inbox.write_config("[[inbox]]\npath = \"" + inbox.folder + "\"\ndocker = \"" + podman.socket() +
                     "\"\nstop = [\"app-web-1\", \"app-worker-1\"]\nstop_timeout = \"2s\"\n" +
                     inbox.usual_command());
  // The command sees that they are stopped.
  std::string inspect;
  for (const std::string& word : podman.command({"inspect", "--format", "{{.State.Running}}"})) {
    inspect += word + " ";
  }
  inbox.script(inspect + "app-web-1 app-worker-1 > " + inbox.work.path("seen"));
  SECTION("both running") {
    inbox.start();
    inbox.drop("a.sql", "x");
    inbox.wait_restored("a.sql");
    REQUIRE(read_file(inbox.work.path("seen")) == "false\nfalse\n");
    REQUIRE(podman.state_of("app-web-1") == "true\n");
    REQUIRE(podman.state_of("app-worker-1") == "true\n");
  }
  SECTION("one that does not run stays so, and the service is killed in the middle") {
    REQUIRE(podman.run({"stop", "-t", "0", "app-worker-1"}).exit_code == 0);
    inbox.script(inbox.tell_and_hang());
    inbox.start();
    inbox.drop("a.sql", "x");
    inbox.wait_for_command();
    REQUIRE(podman.state_of("app-web-1") == "false\n");
    inbox.holdfast.kill();
    inbox.start();
    inbox.wait_failed("a.sql");
    REQUIRE(podman.state_of("app-web-1") == "true\n");
    REQUIRE(podman.state_of("app-worker-1") == "false\n");
  }
  SECTION("one that there is not") {
    REQUIRE(podman.run({"rm", "-f", "-t", "0", "app-worker-1"}).exit_code == 0);
    inbox.start();
    inbox.drop("a.sql", "x");
    inbox.wait_failed("a.sql");
    CHECK_THAT(read_file(inbox.failed("a.sql.log")),
               Contains("asking for the container app-worker-1: "));
    REQUIRE(podman.state_of("app-web-1") == "true\n");
  }
}

}  // namespace holdfast
