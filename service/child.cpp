#include "service/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace holdfast {

namespace {
constexpr int64_t kGraceNs = 5'000'000'000;  // between SIGTERM and SIGKILL
constexpr int64_t kAskNs = 200'000'000;
constexpr int64_t kMillisecondNs = 1'000'000;

ChildEnd end_of(int status) {
  ChildEnd end;
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  if (WIFEXITED(status)) end.exit_status = WEXITSTATUS(status);
  return end;
}

std::vector<std::string> environment_with(const Environment& added) {
  std::vector<std::string> variables;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string variable = *at;
    const bool replaced = std::any_of(added.begin(), added.end(), [&](const auto& other) {
      return variable.starts_with(other.first + "=");
    });
    if (!replaced) variables.push_back(variable);
  }
  for (const auto& [name, value] : added) variables.push_back(name + "=" + value);
  return variables;
}

// As exec() wants them: with a null behind the last.
std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// What posix_spawn wants, freed in any case.
struct SpawnActions {
  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};
  SpawnActions() {
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnActions() {
    ::posix_spawn_file_actions_destroy(&files);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
};
}  // namespace

std::string ChildEnd::words() const {
  if (signal == 0) return "exit status " + std::to_string(exit_status);
  const char* name = ::strsignal(signal);
  return "signal " + std::to_string(signal) +
         (name != nullptr ? std::string(" (") + name + ")" : "");
}

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error(errno, "making a pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

Result<Child> Child::start(const std::vector<std::string>& args, const ChildPipes& pipes,
                           const Environment& added) {
  SpawnActions actions;
  if (pipes.in >= 0) {
    ::posix_spawn_file_actions_adddup2(&actions.files, pipes.in, STDIN_FILENO);
  } else {
    ::posix_spawn_file_actions_addopen(&actions.files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  }
  if (pipes.out >= 0) {
    ::posix_spawn_file_actions_adddup2(&actions.files, pipes.out, STDOUT_FILENO);
  }
  if (pipes.err >= 0) {
    ::posix_spawn_file_actions_adddup2(&actions.files, pipes.err, STDERR_FILENO);
  }
  sigset_t usual, none;
  ::sigemptyset(&usual);
  for (const int number : {SIGPIPE, SIGIO, SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&usual, number);
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&actions.attributes, &usual);
  ::posix_spawnattr_setsigmask(&actions.attributes, &none);
  ::posix_spawnattr_setpgroup(&actions.attributes, 0);
  ::posix_spawnattr_setflags(
      &actions.attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  const std::vector<std::string> variables = environment_with(added);
  const std::vector<char*> argv = pointers_to(args), envp = pointers_to(variables);
  pid_t pid = -1;
  const int failed =
      ::posix_spawnp(&pid, argv[0], &actions.files, &actions.attributes, argv.data(), envp.data());
  if (failed != 0) return errno_error(failed, "starting " + args[0]);
  return Child(pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))));
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pid_fd_(std::move(other.pid_fd_)), end_(other.end_) {}

Child::~Child() {
  if (pid_ < 0 || end_) return;
  ::kill(-pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

std::optional<ChildEnd> Child::try_wait() {
  if (end_) return end_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == pid_) end_ = end_of(status);
  return end_;
}

bool Child::ended_within(int64_t timeout_ns) const {
  pollfd ended{pid_fd_.get(), POLLIN, 0};
  const int64_t ms = std::max<int64_t>(0, timeout_ns / kMillisecondNs);
  return ::poll(&ended, 1, static_cast<int>(std::min<int64_t>(ms, INT32_MAX))) > 0;
}

ChildEnd Child::wait(int64_t timeout_ns, const std::function<bool()>& stop, bool& stopped) {
  stopped = false;
  for (int64_t left_ns = timeout_ns;; left_ns -= kAskNs) {
    if (auto end = try_wait()) return *end;
    stopped = left_ns <= 0 || stop();
    if (stopped) return end_group();
    (void)ended_within(std::min(left_ns, kAskNs));
  }
}

ChildEnd Child::end_group() {
  if (auto end = try_wait()) return *end;
  ::kill(-pid_, SIGTERM);
  if (!ended_within(kGraceNs)) ::kill(-pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  ::kill(-pid_, SIGKILL);  // what it started and left behind
  end_ = end_of(status);
  return *end_;
}

}  // namespace holdfast
