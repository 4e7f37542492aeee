#include "tools/dump.h"

#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/path.h"
#include "service/dump_run.h"
#include "service/hooks.h"
#include "service/words.h"
#include "tools/client.h"
#include "tools/print.h"
#include "tools/receiver.h"

namespace holdfast {

namespace {

constexpr int kExitProblems = 3;

Result<DumpResult> run_one(const DumpConfig& dump, Session& session) {
  SystemClock clock;
  const Interrupts interrupts;
  return run_dump(
      dump, clock, Interrupts::noted,
      [&](const ApiRequest& request, const std::function<void(std::string_view)>& take) {
        return session.run(request, false, take);
      });
}

// What the exit code says of a dump that was journaled.
int exit_code_of_dump(const Json& answer) {
  if (!answer["rejected"].get<bool>()) return 0;
  return answer["outcome"] == dump_outcome_name(DumpOutcome::kFailed) ? 1 : kExitProblems;
}

void tell_bad(const std::string& name, const DumpResult& result) {
  std::fprintf(stderr, "holdfast: %s\n",
               display_path(words_for_bad_dump(name, result.answer)).c_str());
}

// Of `status`.
Json ask_roots(Session& session) {
  Json roots = Json::array();
  const auto asked =
      session.run({"GET", "/v1/status", {}, nullptr}, false, [&](std::string_view line) {
        Json json = Json::parse(line, nullptr, false);
        if (json.is_object() && json.contains("roots")) roots = std::move(json["roots"]);
      });
  if (!asked.ok()) report(asked.error().in("looking which directories are watched"));
  return roots;
}

// Commands that undo what comes after the snapshot.
std::vector<std::string> undo_commands(const DumpOptions& options, const Json& roots,
                                       const std::string& snapshot) {
  std::string holdfast = "holdfast";
  if (!options.state_dir.empty()) holdfast += " --state " + shell_word(options.state_dir);
  std::vector<std::string> commands;
  // Where dumps are all there is, a restore in place has nothing to do, and fails.
  if (std::any_of(roots.begin(), roots.end(),
                  [](const Json& root) { return !root["path"].get<std::string>().empty(); })) {
    commands.push_back(holdfast + " restore --at " + snapshot + " --in-place --delete");
  }
  for (const DumpConfig& dump : options.config.dumps) {
    commands.push_back(holdfast + " restore " + kDumpsRoot + ":" + dump.name + " --at " + snapshot +
                       " --to-command " +
                       shell_word(dump.restore.empty() ? "COMMAND" : dump.restore));
  }
  return commands;
}

// Makes every dump; what went wrong is told and leaves a line in `bad`.
Json make_dumps(const DumpOptions& options, Session& session, std::vector<std::string>& bad) {
  Json dumps = Json::array();
  for (const DumpConfig& dump : options.config.dumps) {
    const auto result = run_one(dump, session);
    Json entry{{"name", dump.name}};
    if (!result.ok()) {
      std::fprintf(stderr, "holdfast: %s\n", result.error().message.c_str());
      entry["error"] = to_utf8_lossy(result.error().message);
      bad.push_back(dump.name);
    } else {
      entry.update(result->answer);
      if (!result->good()) {
        tell_bad(dump.name, *result);
        bad.push_back(dump.name);
      }
    }
    dumps.push_back(std::move(entry));
  }
  return dumps;
}

// Watched directories of the configuration that are not in the journal, because no service with it
// has run yet: nothing of them is in the snapshot.
std::vector<std::string> unknown_roots(const DumpOptions& options, const Json& roots) {
  std::vector<std::string> unknown;
  for (const WatchConfig& watch : options.config.watches) {
    const auto has_name = [&](const Json& root) { return root["name"] == watch.name; };
    if (std::none_of(roots.begin(), roots.end(), has_name)) unknown.push_back(watch.name);
  }
  return unknown;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void print_taken(const DumpOptions& options, const Json& snapshot) {
  if (options.json) {
    std::fputs(json_line(snapshot).c_str(), stdout);
    return;
  }
  if (options.quiet) return;
  std::fputs(print_snapshot(snapshot).c_str(), stdout);
  const char* lead = "undo with: ";
  for (const Json& command : snapshot["undo"]) {
    std::printf("%s%s\n", lead, command.get<std::string>().c_str());
    lead = "           ";
  }
}

}  // namespace

std::string shell_word(const std::string& word) {
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

int run_run_dump(const DumpOptions& options, const std::string& name) {
  const auto& dumps = options.config.dumps;
  const auto dump = std::find_if(dumps.begin(), dumps.end(),
                                 [&](const DumpConfig& each) { return each.name == name; });
  if (dump == dumps.end()) {
    std::string known;
    for (const DumpConfig& each : dumps) known += (known.empty() ? "" : ", ") + each.name;
    return report(make_error(
        ErrorCode::kUsage,
        "there is no [[dump]] " + display_path(name) +
            (options.config_file.empty()
                 ? std::string("; say which configuration has it: --config")
                 : " in " + options.config_file + (known.empty() ? "" : "; there are: " + known))));
  }
  Session session(options.state_dir, options.log, true);  // as the service would, made here
  const auto result = run_one(*dump, session);
  if (!result.ok()) {
    const int code = report(result.error());
    return result.error().code == ErrorCode::kBusy ? 1 : code;  // the dump is, and not the state
  }
  if (options.json) {
    std::fputs(json_line(result->answer).c_str(), stdout);
  } else if (result->good() && !options.quiet) {
    std::printf("@%s  %s:%s  %s in %.1f s, %s of it new\n", result->answer["seq"].dump().c_str(),
                kDumpsRoot, name.c_str(),
                words_for_bytes(result->answer["size"].get<uint64_t>()).c_str(),
                result->answer["seconds"].get<double>(),
                words_for_bytes(result->answer["new_bytes"].get<uint64_t>()).c_str());
  }
  if (!result->good()) {
    std::fputs(result->errors.c_str(), stderr);
    tell_bad(name, *result);
  }
  return exit_code_of_dump(result->answer);
}

int run_snapshot(const DumpOptions& options,
                 const std::vector<std::pair<std::string, std::string>>& params, bool no_dumps) {
  const SnapshotConfig& hooks = options.config.snapshot;
  const bool dumps_any = !no_dumps && !options.config.dumps.empty();
  Session session(options.state_dir, options.log, dumps_any);
  const auto hook = [&](const char* what, const std::vector<std::string>& command) {
    const Interrupts interrupts;
    return run_hook(what, command, hooks.hook_timeout_ns, Interrupts::noted);
  };
  std::vector<std::string> bad;
  Json taken;
  auto status = hook("the hook before the snapshot", hooks.pre);
  if (status.ok()) {
    const Json dumps = no_dumps ? Json() : make_dumps(options, session, bad);
    const ApiRequest request{"POST", "/v1/snapshots", params, nullptr};
    status = Interrupts::noted() ? Status(make_error(ErrorCode::kInterrupted, "interrupted"))
                                 : session.run(request, false, [&](std::string_view line) {
                                     Json json = Json::parse(line, nullptr, false);
                                     if (json.is_object() && json.contains("name"))
                                       taken = std::move(json);
                                   });
    if (status.ok() && !dumps.is_null()) taken["dumps"] = dumps;
  } else {
    status = status.error().in("no snapshot is taken");
  }
  // In any case: what was made to pause has to go on.
  const auto after = hook("the hook after the snapshot", hooks.post);
  if (!status.ok()) return report(status.error());
  const Json roots = ask_roots(session);
  taken["undo"] = undo_commands(options, roots, taken["name"].get<std::string>());
  print_taken(options, taken);
  if (!after.ok()) report(after.error().in("the snapshot is taken"));
  if (!bad.empty()) {
    report(
        make_error(ErrorCode::kFailed,
                   "the snapshot is taken, with the last good dump of before of: " + listed(bad)));
  }
  const std::vector<std::string> unknown = unknown_roots(options, roots);
  if (!unknown.empty()) {
    report(make_error(ErrorCode::kFailed,
                      "the snapshot is taken, without what no service has looked at yet: " +
                          listed(unknown) + "; start holdfast watch with this configuration"));
  }
  return bad.empty() && unknown.empty() && after.ok() ? 0 : kExitProblems;
}

namespace {

Result<Json> find_file(Session& session, const std::string& path, const std::string& at,
                       const std::string& cwd) {
  std::vector<Json> found;
  const ApiRequest request{
      "GET", "/v1/ls", {{"path", path}, {"at", at}, {"cwd", cwd}, {"self", "1"}}, nullptr};
  TRY(session.run(request, false, [&](std::string_view line) {
    Json json = Json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("type")) found.push_back(std::move(json));
  }));
  if (found.size() == 1 && found[0]["type"] == "file") return found[0];
  return make_error(ErrorCode::kUsage,
                    display_path(path) + " is no regular file; --to-command takes one file");
}

}  // namespace

int run_to_command(const DumpOptions& options, const std::string& path, const std::string& at,
                   const std::string& cwd, const std::string& command) {
  const Interrupts interrupts;
  Session session(options.state_dir, options.log);
  const auto file = find_file(session, path, at, cwd);
  if (!file.ok()) return report(file.error());
  auto receiver = Receiver::start(command);
  if (!receiver.ok()) return report(receiver.error());
  const std::string moment = "@" + (*file)["at"].dump();
  const ApiRequest request{
      "GET", "/v1/cat", {{"path", path}, {"at", moment}, {"cwd", cwd}}, nullptr};
  auto sent = session.run(request, true, [&](std::string_view bytes) { receiver->take(bytes); });
  if (sent.ok() && (*file)["hash"].is_string() && receiver->hash() != (*file)["hash"]) {
    sent = make_error(ErrorCode::kDamaged, "what came has not the recorded hash");
  }
  if (Interrupts::noted()) sent = make_error(ErrorCode::kInterrupted, "interrupted");
  if (!sent.ok()) {
    receiver->abandon();
    return report(
        sent.error().in("the command was given damaged data, or a part of it, and was "
                        "ended before the end of its input; do not use what it made"));
  }
  const ChildEnd end = receiver->finish();
  if (Interrupts::noted()) return report(make_error(ErrorCode::kInterrupted, "interrupted"));
  const std::string what = display_path(path) + " @" + (*file)["seq"].dump();
  if (!end.ok()) {
    return report(make_error(ErrorCode::kFailed, "restoring " + what + ": the command " +
                                                     display_path(command) +
                                                     " failed: " + end.words()));
  }
  Json result{{"at", (*file)["at"]},
              {"seq", (*file)["seq"]},
              {"path", (*file)["path"]},
              {"bytes", receiver->size()},
              {"command", command},
              {"exit", end.exit_status},
              {"read_all", !receiver->closed_early()}};
  if (options.json) {
    std::fputs(json_line(result).c_str(), stdout);
  } else if (!options.quiet) {
    std::printf("restored %s: %s, verified, to: %s%s\n", what.c_str(),
                words_for_bytes(receiver->size()).c_str(), display_path(command).c_str(),
                receiver->closed_early() ? " (which did not read all of it)" : "");
  }
  return 0;
}

}  // namespace holdfast
