#include "service/api.h"

#include <array>
#include <limits>

#include "base/fs.h"
#include "base/path.h"
#include "journal/time_spec.h"
#include "service/words.h"

namespace holdfast {

namespace {
struct CodeName {
  ErrorCode code;
  const char* name;
};
constexpr int64_t kStatusTimeoutNs = 15'000'000'000;  // a loop that is merely busy has answered

constexpr std::array<CodeName, 11> kCodeNames{{{ErrorCode::kFailed, "failed"},
                                               {ErrorCode::kUsage, "usage"},
                                               {ErrorCode::kNotFound, "not_found"},
                                               {ErrorCode::kExists, "exists"},
                                               {ErrorCode::kDamaged, "damaged"},
                                               {ErrorCode::kNoSpace, "no_space"},
                                               {ErrorCode::kPermission, "permission"},
                                               {ErrorCode::kChanged, "changed"},
                                               {ErrorCode::kBusy, "busy"},
                                               {ErrorCode::kUnsupported, "unsupported"},
                                               {ErrorCode::kInterrupted, "interrupted"}}};

Json snapshot_json(const Snapshot& snapshot) {
  Json json;
  json["name"] = snapshot.name;
  json["seq"] = snapshot.seq.value;
  json["time"] = format_time(snapshot.time_ns);
  json["message"] = snapshot.message;
  json["tags"] = Json::object();
  for (const auto& [key, value] : snapshot.tags) json["tags"][key] = value;
  return json;
}

Json clock_json(const ClockStatus& clock) {
  Json json;
  json["steps"] = clock.steps;
  if (clock.steps > 0) json["last_step_ns"] = clock.last_step_ns;
  json["skews"] = Json::array();
  for (const SkewStatus& skew : clock.skews) {
    json["skews"].push_back({{"of", skew.of}, {"root", skew.root}, {"amount_ns", skew.amount_ns}});
  }
  return json;
}

void put_findings(Json& json, const std::vector<Finding>& findings) {
  json["healthy"] = findings.empty();
  json["problems"] = Json::array();
  json["findings"] = Json::array();
  for (const Finding& finding : findings) {
    json["problems"].push_back(to_utf8_lossy(finding.text()));
    json["findings"].push_back({{"check", finding.check},
                                {"root", finding.root},
                                {"what", to_utf8_lossy(finding.what)},
                                {"value", finding.value},
                                {"bound", finding.bound},
                                {"fix", to_utf8_lossy(finding.fix)}});
  }
}

Json offline_json(const OfflineReport& report) {
  Json json;
  json["from"] = format_time(report.from_ns);
  json["until"] = format_time(report.until_ns);
  json["seconds"] = report.off_ns ? Json(*report.off_ns / 1'000'000'000) : Json(nullptr);
  json["at_most"] = report.at_most;
  json["finished"] = report.finished;
  json["changed"] = report.counts.changed;
  json["created"] = report.counts.created;
  json["deleted"] = report.counts.deleted;
  json["moved"] = report.counts.moved;
  json["attrib"] = report.counts.attrib;
  json["verdicts"] = report.counts.verdicts;
  json["words"] = words_for_offline(report);
  return json;
}

void put_space(Json& store, const SpaceStatus& space) {
  static constexpr const char* kStates[] = {"normal", "low", "stopped"};
  store["quota_bytes"] = space.quota_bytes == 0 ? Json(nullptr) : Json(space.quota_bytes);
  store["reserve_bytes"] = space.reserve_bytes;
  store["space"] = kStates[static_cast<size_t>(space.state)];
  store["keeping"] = space.is_keeping();
  store["not_kept_since"] = space.since_ns == 0 ? Json(nullptr) : Json(format_time(space.since_ns));
  store["not_kept"] = space.not_kept;
}
}  // namespace

const char* error_code_name(ErrorCode code) {
  for (const CodeName& entry : kCodeNames) {
    if (entry.code == code) return entry.name;
  }
  return "failed";
}

bool answers_with_bytes(const ApiRequest& request) {
  return request.path == "/v1/cat" || request.path == "/v1/export";
}

ErrorCode error_code_of_name(std::string_view name) {
  for (const CodeName& entry : kCodeNames) {
    if (entry.name == name) return entry.code;
  }
  return ErrorCode::kFailed;
}

std::string ApiRequest::get(std::string_view key) const {
  for (const auto& [name, value] : params) {
    if (name == key) return value;
  }
  return "";
}

std::vector<std::string> ApiRequest::all(std::string_view key) const {
  std::vector<std::string> values;
  for (const auto& [name, value] : params) {
    if (name == key) values.push_back(value);
  }
  return values;
}

Status Api::handle(const ApiRequest& request, ApiSink& sink) {
  struct Route {
    const char* method;
    const char* path;
    Status (Api::*handler)(const ApiRequest&, ApiSink&);
  };
  static constexpr Route kRoutes[] = {
      {"GET", "/v1/status", &Api::status},
      {"POST", "/v1/flush", &Api::flush},
      {"GET", "/v1/log", &Api::log},
      {"GET", "/v1/history", &Api::history},
      {"GET", "/v1/ls", &Api::ls},
      {"GET", "/v1/cat", &Api::cat},
      {"GET", "/v1/export", &Api::export_tar},
      {"GET", "/v1/export/plan", &Api::export_plan},
      {"GET", "/v1/diff", &Api::diff},
      {"GET", "/v1/snapshots", &Api::snapshots},
      {"POST", "/v1/snapshots", &Api::snapshot_create},
      {"DELETE", "/v1/snapshots", &Api::snapshot_remove},
      {"POST", "/v1/restore", &Api::restore},
      {"POST", "/v1/seed/begin", &Api::seed_begin},
      {"POST", "/v1/seed/baseline", &Api::seed_baseline},
      {"POST", "/v1/seed/own", &Api::seed_own},
      {"POST", "/v1/seed/end", &Api::seed_end},
      {"POST", "/v1/check", &Api::check},
      {"POST", "/v1/prune", &Api::prune},
      {"POST", "/v1/verify", &Api::verify},
      {"POST", "/v1/accept", &Api::accept},
      {"POST", "/v1/put", &Api::put},
      {"POST", "/v1/import", &Api::import_archive},
  };
  for (const Route& route : kRoutes) {
    if (request.method == route.method && request.path == route.path) {
      return (this->*route.handler)(request, sink);
    }
  }
  return make_error(ErrorCode::kNotFound, "there is no " + request.method + " " + request.path);
}

Status Api::status(const ApiRequest& request, ApiSink& sink) {
  HealthLimits limits = health().limits;
  if (const std::string text = request.get("max_age"); !text.empty()) {
    TRY_ASSIGN(limits.max_age_ns, parse_duration_ns(text));
    limits.max_age_given = true;
  }
  const bool check = request.flag("check");
  auto asked = check ? engine_status() : gate_.status_within(kStatusTimeoutNs);
  if (!asked.ok()) {
    if (asked.error().code != ErrorCode::kFailed) return asked.error();
    const std::vector<Finding> found = loop_findings();
    if (!check) {
      std::string why = asked.error().message;
      for (const Finding& finding : found) why += "; " + finding.text();
      return make_error(ErrorCode::kFailed, why);
    }
    Json json{{"version", HOLDFAST_VERSION}, {"state", state_.dir}};
    put_findings(json, found);
    sink.write(json_line(json));
    return {};
  }
  const EngineStatus& engine = *asked;
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  TRY_ASSIGN(const StoreStats stats, state_.store->stats(*txn));
  TRY_ASSIGN(const FreeSpace space, free_space(state_.dir));
  Json json;
  json["version"] = HOLDFAST_VERSION;
  json["state"] = state_.dir;
  json["seq"] = engine.seq.value;
  if (engine.seq.value > 0) {
    if (auto last = state_.journal->record(*txn, engine.seq); last.ok()) {
      json["last_record"] = format_time(last->time_ns);
    }
  }
  json["scanning"] = engine.scanning;
  json["roots"] = Json::array();
  uint64_t logical = 0;
  for (const RootStatus& root : engine.roots) {
    Json entry;
    entry["name"] = root.name;
    put_path(entry, "path", root.path);
    entry["backend"] = root.backend;
    entry["coverage"] = root.coverage;
    if (!root.backend_why.empty()) entry["backend_why"] = root.backend_why;
    entry["files"] = root.files;
    entry["bytes"] = root.bytes;
    entry["lag_ms"] = root.lag_ms;
    entry["up_to_date"] = root.caught_up_ago_ns
                              ? Json(format_time(clock_.wall_ns() - *root.caught_up_ago_ns))
                              : Json(nullptr);
    entry["degraded"] = root.degraded;
    logical += root.bytes;
    json["roots"].push_back(std::move(entry));
  }
  json["store"] = {{"packs", stats.packs},
                   {"bytes", stats.bytes},
                   {"journal_bytes", state_.env->used_bytes()},
                   {"logical_bytes", logical},
                   {"free_bytes", space.free_bytes}};
  put_space(json["store"], engine.space);
  json["clock"] = clock_json(engine.clock);
  if (engine.offline) json["offline"] = offline_json(*engine.offline);
  TRY_ASSIGN(const auto found, findings(*txn, engine, limits, json));
  put_findings(json, found);
  sink.write(json_line(json));
  return {};
}

Status Api::flush(const ApiRequest& request, ApiSink& sink) {
  int64_t timeout = std::numeric_limits<int64_t>::max() / 4;
  if (const std::string text = request.get("timeout"); !text.empty()) {
    TRY_ASSIGN(timeout, parse_duration_ns(text));
  }
  TRY_ASSIGN(const Sequence seq, gate_.flush(timeout));
  const auto not_kept = std::make_shared<uint64_t>(0);
  TRY(gate_.with_engine([not_kept](Engine& engine, const Gate::Done& done) {
    *not_kept = engine.space().not_kept;
    done({});
  }));
  Json json{{"seq", seq.value}};
  if (*not_kept > 0) json["not_kept"] = *not_kept;
  sink.write(json_line(json));
  return {};
}

Status Api::snapshots(const ApiRequest&, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  TRY_ASSIGN(const auto all, state_.journal->snapshots(*txn));
  for (const Snapshot& snapshot : all) sink.write(json_line(snapshot_json(snapshot)));
  return {};
}

Status Api::snapshot_create(const ApiRequest& request, ApiSink& sink) {
  std::vector<std::pair<std::string, std::string>> tags;
  for (const std::string& tag : request.all("tag")) {
    const size_t equals = tag.find('=');
    if (equals == std::string::npos || equals == 0) {
      return make_error(ErrorCode::kUsage, "a tag is KEY=VALUE, not \"" + tag + "\"");
    }
    tags.emplace_back(tag.substr(0, equals), tag.substr(equals + 1));
  }
  const int64_t began_ns = clock_.boottime_ns();
  TRY(gate_.flush(std::numeric_limits<int64_t>::max() / 4));
  TRY_ASSIGN(const Snapshot snapshot, gate_.snapshot(request.get("message"), tags));
  note_snapshot(clock_.boottime_ns() - began_ns);
  sink.write(json_line(snapshot_json(snapshot)));
  return {};
}

Status Api::snapshot_remove(const ApiRequest& request, ApiSink& sink) {
  TRY(gate_.remove_snapshot(request.get("name")));
  sink.write(json_line({{"removed", request.get("name")}}));
  return {};
}

}  // namespace holdfast
