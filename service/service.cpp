#include "service/service.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <future>
#include <thread>

#include "base/loop.h"
#include "base/path.h"
#include "base/step_alarm.h"
#include "service/api.h"
#include "service/http_server.h"
#include "service/inbox.h"
#include "service/words.h"

namespace holdfast {

namespace {

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
  Turner(Engine& engine, ServiceGate& gate, Loop& loop, const Clock& clock)
      : engine_(engine), gate_(gate), loop_(loop), clock_(clock) {}

  void turn() {
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

 private:
  Engine& engine_;
  ServiceGate& gate_;
  Loop& loop_;
  const Clock& clock_;
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

}  // namespace

Status run_service(const ServiceOptions& options, const Clock& clock, Log& log) {
  raise_descriptor_limit();
  ::mallopt(M_ARENA_MAX, 2);  // an arena a thread would keep what each thread once needed
  ::signal(SIGPIPE, SIG_IGN);
  TRY(check_roots(options.roots));
  TRY_ASSIGN(auto state, State::open(options.state_dir, true, clock, log));
  TRY_ASSIGN(auto loop, Loop::create());
  EngineOptions engine_options;
  engine_options.backend = options.backend;
  engine_options.workers = std::clamp<size_t>(std::thread::hardware_concurrency(), 2, 8);
  Engine engine(*state, clock, log, engine_options, [&] { loop->wake(); });
  ServiceGate gate(engine, *loop);
  engine.on_commit = [&](Sequence seq) { gate.committed(seq); };
  TRY(engine.start());
  for (const RootSpec& root : options.roots) {
    TRY(engine.add_root(root));
    log.info("watching " + root.name + " = " + display_path(root.path));
  }
  Turner turner(engine, gate, *loop, clock);
  TRY(follow_descriptors(engine, *loop, turner));
  loop->on_wake([&] { turner.turn(); });
  auto alarm = StepAlarm::create();
  if (alarm.ok()) {
    TRY(loop->on_readable(alarm->fd(), [&] {
      alarm->take();
      turner.turn();
    }));
  } else {
    log.warn(alarm.error().message + "; a step of the clock is seen at the next change only");
  }
  for (const int signal_number : {SIGTERM, SIGINT}) {
    TRY(loop->on_signal(signal_number, [&] { loop->stop(); }));
  }
  TRY(loop->on_signal(SIGHUP, [&] {
    log.warn(
        "SIGHUP: this version cannot reload its configuration; restart the service to apply it");
  }));
  Api api(*state, gate, clock);
  auto scrub = std::make_unique<Scrub>(*state, gate, clock, log, options.scrub);
  api.tell_scrub([&scrub] { return scrub->at(); });
  Pruner pruner(*state, gate, clock);
  api.tell_pruner(pruner, options.retention.value_or(kDefaultRetention));
  auto schedule = std::make_unique<PruneSchedule>(pruner, options.retention, *state, clock, log);
  api.tell_dumps(options.jobs.dumps);
  auto jobs = std::make_unique<JobSchedule>(api, gate, *state, clock, log, options.jobs);
  auto inboxes = std::make_unique<Inboxes>(options.inboxes, *state, gate, clock, log);
  api.tell_inboxes([&inboxes](auto& problems) { return inboxes->status(problems); });
  TRY_ASSIGN(auto server, HttpServer::start(state->socket_path(), api));
  log.info("state " + state->dir + ", ready");
  engine.flush([&](Result<Sequence> result) {
    if (result.ok())
      log.info("all roots are looked through, the journal is at @" + std::to_string(result->value));
  });
  loop->wake();
  loop->run();
  log.info("stopping");
  jobs->cancel();
  inboxes->cancel();
  auto stopped = engine.stop();
  gate.close();
  pruner.cancel();
  jobs.reset();
  schedule.reset();
  server.reset();
  inboxes.reset();
  scrub.reset();
  return stopped;
}

}  // namespace holdfast
