#include "service/state_access.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/fd.h"
#include "base/path.h"

namespace holdfast {

namespace {

std::string words_for_owner(const std::string& dir, const struct stat& st) {
  char text[160];
  std::snprintf(text, sizeof text, "belongs to %u:%u with mode %04o, and holdfast runs as %u:%u",
                st.st_uid, st.st_gid, st.st_mode & 07777, ::geteuid(), ::getegid());
  return display_path(dir) + " " + text;
}

}  // namespace

Status check_state_access(const std::string& state_dir) {
  std::string dir = state_dir;
  struct stat st {};
  while (::stat(dir.c_str(), &st) != 0) {
    if (errno != ENOENT || dir == "/") return {};  // opening it says what is wrong
    const auto parent = split_last(dir).first;
    dir = parent.empty() ? "/" : std::string(parent);
  }
  if (::faccessat(AT_FDCWD, dir.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0) return {};
  if (errno == EROFS) {
    return make_error(ErrorCode::kFailed,
                      "the state directory " + display_path(state_dir) +
                          " lies on a file system that is read-only; mount it writable, or "
                          "choose another state with --state");
  }
  if (errno != EACCES) return {};
  const std::string shown = display_path(state_dir);
  const std::string user = std::to_string(::geteuid()) + ":" + std::to_string(::getegid());
  const std::string fix = dir == state_dir
                              ? "chown -R " + user + " " + shown
                              : "mkdir -p -m 0700 " + shown + " && chown " + user + " " + shown;
  return make_error(ErrorCode::kFailed, "cannot write to the state directory " + shown + ": " +
                                            words_for_owner(dir, st) + "; run as root: " + fix);
}

Status check_state_usable(const std::string& state_dir) {
  struct stat st {};
  if (::stat(state_dir.c_str(), &st) != 0) {
    if (errno != EACCES) return {};  // opening it says what is wrong
    return errno_error(errno, "looking at the state directory " + display_path(state_dir));
  }
  if (::faccessat(AT_FDCWD, state_dir.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0) return {};
  if (errno != EACCES) return {};
  return make_error(ErrorCode::kPermission,
                    "cannot use the state: " + words_for_owner(state_dir, st) +
                        "; run the command as that user, or as root");
}

bool is_served(const std::string& state_dir) {
  const std::string path = state_dir + "/api.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Where its queue is full, somebody listens, too.
  return fd && (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 ||
                errno == EAGAIN);
}

Status check_state_expected(const std::string& state_dir) {
  struct stat st {};
  if (::lstat((state_dir + "/repository").c_str(), &st) == 0) return {};
  return make_error(ErrorCode::kNotFound,
                    "there is no state in " + display_path(state_dir) +
                        ", and HOLDFAST_EXPECT_STATE says that there has to be one: is the right "
                        "volume mounted there? To begin anew, leave HOLDFAST_EXPECT_STATE out");
}

}  // namespace holdfast
