// Loaded into the program under test: kills it right after a file got its name, when there is a
// certain text in it. So a test has a crash behind a durable step, and just there.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

namespace {

std::string read_file(const char* path) {
  std::string text(1 << 20, '\0');
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? 0 : ::read(fd, text.data(), text.size());
  if (fd >= 0) ::close(fd);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

using Rename = int (*)(const char*, const char*);

}  // namespace

extern "C" int rename(const char* from, const char* to) noexcept {
  static const auto real = reinterpret_cast<Rename>(::dlsym(RTLD_NEXT, "rename"));
  const int failed = real(from, to);
  const char* file = std::getenv("HOLDFAST_TEST_KILL_AT");
  const char* text = std::getenv("HOLDFAST_TEST_KILL_TEXT");
  if (failed == 0 && file != nullptr && text != nullptr && std::string_view(to) == file &&
      read_file(to).find(text) != std::string::npos) {
    ::kill(::getpid(), SIGKILL);
  }
  return failed;
}
