// Loaded into the program under test: shifts its wall clock by what stands in a file, and no other
// clock. The kernel and all other programs keep the real time, so that a test neither disturbs the
// machine nor needs a right to do so.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

// Nanoseconds; nullptr where nothing is to be shifted. The mapping is for the program's whole life.
const volatile int64_t* map_shift() {
  const char* path = std::getenv("HOLDFAST_TEST_CLOCK_SHIFT");
  if (path == nullptr) return nullptr;
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) std::abort();
  void* mapping = ::mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  if (mapping == MAP_FAILED) std::abort();
  return static_cast<const volatile int64_t*>(mapping);
}

using ClockGettime = int (*)(clockid_t, timespec*);

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* out) {
  static const auto real = reinterpret_cast<ClockGettime>(::dlsym(RTLD_NEXT, "clock_gettime"));
  static const volatile int64_t* const shift_ns = map_shift();
  const int failed = real(clock, out);
  const bool wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  if (failed != 0 || !wall || shift_ns == nullptr) return failed;
  constexpr int64_t kSecond = 1'000'000'000;
  const int64_t ns = out->tv_sec * kSecond + out->tv_nsec + *shift_ns;
  out->tv_sec = ns / kSecond;
  out->tv_nsec = ns % kSecond;
  return 0;
}
