#include "tools/client.h"

#include <time.h>

#include <atomic>
#include <cerrno>

#include "base/clock.h"
#include "service/http_client.h"
#include "service/state_access.h"
#include "tools/environment.h"

namespace holdfast {

namespace {

constexpr int kBusyRetries = 100;  // a tenth of a second each: a service that is just starting

std::atomic<bool> client_interrupted{false};

// Cuts the stream into lines.
class LineSplitter {
 public:
  LineSplitter(bool raw, const std::function<void(std::string_view)>& take)
      : raw_(raw), take_(take) {}
  void feed(std::string_view bytes) {
    if (raw_) return take_(bytes);
    held_ += bytes;
    size_t at = 0;
    for (size_t end = held_.find('\n'); end != std::string::npos; end = held_.find('\n', at)) {
      take_(std::string_view(held_).substr(at, end - at));
      at = end + 1;
    }
    held_.erase(0, at);
  }

 private:
  const bool raw_;
  const std::function<void(std::string_view)>& take_;
  std::string held_;
};

class DirectSink final : public ApiSink {
 public:
  explicit DirectSink(LineSplitter& lines) : lines_(lines) {}
  bool write(std::string_view bytes) override {
    lines_.feed(bytes);
    return !client_interrupted;
  }
  bool cancelled() override { return client_interrupted; }

 private:
  LineSplitter& lines_;
};

}  // namespace

Interrupts::Interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { client_interrupted = true; };
  ::sigaction(SIGINT, &action, &int_);
  ::sigaction(SIGTERM, &action, &term_);
}
Interrupts::~Interrupts() {
  ::sigaction(SIGINT, &int_, nullptr);
  ::sigaction(SIGTERM, &term_, nullptr);
}
bool Interrupts::noted() { return client_interrupted; }

// The state, opened in this process.
struct Session::Direct {
  SystemClock clock;
  std::unique_ptr<State> state;
  std::unique_ptr<DirectGate> gate;
  std::unique_ptr<Api> api;
  Interrupts interrupts;

  Status open(const std::string& dir, bool create, Log& log) {
    // Whoever may begin a state asks first, as the service does: a seed that runs before it would
    // else begin the one that the service is told to expect.
    if (create && environment_flag("HOLDFAST_EXPECT_STATE")) TRY(check_state_expected(dir));
    TRY(create ? check_state_access(dir) : check_state_usable(dir));
    TRY_ASSIGN(state, State::open(dir, create, clock, log));
    gate = std::make_unique<DirectGate>(*state, clock, log);
    api = std::make_unique<Api>(*state, *gate, clock);
    return {};
  }
  Status run(const ApiRequest& request, LineSplitter& lines) const {
    DirectSink sink(lines);
    auto status = api->handle(request, sink);
    if (client_interrupted) return make_error(ErrorCode::kInterrupted, "interrupted");
    return status;
  }
};

Session::Session(std::string state_dir, Log& log, bool create)
    : state_dir_(std::move(state_dir)), log_(log), create_(create) {}
Session::~Session() = default;

Status Session::run(const ApiRequest& request, bool raw,
                    const std::function<void(std::string_view)>& take) {
  LineSplitter lines(raw, take);
  const std::function<bool(std::string_view)> body = [&](std::string_view bytes) {
    lines.feed(bytes);
    return true;
  };
  for (int attempt = 0;; ++attempt) {
    if (direct_) return direct_->run(request, lines);
    auto answered = http_request(state_dir_ + "/api.sock", request, body);
    if (answered.ok() || answered.error().sys_errno != ECONNREFUSED) return answered;
    auto direct = std::make_unique<Direct>();
    auto opened = direct->open(state_dir_, create_, log_);
    if (opened.ok()) {
      direct_ = std::move(direct);
      continue;
    }
    const bool unreadable = opened.error().code == ErrorCode::kDamaged ||
                            opened.error().code == ErrorCode::kUnsupported;
    if (request.path == "/v1/check" && unreadable) {
      // What keeps the state from being opened is a finding like any other.
      lines.feed(json_line(check_json({}, 0, request.flag("read_data"), {opened.error().message})));
      return {};
    }
    if (opened.error().code != ErrorCode::kBusy || attempt >= kBusyRetries) return opened;
    const timespec pause{0, 100'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

Status run_request(const std::string& state_dir, const ApiRequest& request, bool raw, Log& log,
                   const std::function<void(std::string_view)>& take) {
  return Session(state_dir, log).run(request, raw, take);
}

int exit_code_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kUsage: return 2;
    case ErrorCode::kNotFound: return 4;
    case ErrorCode::kBusy: return 6;
    case ErrorCode::kInterrupted: return 130;
    default: return 1;
  }
}

int report(const Error& error) {
  std::fprintf(stderr, "holdfast: %s\n", error.message.c_str());
  return exit_code_of(error);
}

}  // namespace holdfast
