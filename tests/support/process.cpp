#include "tests/support/process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <cstdlib>

namespace holdfast {

const std::string& holdfast_binary() {
  static const std::string path = [] {
    const char* given = std::getenv("HOLDFAST_TEST_BINARY");
    return std::string(given != nullptr ? given : HOLDFAST_BINARY);
  }();
  return path;
}

bool binary_is_sanitized() {
#ifdef HOLDFAST_BINARY_SANITIZED
  return true;
#else
  return std::getenv("HOLDFAST_TEST_BINARY") != nullptr;
#endif
}

namespace {

std::vector<std::string> environment_with(
    const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> all;
  for (const auto& [name, value] : added) all.push_back(name + "=" + value);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    bool replaced = false;
    for (const auto& [key, value] : added) replaced = replaced || key == name;
    if (!replaced) all.push_back(text);
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

// Between fork and exec: only what is safe while other threads hold locks.
[[noreturn]] void become(const Command& command, char** args, char** env, int out, int err) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int null = ::open("/dev/null", O_RDONLY);
  ::dup2(null, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!command.cwd.empty() && ::chdir(command.cwd.c_str()) != 0) ::_exit(126);
  if (command.uid != 0) {
    const gid_t group = command.uid;
    if (::setgroups(0, nullptr) != 0 || ::setgid(group) != 0 || ::setuid(command.uid) != 0) {
      ::_exit(126);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // forgotten when the user changes
  }
  ::execvpe(args[0], args, env);
  ::_exit(127);
}

}  // namespace

Process::Stream::~Stream() {
  if (thread_.joinable()) thread_.join();
}

void Process::Stream::follow(Fd fd) {
  thread_ = std::thread([this, fd = std::move(fd)] {
    char buffer[65536];
    for (;;) {
      const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      std::lock_guard lock(mutex_);
      if (got <= 0) ended_ = true;
      if (got > 0) text_.append(buffer, static_cast<size_t>(got));
      changed_.notify_all();
      if (got <= 0) return;
    }
  });
}

bool Process::Stream::wait_for(const std::string& text, int timeout_ms) {
  std::unique_lock lock(mutex_);
  bool found = false;
  changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] {
    found = text_.find(text) != std::string::npos;
    return found || ended_;
  });
  return found;
}

std::string Process::Stream::text() const {
  std::lock_guard lock(mutex_);
  return text_;
}

std::string Process::Stream::finish() {
  if (thread_.joinable()) thread_.join();
  return text();
}

Process::Process(const Command& command) {
  std::vector<std::string> args = command.args;
  std::vector<std::string> env = environment_with(command.env);
  const std::vector<char*> arg_pointers = pointers(args);
  const std::vector<char*> env_pointers = pointers(env);
  int out[2], err[2];
  REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(err, O_CLOEXEC) == 0);
  Fd out_read(out[0]), out_write(out[1]), err_read(err[0]), err_write(err[1]);
  pid_ = ::fork();
  if (pid_ == 0) {
    become(command, const_cast<char**>(arg_pointers.data()),
           const_cast<char**>(env_pointers.data()), out_write.get(), err_write.get());
  }
  REQUIRE(pid_ > 0);
  pid_fd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  out_write.reset();
  err_write.reset();
  out_.follow(std::move(out_read));
  err_.follow(std::move(err_read));
  REQUIRE(pid_fd_.valid());
}

Process::~Process() {
  if (outcome_) return;
  signal(SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool Process::running() const {
  pollfd poll_fd{pid_fd_.get(), POLLIN, 0};
  return !outcome_ && ::poll(&poll_fd, 1, 0) == 0;
}

void Process::signal(int number) const {
  if (!outcome_) ::kill(pid_, number);
}

Outcome Process::wait(int timeout_ms) {
  if (outcome_) return *outcome_;
  Outcome outcome;
  pollfd poll_fd{pid_fd_.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&poll_fd, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) {
    outcome.timed_out = true;
    signal(SIGKILL);
  }
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = out_.finish();
  outcome.err = err_.finish();
  outcome_ = outcome;
  return outcome;
}

bool Process::wait_for_output(const std::string& text, int timeout_ms) {
  return out_.wait_for(text, timeout_ms);
}

bool Process::wait_for_error(const std::string& text, int timeout_ms) {
  return err_.wait_for(text, timeout_ms);
}

Outcome run_process(const Command& command, int timeout_ms) {
  Process process(command);
  Outcome outcome = process.wait(timeout_ms);
  if (outcome.timed_out) {
    FAIL(command.args[0] << " did not end within " << timeout_ms << " ms; it said: " << outcome.out
                         << outcome.err);
  }
  return outcome;
}

Outcome run_tool(const std::vector<std::string>& args) {
  Outcome outcome = run_process({args, "", {}, 0});
  if (outcome.exit_code != 0) {
    FAIL(args[0] << " failed with " << outcome.exit_code << ": " << outcome.out << outcome.err);
  }
  return outcome;
}

}  // namespace holdfast
