#include "service/command_run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>

#include "base/fs.h"

namespace holdfast {

namespace {
constexpr int kAskEndMs = 200;

class Tail {
 public:
  explicit Tail(CommandEnd& end) : end_(end) {}
  // Takes what is there. False: nobody has the other end any more.
  bool take(int fd) {
    std::array<char, 16 * 1024> buffer{};
    for (;;) {
      const ssize_t got = ::read(fd, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
      end_.output.append(buffer.data(), static_cast<size_t>(got));
      if (end_.output.size() > 2 * kCommandOutputMax) cut();
    }
  }
  void cut() {
    if (end_.output.size() <= kCommandOutputMax) return;
    const size_t over = end_.output.size() - kCommandOutputMax;
    end_.output.erase(0, over);
    end_.output_cut += over;
  }

 private:
  CommandEnd& end_;
};
}  // namespace

Result<CommandEnd> run_to_end(const CommandRun& run, const std::function<bool()>& stop) {
  TRY_ASSIGN(Pipe pipe, make_pipe());
  ::fcntl(pipe.read_end.get(), F_SETFL, O_NONBLOCK);
  TRY_ASSIGN(
      Child child,
      Child::start(run.args, {run.stdin_fd, pipe.write_end.get(), pipe.write_end.get()}, run.env));
  pipe.write_end.reset();
  CommandEnd end;
  Tail tail(end);
  using Steady = std::chrono::steady_clock;
  const auto limit = Steady::now() + std::chrono::nanoseconds(run.timeout_ns);
  bool open = true;
  for (;;) {
    if (auto ended = child.try_wait()) {
      end.end = *ended;
      break;
    }
    end.stopped = stop();
    end.timed_out = !end.stopped && Steady::now() >= limit;
    if (end.stopped || end.timed_out) {
      end.end = child.end_group();
      break;
    }
    std::array<pollfd, 2> fds{
        {{child.fd(), POLLIN, 0}, {open ? pipe.read_end.get() : -1, POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), kAskEndMs);
    if (open && fds[1].revents != 0) open = tail.take(pipe.read_end.get());
  }
  // What it left in the background may hold the pipe for ever: only what is there by now is taken.
  if (open) tail.take(pipe.read_end.get());
  tail.cut();
  return end;
}

namespace {
size_t kill_with(const std::string& wanted) {
  constexpr size_t kEnvironmentMax = 4 << 20;
  auto proc = open_directory("/proc");
  if (!proc.ok()) return 0;
  auto names = list_names(proc->get());
  if (!names.ok()) return 0;
  size_t killed = 0;
  for (const std::string& entry : *names) {
    pid_t pid = 0;
    const char* end = entry.data() + entry.size();
    const auto [rest, problem] = std::from_chars(entry.data(), end, pid);
    if (problem != std::errc{} || rest != end || pid == ::getpid()) continue;
    const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));  // before it is read
    auto environment = read_whole_file("/proc/" + entry + "/environ", kEnvironmentMax);
    if (!process || !environment.ok()) continue;
    if (('\0' + *environment).find(wanted) == std::string::npos) continue;
    ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
    pollfd ended{process.get(), POLLIN, 0};
    ::poll(&ended, 1, 5000);
    ++killed;
  }
  return killed;
}
}  // namespace

size_t kill_by_environment(const std::string& name, const std::string& value) {
  constexpr int kRounds = 10;  // each finds what those of the one before started meanwhile
  const std::string wanted = '\0' + name + "=" + value + '\0';
  size_t killed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const size_t now = kill_with(wanted);
    if (now == 0) break;
    killed += now;
  }
  return killed;
}

}  // namespace holdfast
