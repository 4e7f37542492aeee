// The API's restore.
#include <limits>
#include <map>
#include <thread>

#include "base/clock.h"
#include "base/path.h"
#include "journal/time_spec.h"
#include "service/api.h"
#include "service/progress.h"
#include "service/restore.h"
#include "service/words.h"

namespace holdfast {

namespace {

struct RestorePlan {
  std::vector<UserPath> paths;
  std::vector<RestoreJob> jobs;
  std::string undo_paths;  // shell words for the undo command
  std::vector<std::string> notes;
};

Result<RestorePlan> make_plan(State& state, const LmdbTxn& txn, const ApiRequest& request,
                              bool in_place, Sequence at) {
  Query query(state, txn);
  std::map<NodeId, std::pair<Root, std::vector<std::string>>> by_root;
  RestorePlan plan;
  for (const std::string& text : request.all("path")) {
    TRY_ASSIGN(const UserPath path, query.path(text, request.get("cwd")));
    if (in_place && path.root.is_virtual()) {
      return make_error(ErrorCode::kUsage,
                        display_path(text) +
                            " has no directory to be restored to in place: it was "
                            "given by a program; use --to DIR, or --to-command");
    }
    plan.paths.push_back(path);
    by_root[path.root.node].first = path.root;
    by_root[path.root.node].second.push_back(path.relative);
    plan.undo_paths += " " + shell_quote(join_path(path.root.path, path.relative));
  }
  if (by_root.empty()) {
    for (const Root& root : query.roots()) {
      if (in_place && root.is_virtual()) {
        plan.notes.push_back(root.name +
                             ": is in no directory and is left as it is; restore it "
                             "with --to or --to-command");
        continue;
      }
      if (state.journal->locate(txn, root.node, "", at).ok()) by_root[root.node] = {root, {""}};
    }
  }
  if (by_root.empty()) {
    return make_error(ErrorCode::kNotFound, "nothing was watched at @" + std::to_string(at.value));
  }
  for (auto& [node, root_paths] : by_root) {
    const Root& root = root_paths.first;
    if (request.all("path").empty()) plan.paths.push_back({root, ""});
    RestoreJob job;
    job.root = node;
    job.paths = root_paths.second;
    job.in_place = in_place;
    if (in_place) {
      job.target = root.path;
    } else {
      TRY_ASSIGN(job.target, normalize_absolute(request.get("to"), request.get("cwd")));
      if (by_root.size() > 1) job.target = join_path(job.target, root.name);
    }
    if (path_below(job.target, state.dir)) {
      return make_error(ErrorCode::kUsage, "cannot restore into the state directory " + state.dir);
    }
    if (const auto own = path_below(state.dir, job.target)) job.own_state = *own;
    TRY_ASSIGN(const auto patterns, excludes_of(*state.journal, txn, root));
    TRY_ASSIGN(job.ignore, IgnoreRules::parse(patterns));
    plan.jobs.push_back(std::move(job));
  }
  return plan;
}

Result<RestoreOptions> read_options(const ApiRequest& request) {
  RestoreOptions options;
  options.remove_extra = request.flag("delete");
  options.dry_run = request.flag("dry_run");
  const std::string overwrite = request.get("overwrite");
  if (overwrite == "always") {
    options.overwrite = Overwrite::kAlways;
  } else if (overwrite == "never") {
    options.overwrite = Overwrite::kNever;
  } else if (!overwrite.empty() && overwrite != "if-changed") {
    return make_error(ErrorCode::kUsage, "--overwrite is if-changed, always or never, not \"" +
                                             display_path(overwrite) + "\"");
  }
  return options;
}

// Runs the jobs one after the other and adds up what they did.
Status run_plan(State& state, const RestorePlan& plan, Sequence at, const RestoreOptions& options,
                ApiSink& sink, RestoreResult& sum) {
  RestoreProgress progress;
  Status failed;
  const std::function<bool()> cancelled = [&] { return sink.cancelled(); };
  auto numbers = [&] {
    return Json{{"files", progress.files.load()}, {"bytes", progress.bytes.load()}};
  };
  with_progress(sink, numbers, [&] {
    for (const RestoreJob& job : plan.jobs) {
      auto result = restore(state, job, at, options, progress, cancelled);
      if (!result.ok()) {
        failed = result.error();
        return;
      }
      sum.files += result->files;
      sum.bytes += result->bytes;
      sum.changed += result->changed;
      sum.deleted += result->deleted;
      for (const std::string& warning : result->warnings) {
        sum.warnings.push_back(warning.starts_with(":") ? job.target + warning
                                                        : join_path(job.target, warning));
      }
      for (RestoreFailure& failure : result->failed) {
        failure.path = join_path(job.target, failure.path);
        sum.failed.push_back(std::move(failure));
      }
    }
  });
  return failed;
}

Json restore_json(const Moment& at, const RestoreResult& sum, bool dry_run,
                  const std::string& undo) {
  Json json;
  json["at"] = {{"seq", at.seq.value}, {"time", format_time(at.time_ns)}};
  json["files"] = sum.files;
  json["bytes"] = sum.bytes;
  json["changed"] = sum.changed;
  json["deleted"] = sum.deleted;
  json["failed"] = Json::array();
  for (const RestoreFailure& failure : sum.failed) {
    Json entry;
    put_path(entry, "path", failure.path);
    entry["why"] = failure.why;
    json["failed"].push_back(std::move(entry));
  }
  json["warnings"] = Json::array();
  for (const std::string& warning : sum.warnings)
    json["warnings"].push_back(to_utf8_lossy(warning));
  json["dry_run"] = dry_run;
  json["undo"] = undo.empty() ? Json() : Json(undo);
  return json;
}

}  // namespace

Status Api::restore(const ApiRequest& request, ApiSink& sink) {
  const bool in_place = request.flag("in_place");
  if (in_place == !request.get("to").empty()) {
    return make_error(ErrorCode::kUsage, "say either --to DIR or --in-place");
  }
  if (request.get("at").empty()) return make_error(ErrorCode::kUsage, "say which moment: --at T");
  TRY_ASSIGN(const RestoreOptions options, read_options(request));
  const bool touches_roots = in_place && !options.dry_run;

  // The moment and the paths are settled before anything is touched.
  Moment at;
  RestorePlan plan;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY_ASSIGN(at, Query(state_, *txn).moment(request.get("at"), clock_.wall_ns()));
    TRY_ASSIGN(plan, make_plan(state_, *txn, request, in_place, at.seq));
  }
  const std::string moment = "@" + std::to_string(at.seq.value);
  std::string undo;
  Snapshot pinned;
  RestoreResult sum;
  sum.warnings = plan.notes;
  if (touches_roots) {
    auto flushed = gate_.flush(kNoTimeout);
    // A lost root (emptied, made anew) is what a restore is for: what was known of it is the
    // present.
    if (!flushed.ok() && flushed.error().code != ErrorCode::kChanged) return flushed.error();
    if (!flushed.ok()) sum.warnings.push_back(flushed.error().message);
    TRY_ASSIGN(pinned, gate_.snapshot("before the restore in place to " + moment, {}));
    undo = "holdfast --state " + shell_quote(state_.dir) + " restore" + plan.undo_paths + " --at " +
           pinned.name + " --in-place --delete";
  }
  if (touches_roots) TRY(know_own_writes(plan.paths, at.seq));
  auto restored = run_plan(state_, plan, at.seq, options, sink, sum);
  if (touches_roots) {
    auto flushed = gate_.flush(kNoTimeout);
    TRY(know_own_writes(plan.paths, {}));
    if (!flushed.ok() && flushed.error().code != ErrorCode::kChanged) return flushed.error();
    TRY(close_restored(plan.paths, at.seq));
    TRY(gate_.journal_note(RecordKind::kRestore, plan.jobs[0].root,
                           "in place to " + moment + ": " + std::to_string(sum.changed) +
                               " changed, " + std::to_string(sum.deleted) + " deleted, " +
                               std::to_string(sum.failed.size()) + " failed; undo with --at " +
                               pinned.name));
    if (!restored.ok()) {
      return restored.error().in("the present was pinned first, undo with: " + undo);
    }
  }
  TRY(restored);
  if (!options.dry_run) {
    ++(in_place ? totals_.restores_in_place : totals_.restores_elsewhere);
    totals_.restored_files += sum.changed;
    totals_.restored_bytes += sum.bytes;
    totals_.restore_failures += sum.failed.size();
  }
  sink.write(json_line(restore_json(at, sum, options.dry_run, undo)));
  return {};
}

}  // namespace holdfast
