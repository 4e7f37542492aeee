#include "bench/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string_view>

#include "base/fs.h"

extern char** environ;

namespace holdfast::bench {

namespace {

constexpr auto kSampleEvery = std::chrono::milliseconds(5);
constexpr double kStartSecondsMax = 60;

Result<pid_t> spawn(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const int code = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (code != 0) return errno_error(code, "starting " + arguments[0]);
  return pid;
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

Result<Usage> wait_for(pid_t pid, const std::string& name) {
  int status = 0;
  rusage used{};
  while (::wait4(pid, &status, 0, &used) < 0) {
    if (errno != EINTR) return errno_error(errno, "waiting for " + name);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    const std::string how = WIFEXITED(status)
                                ? " exited with " + std::to_string(WEXITSTATUS(status))
                                : " was ended by signal " + std::to_string(WTERMSIG(status));
    return make_error(ErrorCode::kFailed, name + how);
  }
  return Usage{0, seconds_of(used.ru_utime) + seconds_of(used.ru_stime),
               static_cast<uint64_t>(used.ru_maxrss) * 1024};
}

// A number of /proc/PID/status, in bytes; 0 where there is none.
uint64_t status_bytes(pid_t pid, std::string_view field) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with(field)) return std::stoull(line.substr(field.size())) * 1024;
  }
  return 0;
}

Result<Fd> connect_to(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return make_error(ErrorCode::kUsage, socket_path + " is too long for a socket's path");
  }
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error(errno, "creating a socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return errno_error(errno, "connecting to " + socket_path);
  }
  return fd;
}

}  // namespace

double now_s() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

Result<Usage> run_command(const std::vector<std::string>& arguments) {
  const double start = now_s();
  TRY_ASSIGN(const pid_t pid, spawn(arguments));
  TRY_ASSIGN(Usage usage, wait_for(pid, arguments[0]));
  usage.wall_s = now_s() - start;
  return usage;
}

std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

Result<Usage> run_pipeline(const std::string& commands) {
  return run_command({"bash", "-o", "pipefail", "-c", commands});
}

// Also after a start that failed: the sampler runs then.
ServiceRun::~ServiceRun() { (void)stop().ok(); }

Result<Usage> ServiceRun::start(const std::string& program, const std::string& state,
                                const std::string& tree, const std::vector<std::string>& options) {
  const double start = now_s();
  std::vector<std::string> command{program, "--state", state, "--quiet", "watch", "tree=" + tree};
  command.insert(command.end(), options.begin(), options.end());
  TRY_ASSIGN(pid_, spawn(command));
  sampling_ = true;
  sampler_ = std::thread([this] { sample(); });
  for (;;) {
    if (auto socket = connect_to(state + "/api.sock"); socket.ok()) {
      socket_ = std::move(*socket);
      break;
    }
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      return make_error(ErrorCode::kFailed, "the service ended before it could answer");
    }
    if (now_s() - start > kStartSecondsMax) {
      return make_error(ErrorCode::kFailed, "the service does not open its socket");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  TRY(flush());
  return Usage{now_s() - start, cpu_s(), status_bytes(pid_, "VmHWM:")};
}

// The answer is one JSON line in chunked transfer encoding, which an empty chunk ends.
Status ServiceRun::flush() {
  TRY(write_full(socket_.get(),
                 "POST /v1/flush HTTP/1.1\r\nHost: holdfast\r\nContent-Length: 0\r\n\r\n"));
  std::string answer;
  while (!answer.ends_with("0\r\n\r\n")) {
    char piece[4096];
    const ssize_t got = ::read(socket_.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      return make_error(ErrorCode::kFailed, "the service broke its answer off: " + answer);
    answer.append(piece, static_cast<size_t>(got));
    if (!answer.starts_with("HTTP/1.1 200")) {
      return make_error(ErrorCode::kFailed, "the service answered a flush with " + answer);
    }
  }
  if (answer.find("\"seq\"") == std::string::npos) {
    return make_error(ErrorCode::kFailed, "the flush has no sequence: " + answer);
  }
  return {};
}

Status ServiceRun::stop() {
  sampling_ = false;
  if (sampler_.joinable()) sampler_.join();
  socket_.reset();
  if (pid_ <= 0) return {};
  ::kill(pid_, SIGTERM);
  auto usage = wait_for(std::exchange(pid_, -1), "the service");
  return usage.ok() ? Status() : Status(usage.error());
}

double ServiceRun::cpu_s() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
  std::string line;
  std::getline(file, line);
  // Fields 14 and 15, counted from behind the name, which may hold anything.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  size_t at = name_end + 1;
  for (int field = 3; field < 14; ++field) at = line.find(' ', at + 1);
  char* rest = nullptr;
  const double user = std::strtod(line.c_str() + at, &rest);
  const double kernel = std::strtod(rest, nullptr);
  return (user + kernel) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

uint64_t ServiceRun::anonymous_bytes() const { return status_bytes(pid_, "RssAnon:"); }

void ServiceRun::sample() {
  while (sampling_) {
    const uint64_t bytes = anonymous_bytes();
    if (bytes > peak_) peak_ = bytes;
    std::this_thread::sleep_for(kSampleEvery);
  }
}

Status LogFollower::start(const std::string& state) {
  TRY_ASSIGN(socket_, connect_to(state + "/api.sock"));
  TRY(write_full(socket_.get(), "GET /v1/log?limit=1&follow=1 HTTP/1.1\r\nHost: holdfast\r\n\r\n"));
  return wait_for("\"seq\":");  // from here on it follows
}

Status LogFollower::wait_for(const std::string& text) {
  for (;;) {
    if (const size_t at = unread_.find(text); at != std::string::npos) {
      unread_.erase(0, at + text.size());
      return {};
    }
    char piece[16 * 1024];
    const ssize_t got = ::read(socket_.get(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return make_error(ErrorCode::kFailed, "the service ended its log");
    unread_.append(piece, static_cast<size_t>(got));
  }
}

}  // namespace holdfast::bench
