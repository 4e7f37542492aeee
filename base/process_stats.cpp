#include "base/process_stats.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <string>

#include "base/fs.h"

namespace holdfast {

namespace {
// Of /proc/stat: when the machine started, by its wall clock now.
double boot_seconds() {
  const auto stat = read_whole_file("/proc/stat", 1 << 20);
  if (!stat.ok()) return 0;
  const size_t line = stat->find("\nbtime ");
  return line == std::string::npos ? 0 : std::strtod(stat->c_str() + line + 7, nullptr);
}
}  // namespace

Result<ProcessStats> read_process_stats() {
  TRY_ASSIGN(const std::string stat, read_whole_file("/proc/self/stat", 4096));
  // The name in parentheses may hold anything; the numbers are behind the last one.
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) {
    return make_error(ErrorCode::kFailed, "/proc/self/stat is not as the kernel writes it");
  }
  std::istringstream fields(stat.substr(name_end + 1));
  std::string word;
  double user = 0, system = 0, started = 0, virtual_bytes = 0, resident_pages = 0;
  for (int field = 3; field <= 24 && fields >> word; ++field) {
    const double number = std::strtod(word.c_str(), nullptr);
    if (field == 14) user = number;
    if (field == 15) system = number;
    if (field == 22) started = number;
    if (field == 23) virtual_bytes = number;
    if (field == 24) resident_pages = number;
  }
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  ProcessStats stats;
  stats.cpu_seconds = (user + system) / ticks;
  stats.start_seconds = boot_seconds() + started / ticks;
  stats.virtual_bytes = static_cast<uint64_t>(virtual_bytes);
  stats.resident_bytes =
      static_cast<uint64_t>(resident_pages) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  TRY_ASSIGN(const Fd fds, open_directory("/proc/self/fd"));
  TRY_ASSIGN(const auto names, list_names(fds.get()));
  stats.open_fds = names.size() > 1 ? names.size() - 2 : 0;  // without those of this look
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = limit.rlim_cur;
  return stats;
}

}  // namespace holdfast
