// Asking file systems that may not answer.
#include "service/disk_probe.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>

namespace holdfast {
namespace {

constexpr int64_t kSoon = 20'000'000, kLong = 60'000'000'000;

// A file system that answers when it is let.
struct Server {
  std::mutex mutex;
  std::condition_variable changed;
  bool up = false;
  int asked = 0;

  Result<Disk> answer(const std::string& path) {
    std::unique_lock lock(mutex);
    ++asked;
    if (path == "/here") return Disk{1, {10, 20}};
    changed.wait(lock, [&] { return up; });
    return Disk{7, {70, 100}};
  }
  int times_asked() {
    const std::lock_guard lock(mutex);
    return asked;
  }
  void start() {
    const std::lock_guard lock(mutex);
    up = true;
    changed.notify_all();
  }
};

}  // namespace

TEST_CASE("a disk that is there answers as the kernel does", "[disk_probe]") {
  DiskProbe probe;
  struct stat st {};
  REQUIRE(::stat("/", &st) == 0);
  const auto disk = probe.ask("/", kLong);
  REQUIRE(disk.ok());
  REQUIRE(disk->device == st.st_dev);
  REQUIRE(disk->space.total_bytes > 0);
  REQUIRE(probe.ask("/no/such/place", kLong).error().code == ErrorCode::kNotFound);
}

TEST_CASE("a disk that does not answer holds up nobody and nothing else", "[disk_probe]") {
  const auto server = std::make_shared<Server>();
  DiskProbe probe([server](const std::string& path) { return server->answer(path); });
  const auto both = probe.ask_all({"/far", "/here"}, kSoon);
  REQUIRE_FALSE(both[0].ok());
  REQUIRE(both[0].error().code == ErrorCode::kBusy);
  REQUIRE(both[0].error().message == "the file system of /far does not answer within 20 ms");
  REQUIRE(both[1].ok());
  REQUIRE(both[1]->space.free_bytes == 10);

  SECTION("and has one question at a time, whose answer comes when it can") {
    for (int i = 0; i < 3; ++i) REQUIRE_FALSE(probe.ask("/far", kSoon).ok());
    REQUIRE(server->times_asked() == 2);  // "/here", and "/far" once
    server->start();
    const auto far = probe.ask("/far", kLong);
    REQUIRE(far.ok());
    REQUIRE(far->device == 7);
  }
  SECTION("and is asked anew after that") {
    server->start();
    REQUIRE(probe.ask("/far", kLong).ok());
    REQUIRE(probe.ask("/far", kLong).ok());
    REQUIRE(server->times_asked() >= 3);
  }
  server->start();
}

}  // namespace holdfast
