// A root on a file system that stops answering, as when a server is gone: bindfs, which is stopped.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include <catch2/catch.hpp>

#include "base/fd.h"
#include "tests/support/mounts.h"
#include "tests/support/process.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

using Catch::Contains;

// What is in `far` is shown by a program that can be stopped.
struct Hanging {
  WorkDir work;
  std::string near{work.make("near")}, behind{work.make("behind")}, far{work.make("far")};
  std::unique_ptr<Process> program;
  Holdfast holdfast{work.path("state")};

  // False: there is no FUSE here.
  bool start() {
    if (!Fd(::open("/dev/fuse", O_RDWR | O_CLOEXEC))) {
      WARN("left out: /dev/fuse cannot be opened");
      return false;
    }
    enter_mount_namespace();
    write_file(behind + "/file", "far away");
    program = std::make_unique<Process>(Command{{"bindfs", "-f", behind, far}, "", {}});
    for (int i = 0; i < 1000 && program->running() && !exists(far + "/file"); ++i) {
      ::poll(nullptr, 0, 10);
    }
    if (!program->running()) {
      WARN("left out: bindfs does not run: " + program->wait().err);
      return false;
    }
    holdfast.start({"far=" + far, "near=" + near});
    holdfast.flush();
    REQUIRE(holdfast.text({"cat", "far:file"}) == "far away");
    return true;
  }
  // The loop meets what hangs when it looks at the root.
  void hang() {
    program->signal(SIGSTOP);
    write_file(near + "/file", "here");
    REQUIRE(holdfast.run({"flush", "--timeout", "100ms"}).exit_code != 0);
  }
  ~Hanging() {
    if (!program) return;
    program->signal(SIGKILL);  // which ends what hangs in it
    program->signal(SIGCONT);
  }
};

}  // namespace

TEST_CASE("a root whose file system does not answer is named", "[lost]") {
  Hanging h;
  if (!h.start()) return;
  h.hang();
  const Outcome checked = h.holdfast.run({"status", "--check"});
  INFO(checked.out << checked.err);
  REQUIRE(checked.exit_code == 3);
  REQUIRE_THAT(checked.out,
               Contains("loop: the service does not answer: not within 5.0 s; ") &&
                   Contains("coverage: far: its file system does not answer: not within 1.0 s; ") &&
                   Contains("umount -f " + h.far) && !Contains("near: "));
  const Outcome status = h.holdfast.run({"status"});
  REQUIRE(status.exit_code == 1);
  REQUIRE_THAT(status.err, Contains("far: its file system does not answer"));

  SECTION("and when it answers again, all goes on") {
    h.program->signal(SIGCONT);
    h.holdfast.flush();
    REQUIRE(h.holdfast.text({"cat", "near:file"}) == "here");
    write_file(h.far + "/file", "far away, and changed");
    h.holdfast.flush();
    REQUIRE(h.holdfast.text({"cat", "far:file"}) == "far away, and changed");
    REQUIRE(h.holdfast.run({"status", "--check"}).exit_code == 0);
  }
  SECTION("and when it is given up, that root is lost, and the others go on") {
    h.program->signal(SIGKILL);
    const Outcome flushed = h.holdfast.run({"flush"});
    REQUIRE(flushed.exit_code != 0);
    REQUIRE_THAT(flushed.err, Contains("all other roots are durable"));
    REQUIRE(h.holdfast.text({"cat", "near:file"}) == "here");
    REQUIRE(h.holdfast.text({"cat", "far:file"}) == "far away");
    const Outcome lost = h.holdfast.run({"status", "--check"});
    REQUIRE(lost.exit_code == 3);
    REQUIRE_THAT(lost.out, Contains("coverage: far: ") && !Contains("loop: "));
    REQUIRE(h.holdfast.lines({"log", "--kind", "delete"}).empty());
  }
  h.holdfast.stop();
}

}  // namespace holdfast
