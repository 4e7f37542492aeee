// What a service says to systemd over its notification socket, and what SIGHUP changes.
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <thread>

#include "base/fd.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

// The socket that systemd would listen on.
class Manager {
 public:
  explicit Manager(const WorkDir& work) : path_(work.path("notify")) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path_.size() < sizeof address.sun_path);
    std::copy(path_.begin(), path_.end(), address.sun_path);
    REQUIRE(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  const std::string& path() const { return path_; }
  bool says_something_within(int timeout_ms) const {
    pollfd fd{socket_.get(), POLLIN, 0};
    return !got_.empty() || ::poll(&fd, 1, timeout_ms) == 1;
  }
  // Waits for a message that begins so.
  std::string next(const std::string& beginning, int timeout_ms = 60'000) {
    for (;;) {
      for (size_t i = 0; i < got_.size(); ++i) {
        if (!got_[i].starts_with(beginning)) continue;
        const std::string found = got_[i];
        got_.erase(got_.begin(), got_.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        return found;
      }
      got_.clear();
      INFO("waiting for " << beginning);
      REQUIRE(says_something_within(timeout_ms));
      char bytes[4096];
      const ssize_t size = ::recv(socket_.get(), bytes, sizeof bytes, 0);
      REQUIRE(size > 0);
      got_.emplace_back(bytes, static_cast<size_t>(size));
    }
  }

 private:
  std::string path_;
  Fd socket_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  std::vector<std::string> got_;
};

// A service with a configuration.
struct Configured {
  WorkDir work;
  Holdfast holdfast{work.path("state")};
  Manager manager{work};
  const std::string config = work.path("holdfast.toml");
  std::string first = work.make("first"), second = work.make("second");

  Configured() {
    holdfast.set_env({{"NOTIFY_SOCKET", manager.path()}, {"WATCHDOG_USEC", "200000"}});
    write_file(first + "/file", "one");
    write(watch("first", first));
    holdfast.start({"--config", config});
  }
  static std::string watch(const std::string& name, const std::string& path) {
    return "[[watch]]\nname = \"" + name + "\"\npath = \"" + path + "\"\n";
  }
  void write(const std::string& text) const { write_file(config, text); }
  void reload() {
    holdfast.service().signal(SIGHUP);
    manager.next("RELOADING=1\nMONOTONIC_USEC=");
    manager.next("READY=1");
  }
};

}  // namespace

TEST_CASE("systemd hears what the service does", "[supervision]") {
  Configured c;
  c.manager.next("READY=1");
  // All of it was journaled by then.
  REQUIRE(c.holdfast.text({"cat", "first:file"}) == "one");
  for (int i = 0; i < 5; ++i) c.manager.next("WATCHDOG=1", 10'000);
  write_file(c.first + "/other", "two");
  c.holdfast.flush();
  REQUIRE(c.manager.next("STATUS=watching first: 2 files").find("6 B") != std::string::npos);
  c.holdfast.stop();
  c.manager.next("STOPPING=1");
}

TEST_CASE("a service that hangs does not feed the watchdog", "[supervision]") {
  Configured c;
  c.manager.next("WATCHDOG=1");
  c.holdfast.service().signal(SIGSTOP);
  const std::string stat = "/proc/" + std::to_string(c.holdfast.service().pid()) + "/stat";
  while (read_file(stat).find(") T ") == std::string::npos) std::this_thread::yield();
  while (c.manager.says_something_within(0)) c.manager.next("");  // of before
  REQUIRE_FALSE(c.manager.says_something_within(1000));
  c.holdfast.service().signal(SIGCONT);
  c.manager.next("WATCHDOG=1");
}

TEST_CASE("a reload adds roots and replaces schedules", "[supervision]") {
  Configured c;
  c.manager.next("READY=1");
  write_file(c.second + "/new", "watched from now on");
  c.write(Configured::watch("first", c.first) + Configured::watch("second", c.second) +
          "[snapshot]\nevery = \"1s\"\n");
  c.reload();
  c.holdfast.flush();
  REQUIRE(c.holdfast.text({"cat", "second:new"}) == "watched from now on");
  REQUIRE(c.holdfast.service().wait_for_error("took the snapshot"));
  REQUIRE(c.holdfast.service().wait_for_error("is in force"));
}

TEST_CASE("a reload names what it cannot change, and refuses what is wrong", "[supervision]") {
  Configured c;
  c.manager.next("READY=1");
  SECTION("other excludes") {
    c.write(Configured::watch("first", c.first) + "exclude = [\"*.tmp\"]\n");
    c.reload();
    REQUIRE(c.holdfast.service().wait_for_error(
        "what is excluded in first takes effect only when the service is restarted"));
  }
  SECTION("a root that is gone") {
    c.write(Configured::watch("second", c.second));
    c.reload();
    REQUIRE(c.holdfast.service().wait_for_error("that first is not watched any more takes"));
    REQUIRE(c.holdfast.service().wait_for_error("watching second"));
  }
  SECTION("a mistake") {
    c.write(Configured::watch("first", c.first) + "nonsense = 1\n");
    c.reload();
    REQUIRE(c.holdfast.service().wait_for_error("the one of before stays in force"));
  }
  SECTION("a root within another") {
    make_dir(c.first + "/below");
    c.write(Configured::watch("first", c.first) + Configured::watch("below", c.first + "/below"));
    c.reload();
    REQUIRE(c.holdfast.service().wait_for_error("the one of before stays in force"));
  }
  write_file(c.first + "/file", "goes on");
  c.holdfast.flush();
  REQUIRE(c.holdfast.text({"cat", "first:file"}) == "goes on");
}

TEST_CASE("a reload lets a dump end", "[supervision]") {
  Configured c;
  c.manager.next("READY=1");
  const std::string fifo = c.work.path("fifo"), watch = Configured::watch("first", c.first);
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  const std::string dump =
      "[[dump]]\nname = \"app\"\nevery = \"1h\"\ncommand = [\"cat\", \"" + fifo + "\"]\n";
  c.write(watch + dump);
  c.reload();
  Fd writer(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));  // the dump has begun
  REQUIRE(writer.valid());
  c.write(watch);
  c.holdfast.service().signal(SIGHUP);
  c.manager.next("RELOADING=1");
  REQUIRE(::write(writer.get(), "all of it", 9) == 9);
  writer = Fd();
  c.manager.next("READY=1");
  REQUIRE(c.holdfast.text({"cat", "dumps:app"}) == "all of it");
}

TEST_CASE("a service waits for a command that holds the state", "[supervision]") {
  const WorkDir work;
  const std::string root = work.make("data");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"data=" + root});
  holdfast.stop();
  Fd lock(::open((holdfast.state() + "/lock").c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(::flock(lock.get(), LOCK_EX | LOCK_NB) == 0);
  const auto service = holdfast.launch({"data=" + root});
  SECTION("until it ends") {
    REQUIRE(service->wait_for_error("waiting for it"));
    lock.reset();
    REQUIRE(service->wait_for_error(", ready"));
    service->signal(SIGTERM);
    REQUIRE(service->wait().exit_code == 0);
  }
  SECTION("and not for ever") { REQUIRE(service->wait().exit_code == 6); }
}

}  // namespace holdfast
