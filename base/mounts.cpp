#include "base/mounts.h"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>

#include "base/fs.h"

namespace holdfast {

namespace {
constexpr const char* kPath = "/proc/self/mountinfo";
constexpr size_t kBytesMax = 64 << 20;

std::string_view next_field(std::string_view& line) {
  const size_t end = line.find(' ');
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
  return field;
}

// The kernel writes a space, a tab, a newline, a backslash and # as a backslash and three octal
// digits.
std::string unescape(std::string_view text) {
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escaped = text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) &&
                         is_octal(text[i + 2]) && is_octal(text[i + 3]);
    if (!escaped) {
      out += text[i];
      continue;
    }
    out +=
        static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return out;
}
}  // namespace

// A line: id, parent's id, device, root within the file system, mount point, options, any number of
// tagged fields, "-", type, source, options of the file system. (proc(5))
std::vector<MountPoint> parse_mountinfo(std::string_view text) {
  std::vector<MountPoint> mounts;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    for (int i = 0; i < 4; ++i) next_field(line);
    MountPoint mount;
    mount.path = unescape(next_field(line));
    while (!line.empty() && next_field(line) != "-") {
    }
    mount.fs_type = unescape(next_field(line));
    mount.source = unescape(next_field(line));
    if (mount.path.starts_with("/") && !mount.fs_type.empty()) mounts.push_back(std::move(mount));
  }
  return mounts;
}

Result<MountTable> MountTable::open() {
  Fd fd(::open(kPath, O_RDONLY | O_CLOEXEC));
  if (!fd) return errno_error(errno, std::string("opening ") + kPath);
  return MountTable(std::move(fd));
}

bool MountTable::changed() const {
  pollfd poll_fd{fd_.get(), POLLPRI, 0};
  return ::poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLPRI) != 0;
}

Result<std::vector<MountPoint>> MountTable::read() const {
  TRY_ASSIGN(const std::string text, read_whole_file(kPath, kBytesMax));
  return parse_mountinfo(text);
}

}  // namespace holdfast
