#include "service/service.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <future>
#include <thread>

#include "base/loop.h"
#include "base/path.h"
#include "base/step_alarm.h"
#include "service/alert_bell.h"
#include "service/api.h"
#include "service/http_server.h"
#include "service/parts.h"
#include "service/probe_answer.h"
#include "service/probe_server.h"
#include "service/state_access.h"
#include "service/supervisor.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr int kLockRetries = 100;    // a tenth of a second each
constexpr size_t kPostedMax = 4096;  // who asks again and again while nobody answers

// Requests hop to the loop's thread as closures and are answered through promises.
class ServiceGate final : public Gate {
 public:
  ServiceGate(Engine& engine, Loop& loop) : engine_(engine), loop_(loop) {}

  Result<Sequence> flush(int64_t timeout_ns) override {
    return ask<Sequence>(
        [this](auto answer) {
          engine_.flush([answer](Result<Sequence> result) { (*answer)(result); });
        },
        timeout_ns);
  }
  Result<Snapshot> snapshot(const std::string& message,
                            const std::vector<std::pair<std::string, std::string>>& tags) override {
    return ask<Snapshot>([&](auto answer) { (*answer)(engine_.snapshot(message, tags)); });
  }
  Status remove_snapshot(const std::string& name) override {
    auto done = ask<bool>([&](auto answer) {
      auto status = engine_.remove_snapshot(name);
      (*answer)(status.ok() ? Result<bool>(true) : Result<bool>(status.error()));
    });
    return done.ok() ? Status() : Status(done.error());
  }
  Result<Sequence> journal_note(RecordKind kind, NodeId root, const std::string& note) override {
    return ask<Sequence>([&](auto answer) { (*answer)(engine_.journal_note(kind, root, note)); });
  }
  Result<EngineStatus> status() override {
    return ask<EngineStatus>([&](auto answer) { (*answer)(engine_.status()); });
  }
  Result<EngineStatus> status_within(int64_t timeout_ns) override {
    return ask<EngineStatus>([this](auto answer) { (*answer)(engine_.status()); }, timeout_ns);
  }
  Status with_engine(std::function<void(Engine&, Done)> call) override {
    auto done = ask<bool>([this, call](auto answer) {
      call(engine_, [answer](const Status& status) {
        (*answer)(status.ok() ? Result<bool>(true) : Result<bool>(status.error()));
      });
    });
    return done.ok() ? Status() : Status(done.error());
  }
  bool watches() const override { return true; }
  std::optional<Sequence> wait_commit(Sequence after, int64_t timeout_ns) override {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::nanoseconds(timeout_ns),
                      [&] { return closed_ || committed_ > after; });
    if (closed_) return std::nullopt;
    return committed_;
  }

  // The loop's side.
  void run_posted() {
    std::deque<std::function<void()>> posted;
    {
      std::lock_guard lock(mutex_);
      posted.swap(posted_);
    }
    for (auto& call : posted) call();
  }
  void committed(Sequence seq) {
    std::lock_guard lock(mutex_);
    committed_ = seq;
    changed_.notify_all();
  }
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    posted_.clear();  // breaks their promises, which wakes who waits
    changed_.notify_all();
  }

 private:
  // Answers once, and breaks its promise when it is dropped without an answer.
  template <class T>
  class Answer {
   public:
    explicit Answer(std::promise<Result<T>> promise) : promise_(std::move(promise)) {}
    void operator()(Result<T> result) { promise_.set_value(std::move(result)); }

   private:
    std::promise<Result<T>> promise_;
  };

  template <class T, class Call>
  Result<T> ask(Call call, int64_t timeout_ns = INT64_MAX) {
    std::promise<Result<T>> promise;
    auto future = promise.get_future();
    auto answer = std::make_shared<Answer<T>>(std::move(promise));
    {
      std::lock_guard lock(mutex_);
      if (closed_) return make_error(ErrorCode::kInterrupted, "the service is stopping");
      if (posted_.size() >= kPostedMax) {
        return make_error(ErrorCode::kFailed, "too much waits for the service's loop already");
      }
      posted_.emplace_back([call, answer] { call(answer); });
    }
    answer.reset();
    loop_.wake();
    const auto limit = std::chrono::nanoseconds(std::min<int64_t>(timeout_ns, INT64_MAX / 4));
    if (future.wait_for(limit) != std::future_status::ready) {
      return make_error(ErrorCode::kFailed, "no answer within " + words_for_duration(timeout_ns));
    }
    try {
      return future.get();
    } catch (const std::future_error&) {
      return make_error(ErrorCode::kInterrupted, "the service stopped before it could answer");
    }
  }

  Engine& engine_;
  Loop& loop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> posted_;
  Sequence committed_;
  bool closed_ = false;
};

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Status check_roots(const std::vector<RootSpec>& roots) {
  for (const RootSpec& root : roots) {
    struct stat st {};
    if (::stat(root.path.c_str(), &st) != 0) {
      return errno_error(errno, "cannot watch " + display_path(root.path)).in("root " + root.name);
    }
    if (!S_ISDIR(st.st_mode)) {
      return make_error(ErrorCode::kUsage,
                        "cannot watch " + display_path(root.path) +
                            ": it is not a directory; name the directory that holds it");
    }
    for (const RootSpec& other : roots) {
      if (&other == &root) continue;
      if (other.name == root.name) {
        return make_error(ErrorCode::kUsage,
                          "two roots are named " + root.name + "; give names with NAME=DIR");
      }
      if (path_below(root.path, other.path)) {
        return make_error(ErrorCode::kUsage,
                          display_path(root.path) + " lies inside the root " +
                              display_path(other.path) +
                              ", which watches it already; leave one of them out");
      }
    }
  }
  return {};
}

// The engine's turns on the loop.
class Turner {
 public:
  Turner(Engine& engine, ServiceGate& gate, Loop& loop, const Clock& clock, Supervisor& supervisor)
      : engine_(engine), gate_(gate), loop_(loop), clock_(clock), supervisor_(supervisor) {}

  void turn() {
    turn_once();
    supervisor_.turned();
  }

 private:
  void turn_once() {
    engine_.drain_watchers();
    gate_.run_posted();
    bool more = false;
    for (int i = 0; i < 16; ++i) {
      more = engine_.step();
      if (!more) break;
    }
    if (more) {
      loop_.wake();
      return;
    }
    const int64_t next = engine_.next_wake_ns();
    loop_.set_timer(next == INT64_MAX ? -1 : std::max<int64_t>(0, next - clock_.boottime_ns()));
  }

  Engine& engine_;
  ServiceGate& gate_;
  Loop& loop_;
  const Clock& clock_;
  Supervisor& supervisor_;
};

// Both outlive the loop's run.
Status follow_descriptors(Engine& engine, Loop& loop, Turner& turner) {
  if (engine.watch_fd() >= 0) {  // else there are dumps alone
    TRY(loop.on_readable(engine.watch_fd(), [&turner] { turner.turn(); }));
  }
  if (engine.mount_fd() < 0) return {};
  return loop.on_priority(engine.mount_fd(), [&engine, &turner] {
    engine.mounts_changed();
    turner.turn();
  });
}

// SIGHUP: what changed in the configuration takes effect, or is named.
class Reload {
 public:
  Reload(ServiceOptions options, Engine& engine, ServiceParts& parts, Supervisor& supervisor,
         Log& log)
      : options_(std::move(options)),
        engine_(engine),
        parts_(parts),
        supervisor_(supervisor),
        log_(log) {}

  void reload() {
    supervisor_.reloading();
    if (auto done = try_reload(); !done.ok()) {
      log_.error("reading the configuration again: " + done.error().message +
                 "; the one of before stays in force");
      supervisor_.reloaded();
    }
  }

 private:
  Status try_reload() {
    if (!options_.reread) {
      return make_error(ErrorCode::kUsage, "the service was started without --config");
    }
    TRY_ASSIGN(const ServiceOptions next, options_.reread());
    const auto is_new = [&](const RootSpec& root) {
      return std::none_of(options_.roots.begin(), options_.roots.end(),
                          [&](const RootSpec& old) { return old.name == root.name; });
    };
    std::vector<RootSpec> roots = options_.roots;
    std::copy_if(next.roots.begin(), next.roots.end(), std::back_inserter(roots), is_new);
    TRY(check_roots(roots));
    for (size_t i = options_.roots.size(); i < roots.size(); ++i) {
      TRY(engine_.add_root(roots[i]));
      options_.roots.push_back(roots[i]);
      log_.info("watching " + roots[i].name + " = " + display_path(roots[i].path));
    }
    for (const std::string& words : words_for_restart(options_, next)) {
      log_.warn("the configuration was read again, but " + words +
                " takes effect only when the service is restarted");
    }
    engine_.set_space_limits(next.space);
    parts_.replace(next.parts, [this] {
      log_.info("the configuration that was read again is in force");
      supervisor_.reloaded();
    });
    return {};
  }

  ServiceOptions options_;  // of which `parts` is what was at the start
  Engine& engine_;
  ServiceParts& parts_;
  Supervisor& supervisor_;
  Log& log_;
};

// What wakes the loop. All outlive its run.
Status connect_loop(Loop& loop, Engine& engine, Turner& turner, std::optional<StepAlarm>& alarm,
                    Log& log) {
  TRY(follow_descriptors(engine, loop, turner));
  loop.on_wake([&turner] { turner.turn(); });
  auto created = StepAlarm::create();
  if (created.ok()) {
    alarm.emplace(std::move(*created));
    TRY(loop.on_readable(alarm->fd(), [&alarm, &turner] {
      alarm->take();
      turner.turn();
    }));
  } else {
    log.warn(created.error().message + "; a step of the clock is seen at the next change only");
  }
  for (const int signal_number : {SIGTERM, SIGINT}) {
    TRY(loop.on_signal(signal_number, [&loop] { loop.stop(); }));
  }
  return {};
}

// Before anything is journaled, because an address that is taken ends the start.
Result<Fd> listen_for_probes(const ServiceOptions& options, Log& log) {
  if (!options.listen) return Fd();
  TRY_ASSIGN(Fd listener, ProbeServer::listen_on(*options.listen));
  log.info("/healthz, /readyz and /metrics are at http://" + words_for(*options.listen));
  return listener;
}

// nullptr: none are asked for.
Result<std::unique_ptr<ProbeServer>> start_probes(Fd listener, Api& api) {
  if (!listener) return std::unique_ptr<ProbeServer>();
  return ProbeServer::start(std::move(listener), [&api](const ProbeRequest& request) {
    return answer_probe(api, request);
  });
}

// A command that found no service holds the state for as long as it takes, and is waited for: a
// probe in the moment of a start must not keep the service from it.
Result<std::unique_ptr<State>> open_state(const std::string& dir, const Clock& clock, Log& log) {
  for (int attempt = 0;; ++attempt) {
    auto state = State::open(dir, true, clock, log);
    if (state.ok() || state.error().code != ErrorCode::kBusy) return state;
    if (attempt >= kLockRetries || is_served(dir)) return state;
    if (attempt == 0) log.info(state.error().message + "; waiting for it for ten seconds");
    const timespec pause{0, 100'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace

std::vector<std::string> words_for_restart(const ServiceOptions& now, const ServiceOptions& next) {
  std::vector<std::string> words;
  if (now.state_dir != next.state_dir) words.push_back("state = " + display_path(next.state_dir));
  for (const RootSpec& root : now.roots) {
    const auto found = std::find_if(next.roots.begin(), next.roots.end(),
                                    [&](const RootSpec& other) { return other.name == root.name; });
    if (found == next.roots.end()) {
      words.push_back("that " + root.name + " is not watched any more");
    } else if (found->path != root.path) {
      words.push_back("the path of " + root.name);
    } else if (found->excludes != root.excludes) {
      words.push_back("what is excluded in " + root.name);
    }
  }
  return words;
}

Status run_service(const ServiceOptions& options, const Clock& clock, Log& told) {
  AlertBell bell;
  RingingLog log(told, bell);
  raise_descriptor_limit();
  ::mallopt(M_ARENA_MAX, 2);  // an arena a thread would keep what each thread once needed
  ::signal(SIGPIPE, SIG_IGN);
  TRY(check_roots(options.roots));
  if (options.expect_state) TRY(check_state_expected(options.state_dir));
  TRY(check_state_access(options.state_dir));
  TRY_ASSIGN(Fd listener, listen_for_probes(options, log));
  TRY_ASSIGN(auto state, open_state(options.state_dir, clock, log));
  TRY_ASSIGN(auto loop, Loop::create());
  EngineOptions engine_options;
  engine_options.backend = options.backend;
  engine_options.space = options.space;
  engine_options.workers = std::clamp<size_t>(std::thread::hardware_concurrency(), 2, 8);
  Engine engine(*state, clock, log, engine_options, [&] { loop->wake(); });
  Supervisor supervisor(engine, clock, log);
  ServiceGate gate(engine, *loop);
  engine.on_commit = [&](Sequence seq) { gate.committed(seq); };
  TRY(engine.start());
  for (const RootSpec& root : options.roots) {
    TRY(engine.add_root(root));
    log.info("watching " + root.name + " = " + display_path(root.path));
  }
  Turner turner(engine, gate, *loop, clock, supervisor);
  std::optional<StepAlarm> alarm;
  TRY(connect_loop(*loop, engine, turner, alarm, log));
  Api api(*state, gate, clock);
  ServiceParts parts(*state, gate, clock, log, bell, api);
  parts.start(options.parts);
  Reload reload(options, engine, parts, supervisor, log);
  TRY(loop->on_signal(SIGHUP, [&] {
    reload.reload();
    turner.turn();
  }));
  TRY_ASSIGN(auto server, HttpServer::start(state->socket_path(), api));
  TRY_ASSIGN(auto probes, start_probes(std::move(listener), api));
  log.info("state " + state->dir + ", ready");
  TRY(supervisor.start(*loop));
  loop->wake();
  loop->run();
  supervisor.stopping();
  log.info("stopping");
  parts.cancel();
  auto stopped = engine.stop();
  gate.close();
  parts.stop();
  probes.reset();
  server.reset();
  return stopped;
}

}  // namespace holdfast
