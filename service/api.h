// Api: every command as a request: method, path, parameters in, JSON lines (or raw bytes) out. The
// service answers it over HTTP, a command without a service calls it directly; there is no other
// way.
//
//   GET    /v1/status?check=&max_age=      POST   /v1/flush?timeout=
//   GET    /v1/log?path=&since=&until=&kind=&verdict=&root=&limit=&reverse=&follow=
//   GET    /v1/history?path=               GET    /v1/ls?path=&at=&recursive=&self=
//   GET    /v1/cat?path=&at=               GET    /v1/diff?a=&b=&path=
//   GET    /v1/export?path=&at=            GET    /v1/export/plan?path=&at=
//   GET    /v1/snapshots                   POST   /v1/snapshots?message=&tag=k=v
//   DELETE /v1/snapshots?name=             POST   /v1/check?read_data=
//   POST   /v1/prune?dry_run=&all=&hourly=&daily=&weekly=&monthly=&last=&grace=
//   POST   /v1/verify?path=&at=&heal=&rate=  POST  /v1/accept?path=
//   POST   /v1/restore?path=&at=&to=&in_place=&delete=&dry_run=&overwrite=
//   POST   /v1/put?path=&kind=&note=&shrink=    with a body
//   POST   /v1/import?root=&strip=&message=     with a body
//   POST   /v1/seed/begin?dest=&dir=&act=  POST   /v1/seed/baseline?root=&path=   with a body
//   POST   /v1/seed/own?root=  with a body  POST   /v1/seed/end?root=&note=
//
// cat and export answer with bytes. `cwd` says what relative paths are relative to. Long work
// reports {"progress": …} lines before its result. Called from any thread but the engine's.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "service/alert_status.h"
#include "service/config.h"
#include "service/disk_probe.h"
#include "service/gate.h"
#include "service/health.h"
#include "service/prune.h"
#include "service/query.h"
#include "service/scrub.h"

namespace holdfast {

struct LogFilter;  // api_log.cpp

// The bytes that come with a request, as they come. One thread.
class ApiBody {
 public:
  virtual ~ApiBody() = default;
  // Blocks until there are some; 0: the end. kInterrupted: it broke off, and what came is a part.
  virtual Result<size_t> read(char* out, size_t size) = 0;
  // What is known only at the end; after it. Names and values of visible ASCII.
  using Trailers = std::vector<std::pair<std::string, std::string>>;
  virtual Trailers trailers() { return {}; }
};

struct ApiRequest {
  std::string method;
  std::string path;
  std::vector<std::pair<std::string, std::string>> params;
  std::shared_ptr<ApiBody> body;  // nullptr: none
  int64_t timeout_ns = 0;         // for a client, to its whole answer; 0: as long as it takes
  std::string get(std::string_view key) const;
  std::vector<std::string> all(std::string_view key) const;
  bool flag(std::string_view key) const { return get(key) == "1"; }
};

// Where the answer goes. write() returns false when nobody listens any more.
class ApiSink {
 public:
  virtual ~ApiSink() = default;
  virtual bool write(std::string_view bytes) = 0;
  virtual bool cancelled() = 0;
};

// The answer of /v1/check.
Json check_json(const StoreStats& stats, uint64_t records, bool read_data,
                const std::vector<std::string>& findings);

const char* error_code_name(ErrorCode code);  // "not_found", ... in JSON
ErrorCode error_code_of_name(std::string_view name);

bool answers_with_bytes(const ApiRequest& request);  // and not with JSON lines

class Api {
 public:
  Api(State& state, Gate& gate, const Clock& clock) : state_(state), gate_(gate), clock_(clock) {}
  Status handle(const ApiRequest& request, ApiSink& sink);
  // Where the scrub of this process stands; without one, the state directory tells.
  void tell_scrub(std::function<ScrubState()> scrub) { scrub_ = std::move(scrub); }
  // The dumps that this service makes, from now on.
  void tell_dumps(const std::vector<DumpConfig>& dumps) {
    const std::lock_guard lock(told_mutex_);
    dumps_ = dumps;
    dumps_since_ns_ = clock_.wall_ns();
  }
  // What a service is held to, since it runs.
  struct Health {
    HealthLimits limits;
    int64_t scrub_every_ns = 0, snapshot_every_ns = 0;
    int64_t since_ns = 0;  // wall; 0: no service
  };
  void tell_health(const Health& health) {
    const std::lock_guard lock(told_mutex_);
    health_ = health;
  }
  void note_snapshot(int64_t took_ns) {
    totals_.snapshot_took_ns = took_ns;
    note_snapshot_failure("");
  }
  void note_snapshot_failure(const std::string& why) {  // of one by schedule
    const std::lock_guard lock(told_mutex_);
    snapshot_failure_ = why;
  }
  // Within the time that the loop has to answer; an error where it does not.
  Result<EngineStatus> engine_status() { return gate_.status_within(health().limits.loop_ns); }
  Health health() {
    const std::lock_guard lock(told_mutex_);
    return health_;
  }
  Result<std::string> metrics();  // in the text format of Prometheus
  // The restore inboxes of this process, as JSON, and their problems.
  void tell_inboxes(std::function<Json(std::vector<std::string>&)> inboxes) {
    inboxes_ = std::move(inboxes);
  }
  // The alerts of this process.
  void tell_alerts(std::function<AlertStatus()> alerts) { alerts_ = std::move(alerts); }
  // What keeps the loop from answering, where engine_status() failed for that: first that it does.
  std::vector<Finding> loop_findings();
  Result<Disk> disk_of(const std::string& path);  // bounded in time
  // All that is wrong now.
  Result<std::vector<Finding>> findings_now(const EngineStatus& engine);
  // This process's pruner and the policy of its configuration; without one, a request has its own.
  void tell_pruner(Pruner& pruner, const RetentionPolicy& policy) {
    const std::lock_guard lock(told_mutex_);
    pruner_ = &pruner;
    policy_ = policy;
  }

 private:
  Status status(const ApiRequest& request, ApiSink& sink);
  Status flush(const ApiRequest& request, ApiSink& sink);
  Status snapshots(const ApiRequest& request, ApiSink& sink);
  Status snapshot_create(const ApiRequest& request, ApiSink& sink);
  Status snapshot_remove(const ApiRequest& request, ApiSink& sink);
  Status log(const ApiRequest& request, ApiSink& sink);
  Status follow(const LogFilter& filter, ApiSink& sink);
  Status history(const ApiRequest& request, ApiSink& sink);
  Status ls(const ApiRequest& request, ApiSink& sink);
  Status cat(const ApiRequest& request, ApiSink& sink);
  Status diff(const ApiRequest& request, ApiSink& sink);
  Status export_tar(const ApiRequest& request, ApiSink& sink);
  Status export_plan(const ApiRequest& request, ApiSink& sink);
  Status restore(const ApiRequest& request, ApiSink& sink);
  Status check(const ApiRequest& request, ApiSink& sink);
  Status prune(const ApiRequest& request, ApiSink& sink);
  Status verify(const ApiRequest& request, ApiSink& sink);
  Status accept(const ApiRequest& request, ApiSink& sink);
  Status put(const ApiRequest& request, ApiSink& sink);
  Status import_archive(const ApiRequest& request, ApiSink& sink);
  Status seed_begin(const ApiRequest& request, ApiSink& sink);
  Status seed_baseline(const ApiRequest& request, ApiSink& sink);
  Status seed_own(const ApiRequest& request, ApiSink& sink);
  Status seed_end(const ApiRequest& request, ApiSink& sink);
  Result<std::vector<Finding>> findings(const LmdbTxn& txn, const EngineStatus& engine,
                                        const HealthLimits& limits, Json& json);
  Status verdicts_of_status(const LmdbTxn& txn, Json& json, std::vector<std::string>& problems);
  Status dumps_of_status(const LmdbTxn& txn, Json& json, std::vector<Finding>& found);
  Status imports_of_status(const LmdbTxn& txn, std::vector<std::string>& problems);
  Status know_own_writes(const std::vector<UserPath>& paths, Sequence at);
  Status close_restored(const std::vector<UserPath>& paths, Sequence at);

  State& state_;
  Gate& gate_;
  const Clock& clock_;
  DiskProbe disks_;
  std::function<ScrubState()> scrub_;
  std::function<Json(std::vector<std::string>&)> inboxes_;
  std::function<AlertStatus()> alerts_;
  std::mutex told_mutex_;  // of what follows: a new configuration may change it
  std::vector<DumpConfig> dumps_;
  int64_t dumps_since_ns_ = 0;
  Health health_;
  std::string snapshot_failure_;
  RequestTotals totals_;
  Pruner* pruner_ = nullptr;
  RetentionPolicy policy_ = kDefaultRetention;
};

}  // namespace holdfast
