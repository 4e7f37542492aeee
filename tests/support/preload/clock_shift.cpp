// Loaded into the program under test: shifts its wall clock, and the clock that counts since boot,
// by what stands in a file, and no other clock. The kernel and all other programs keep the real
// time, so that a test neither disturbs the machine nor needs a right to do so.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

// As tests/support/shifted_clock.h writes them: nanoseconds.
struct Shift {
  int64_t wall_ns, boottime_ns;
};

// nullptr where nothing is to be shifted. The mapping is for the program's whole life.
const volatile Shift* map_shift() {
  const char* path = std::getenv("HOLDFAST_TEST_CLOCK_SHIFT");
  if (path == nullptr) return nullptr;
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) std::abort();
  void* mapping = ::mmap(nullptr, sizeof(Shift), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  if (mapping == MAP_FAILED) std::abort();
  return static_cast<const volatile Shift*>(mapping);
}

using ClockGettime = int (*)(clockid_t, timespec*);

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* out) {
  static const auto real = reinterpret_cast<ClockGettime>(::dlsym(RTLD_NEXT, "clock_gettime"));
  static const volatile Shift* const shift = map_shift();
  const int failed = real(clock, out);
  const bool wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  if (failed != 0 || shift == nullptr || (!wall && clock != CLOCK_BOOTTIME)) return failed;
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t ns =
      out->tv_sec * kSecond + out->tv_nsec + (wall ? shift->wall_ns : shift->boottime_ns);
  out->tv_sec = ns / kSecond;
  out->tv_nsec = ns % kSecond;
  return 0;
}
