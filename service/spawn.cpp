#include "service/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace holdfast {

namespace {
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
}  // namespace

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno_error(errno, "making a pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

Spawn::Spawn() {
  ::posix_spawn_file_actions_init(&files_);
  ::posix_spawnattr_init(&attributes_);
  sigset_t usual, none;
  ::sigemptyset(&usual);
  for (const int number : {SIGPIPE, SIGIO, SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&usual, number);
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigdefault(&attributes_, &usual);
  ::posix_spawnattr_setsigmask(&attributes_, &none);
  ::posix_spawnattr_setflags(
      &attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

Spawn::~Spawn() {
  ::posix_spawn_file_actions_destroy(&files_);
  ::posix_spawnattr_destroy(&attributes_);
}

void Spawn::read_from(int fd) {
  if (fd >= 0) {
    ::posix_spawn_file_actions_adddup2(&files_, fd, STDIN_FILENO);
  } else {
    ::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  }
}

void Spawn::write_to(int out, int err) {
  if (out >= 0) ::posix_spawn_file_actions_adddup2(&files_, out, STDOUT_FILENO);
  if (err >= 0) ::posix_spawn_file_actions_adddup2(&files_, err, STDERR_FILENO);
}

void Spawn::discard_output() {
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    ::posix_spawn_file_actions_addopen(&files_, fd, "/dev/null", O_WRONLY, 0);
  }
}

void Spawn::into_group(pid_t group) { ::posix_spawnattr_setpgroup(&attributes_, group); }

void Spawn::block_signals() {
  sigset_t all;
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes_, &all);
}

Result<pid_t> Spawn::run(const std::string& program, const std::vector<std::string>& args,
                         const Environment& added) {
  const std::vector<std::string> variables = environment_with(added);
  const std::vector<char*> argv = pointers_to(args), envp = pointers_to(variables);
  pid_t pid = -1;
  const int failed =
      ::posix_spawnp(&pid, program.c_str(), &files_, &attributes_, argv.data(), envp.data());
  if (failed != 0) return errno_error(failed, "starting " + program);
  return pid;
}

}  // namespace holdfast
