// The API's verify and accept, and what status says of verdicts.
#include <algorithm>
#include <limits>
#include <set>

#include "base/clock.h"
#include "base/path.h"
#include "journal/time_spec.h"
#include "service/api.h"
#include "service/config.h"
#include "service/heal.h"
#include "service/progress.h"
#include "service/verify.h"

namespace holdfast {

namespace {

constexpr size_t kProblemsShown = 5;
// words_for_offline() in service/offline_summary.cpp.
constexpr std::string_view kOfflineSummaryBegins = "while the service was off";

// The paths that were asked for; all roots where there are none.
Result<std::vector<UserPath>> paths_of(const Query& query, const ApiRequest& request,
                                       const std::vector<Root>& roots) {
  std::vector<UserPath> paths;
  for (const std::string& text : request.all("path")) {
    TRY_ASSIGN(UserPath path, query.path(text, request.get("cwd")));
    if (path.root.is_virtual()) {
      return make_error(ErrorCode::kUsage, display_path(text) +
                                               " was given by a program and is on no disk but the "
                                               "state's; holdfast check --read-data reads that");
    }
    paths.push_back(std::move(path));
  }
  if (paths.empty()) {
    for (const Root& root : roots) {
      if (!root.is_virtual()) paths.push_back({root, ""});
    }
  }
  return paths;
}

// What the reconcile at this service's start found: the journal has absorbed it, and it is what
// whoever verifies after a restart wants to know. Deletes and changes of content, as they stand.
// The summary of that reconcile ends it: what is found by looking later (a sweep of a polled root,
// events that were lost) is what goes on while the service watches, such as an ordinary delete.
Status add_found_at_start(State& state, const std::vector<UserPath>& paths, VerifyResult& result) {
  TRY_ASSIGN(auto txn, state.env->begin_read());
  TRY_ASSIGN(const Head head, state.journal->head(*txn));
  Sequence start;
  TRY(state.journal->for_each_record(*txn, head.seq, true, [&](const Record& record) {
    if (record.kind == RecordKind::kService && record.note.starts_with("started")) {
      start = record.seq;
    }
    return start.value == 0 ? Visit::kContinue : Visit::kStop;
  }));
  if (start.value == 0) return {};
  std::set<NodeId> listed;
  for (const VerifyFinding& finding : result.findings) listed.insert(finding.node);
  Query query(state, *txn);
  return state.journal->for_each_record(*txn, start, false, [&](const Record& record) {
    if (record.kind == RecordKind::kService && record.note.starts_with(kOfflineSummaryBegins)) {
      return Visit::kStop;
    }
    const bool kind = record.kind == RecordKind::kDelete || record.kind == RecordKind::kModify;
    if (!kind || (record.flags & kFlagOffline) == 0 || record.type != FileType::kFile) {
      return Visit::kContinue;
    }
    VerifyFinding finding;
    const auto [root_name, path] = query.place(record);
    for (const Root& root : query.roots()) {
      if (root.node == record.root) finding.root = root;
    }
    finding.path = path;
    const UserPath place{finding.root, path};
    const bool wanted = std::any_of(paths.begin(), paths.end(), [&](const UserPath& above) {
      return lies_below(place, above);
    });
    const auto newest = state.journal->version(*txn, record.node, head.seq);
    if (!wanted || !newest.ok() || !*newest || (*newest)->seq != record.seq) {
      return Visit::kContinue;
    }
    const auto before = state.journal->record(*txn, record.prev);
    const uint64_t was = before.ok() ? before->stat.size : 0;
    finding.loss = record.kind == RecordKind::kDelete ? "missing"
                   : record.stat.size == 0 && was > 0 ? "empty"
                   : record.stat.size < was           ? "shortened"
                                                      : "changed";
    finding.verdict = verdict_name(record.verdict);
    finding.node = record.node;
    finding.seq = record.seq;
    finding.note = "found when the service started";
    finding.problem = finding.loss != "changed";
    if (!listed.insert(finding.node).second) return Visit::kContinue;
    ++result.losses[finding.loss];
    if (finding.problem) ++result.problems;
    if (result.findings.size() < kVerifyFindingsMax) {
      result.findings.push_back(std::move(finding));
    } else {
      ++result.left_out;
    }
    return Visit::kContinue;
  });
}

Json finding_json(const VerifyFinding& finding) {
  Json json;
  json["root"] = finding.root.name;
  put_path(json, "path", finding.path);
  json["verdict"] = finding.verdict;
  json["loss"] = finding.loss;
  json["problem"] = finding.problem;
  json["seq"] = finding.seq.value == 0 ? Json() : Json(finding.seq.value);
  json["note"] = to_utf8_lossy(finding.note);
  return json;
}

Json verify_json(const Moment& at, const VerifyCounts& counts, const VerifyResult& result) {
  Json json;
  json["at"] = {{"seq", at.seq.value}, {"time", format_time(at.time_ns)}};
  json["files"] = counts.files.load();
  json["bytes"] = counts.bytes.load();
  json["verdicts"] = result.verdicts;
  json["losses"] = result.losses;
  json["findings"] = Json::array();
  for (const VerifyFinding& finding : result.findings) {
    json["findings"].push_back(finding_json(finding));
  }
  json["findings_left_out"] = result.left_out;
  return json;
}

Json heal_json(const std::vector<HealOutcome>& outcomes) {
  Json list = Json::array();
  for (const HealOutcome& outcome : outcomes) {
    Json json;
    json["root"] = outcome.root.name;
    put_path(json, "path", outcome.path);
    json["healed"] = outcome.seq.value != 0;
    if (outcome.seq.value != 0) {
      json["seq"] = outcome.seq.value;
    } else {
      json["why"] = outcome.why;
    }
    list.push_back(std::move(json));
  }
  return list;
}

// Whether the path that had the verdict leads to another file now, or has been written by a restore
// since. That the journal has the wanted content says nothing: with an open verdict that is so
// while the disk holds something else.
Result<bool> put_since(State& state, const LmdbTxn& txn, NodeId node, const Standing& standing) {
  if (node != standing.node) return true;
  bool put = false;
  TRY(state.journal->for_each_version(txn, node, true, [&](const Record& record) {
    if (record.seq <= standing.since) return Visit::kStop;
    put = (record.flags & kFlagOwn) != 0;
    return put ? Visit::kStop : Visit::kContinue;
  }));
  return put;
}

// A file with several names is one finding for each of them, and one to heal.
uint64_t problems_left(const VerifyResult& result, const std::vector<HealOutcome>& outcomes) {
  std::set<NodeId> healed, listed;
  uint64_t left = result.problems;
  for (const HealOutcome& outcome : outcomes) {
    if (outcome.seq.value != 0) healed.insert(outcome.node);
  }
  for (const VerifyFinding& finding : result.findings) {
    if (finding.problem) listed.insert(finding.node);
    if (finding.problem && healed.contains(finding.node)) --left;
  }
  for (const HealOutcome& outcome : outcomes) {
    const bool unlisted = !listed.contains(outcome.node);
    if (unlisted && outcome.seq.value != 0 && left > 0 && result.left_out > 0) --left;
    if (unlisted && outcome.seq.value == 0) ++left;
  }
  return left;
}

}  // namespace

Status Api::verify(const ApiRequest& request, ApiSink& sink) {
  VerifyOptions options;
  if (const std::string rate = request.get("rate"); !rate.empty()) {
    const auto bytes = parse_rate_bytes(rate);
    if (!bytes) {
      return make_error(ErrorCode::kUsage,
                        "--rate is a rate like 50MB/s, not \"" + display_path(rate) + "\"");
    }
    options.rate_bytes = *bytes;
  }
  const bool heal_too = request.flag("heal");
  Status lost;
  if (gate_.watches()) {
    if (auto flushed = gate_.flush(kNoTimeout); !flushed.ok()) {
      if (flushed.error().code != ErrorCode::kChanged) return flushed.error();
      lost = flushed.error();
    }
  }
  std::vector<UserPath> paths;
  Moment at;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    Query query(state_, *txn);
    TRY_ASSIGN(paths, paths_of(query, request, query.roots()));
    TRY_ASSIGN(at, query.moment(request.get("at"), clock_.wall_ns()));
  }
  options.judge_only = !request.get("at").empty();
  if (options.judge_only && heal_too) {
    return make_error(ErrorCode::kUsage,
                      "--heal brings back the last good version and takes no --at; to bring back a "
                      "moment use holdfast restore");
  }
  Verifier verifier(state_, gate_, options);
  Result<VerifyResult> result = VerifyResult{};
  with_progress(
      sink,
      [&] {
        if (sink.cancelled()) verifier.cancel();
        return Json{{"files", verifier.counts().files.load()},
                    {"bytes", verifier.counts().bytes.load()}};
      },
      [&] { result = verifier.verify_paths(paths, at.seq); });
  if (!result.ok()) return result.error();
  if (gate_.watches() && !options.judge_only) {
    TRY(add_found_at_start(state_, paths, *result));
  }
  Json json = verify_json(at, verifier.counts(), *result);
  json["healed"] = Json::array();
  uint64_t problems = result->problems;
  if (heal_too) {
    TRY_ASSIGN(const auto outcomes, heal(state_, gate_, paths, [&] { return sink.cancelled(); }));
    json["healed"] = heal_json(outcomes);
    problems = problems_left(*result, outcomes);
  }
  if (!lost.ok()) {
    ++problems;
    json["lost"] = lost.error().message;
  }
  json["problems"] = problems;
  sink.write(json_line(json));
  return {};
}

Status Api::accept(const ApiRequest& request, ApiSink& sink) {
  if (request.all("path").empty()) {
    return make_error(ErrorCode::kUsage, "say what to accept: holdfast accept PATH…");
  }
  if (auto flushed = gate_.flush(kNoTimeout);
      !flushed.ok() && flushed.error().code != ErrorCode::kChanged) {
    return flushed.error();
  }
  std::vector<Record> versions;
  std::vector<OpenVerdict> open;
  std::vector<UserPath> paths;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    Query query(state_, *txn);
    TRY_ASSIGN(paths, paths_of(query, request, {}));
    TRY_ASSIGN(const auto all, open_verdicts(state_, *txn));
    for (const UserPath& path : paths) {
      bool any = false;
      for (const OpenVerdict& verdict : all) {
        if (!lies_below(verdict.path, path)) continue;
        any = true;
        open.push_back(verdict);
      }
      if (any) continue;
      // One file may be accepted though nothing is open; a whole directory says nothing then.
      const Sequence now{~0ull};
      TRY_ASSIGN(const auto there,
                 state_.journal->locate(*txn, path.root.node, path.relative, now));
      TRY_ASSIGN(auto version, state_.journal->version(*txn, there.node, now));
      if (version && version->type == FileType::kFile) versions.push_back(std::move(*version));
    }
    for (const OpenVerdict& verdict : open) {
      TRY_ASSIGN(auto version,
                 state_.journal->version(*txn, verdict.standing.node, Sequence{~0ull}));
      if (version && !verdict.gone) versions.push_back(std::move(*version));
    }
  }
  Json json;
  json["accepted"] = Json::array();
  for (const Record& version : versions) {
    TRY(gate_.read_anew(version, Engine::Reread::kAccept));
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    Query query(state_, *txn);
    TRY_ASSIGN(const auto now, state_.journal->version(*txn, version.node, Sequence{~0ull}));
    if (now) json["accepted"].push_back(query.record(*now));
  }
  for (const OpenVerdict& verdict : open) {
    if (!verdict.gone) continue;
    const Standing standing = verdict.standing;
    const NodeId root = verdict.path.root.node;
    TRY(gate_.with_engine([standing, root](Engine& engine, const Gate::Done& done) {
      auto answered = engine.answer(RecordKind::kAccept, root, standing.since,
                                    "the file is gone, and that is accepted");
      done(answered.ok() ? Status() : Status(answered.error()));
    }));
    Json gone;
    gone["root"] = verdict.path.root.name;
    put_path(gone, "path", verdict.path.relative);
    gone["gone"] = true;
    json["accepted"].push_back(std::move(gone));
  }
  sink.write(json_line(json));
  return {};
}

Status Api::know_own_writes(const std::vector<UserPath>& paths, Sequence at) {
  for (const UserPath& path : paths) {
    const NodeId root = path.root.node;
    TRY(gate_.with_engine([root, at](Engine& engine, const Gate::Done& done) {
      engine.begin_restore(root, at);
      done({});
    }));
  }
  return {};
}

Status Api::close_restored(const std::vector<UserPath>& paths, Sequence at) {
  std::vector<Standing> restored;
  {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY_ASSIGN(const auto open, open_verdicts(state_, *txn));
    for (const OpenVerdict& verdict : open) {
      const bool inside = std::any_of(paths.begin(), paths.end(), [&](const UserPath& path) {
        return lies_below(verdict.path, path);
      });
      if (!inside) continue;
      const NodeId root = verdict.path.root.node;
      const Sequence now{~0ull};
      auto then = state_.journal->locate(*txn, root, verdict.path.relative, at);
      auto there = state_.journal->locate(*txn, root, verdict.path.relative, now);
      if (!then.ok() || !there.ok()) continue;
      TRY_ASSIGN(const auto wanted, state_.journal->version(*txn, then->node, at));
      TRY_ASSIGN(const auto is, state_.journal->version(*txn, there->node, now));
      const bool same = wanted && is && wanted->content == is->content && wanted->hash == is->hash;
      if (!same) continue;
      TRY_ASSIGN(const bool put, put_since(state_, *txn, is->node, verdict.standing));
      if (put) restored.push_back(verdict.standing);
    }
  }
  for (const Standing& standing : restored) {
    TRY(gate_.with_engine([standing](Engine& engine, const Gate::Done& done) {
      auto answered = engine.answer(RecordKind::kRestore, {}, standing.since,
                                    "the file was restored, which answers its verdict");
      done(answered.ok() ? Status() : Status(answered.error()));
    }));
  }
  return {};
}

Status Api::verdicts_of_status(const LmdbTxn& txn, Json& json, std::vector<std::string>& problems) {
  TRY_ASSIGN(const auto open, open_verdicts(state_, txn));
  json["verdicts"] = Json::object();
  size_t shown = 0, grave = 0;
  for (const OpenVerdict& verdict : open) {
    const std::string word = verdict_name(verdict.standing.verdict);
    json["verdicts"][word] = json["verdicts"].value(word, 0) + 1;
    ++grave;
    if (shown >= kProblemsShown) continue;
    ++shown;
    const std::string path = join_path(verdict.path.root.path, verdict.path.relative);
    const bool rotten = verdict.standing.verdict != Verdict::kStealthModify;
    problems.push_back(path + " is " + word + (verdict.gone ? " and gone" : "") + " since @" +
                       std::to_string(verdict.standing.since.value) + "; " +
                       (rotten && !verdict.gone
                            ? "holdfast verify --heal PATH brings the last good version back, "
                            : "look at holdfast history PATH; ") +
                       "holdfast accept PATH takes it as it is");
  }
  if (grave > shown) {
    problems.push_back("and " + std::to_string(grave - shown) +
                       " more files with an open verdict; holdfast log --kind verify lists them");
  }
  return {};
}

}  // namespace holdfast
