// holdfast: the command line. Each command becomes an API request; `watch` is the service itself.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/path.h"
#include "base/root_name.h"
#include "base/system_journal.h"
#include "journal/time_spec.h"
#include "service/child_guard.h"
#include "service/config.h"
#include "service/inbox.h"
#include "service/service.h"
#include "service/sqlite_check.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/dump.h"
#include "tools/environment.h"
#include "tools/export.h"
#include "tools/import.h"
#include "tools/manual.h"
#include "tools/mend.h"
#include "tools/print.h"
#include "tools/seed.h"
#include "tools/test_alert.h"

namespace holdfast {

namespace {

std::string working_directory() {
  char buffer[PATH_MAX];
  return ::getcwd(buffer, sizeof buffer) != nullptr ? buffer : "/";
}

std::string default_state() {
  if (::geteuid() == 0) return "/var/lib/holdfast";
  if (const char* base = std::getenv("XDG_STATE_HOME"); base != nullptr && *base == '/') {
    return std::string(base) + "/holdfast";
  }
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "") + "/.local/state/holdfast";
}

Result<Config> load_config(const Arguments& arguments) {
  if (arguments.config_file.empty()) return Config{};
  auto text = read_whole_file(arguments.config_file, 1 << 20);
  if (!text.ok()) {
    return make_error(ErrorCode::kUsage, "reading the configuration: " + text.error().message);
  }
  return parse_config(*text, arguments.config_file);
}

Result<std::string> state_dir(const Arguments& arguments, const Config& config) {
  std::string dir = arguments.state;
  if (dir.empty()) dir = config.state;
  if (dir.empty()) dir = default_state();
  return normalize_absolute(dir, working_directory());
}

Result<RootSpec> root_of(const std::string& argument, const std::vector<std::string>& excludes) {
  RootSpec root;
  const auto [name, path] = split_named_dir(argument);
  TRY_ASSIGN(const std::string absolute, normalize_absolute(path, working_directory()));
  char resolved[PATH_MAX];  // a root given through a symlink is watched where it really is
  root.path = ::realpath(absolute.c_str(), resolved) != nullptr ? resolved : absolute;
  root.name = root_name_of(name.empty() ? root.path : std::string(name));
  root.excludes = excludes;
  return root;
}

// What is not named keeps nothing beyond `all`.
RetentionPolicy policy_of(const RetentionConfig& config) {
  RetentionPolicy policy;
  policy.all_ns = config.all_ns.value_or(policy.all_ns);
  policy.hourly = config.hourly.value_or(0);
  policy.daily = config.daily.value_or(0);
  policy.weekly = config.weekly.value_or(0);
  policy.monthly = config.monthly.value_or(0);
  policy.last = config.last.value_or(1);
  return policy;
}

// A command whose service may have another configuration, or that runs without one.
void put_policy(const Config& config, ApiRequest& request) {
  if (!config.retention) return;
  const RetentionPolicy policy = policy_of(*config.retention);
  const auto put = [&](const char* key, const std::string& value) {
    if (request.get(key).empty()) request.params.emplace_back(key, value);
  };
  put("all", std::to_string(policy.all_ns / 1'000'000'000) + "s");
  put("hourly", std::to_string(policy.hourly));
  put("daily", std::to_string(policy.daily));
  put("weekly", std::to_string(policy.weekly));
  put("monthly", std::to_string(policy.monthly));
  put("last", std::to_string(policy.last));
}

Result<std::optional<HttpConfig>> listen_of(const Arguments& arguments, const Config& config) {
  if (arguments.listen.empty()) return config.http;
  auto listen = parse_listen(arguments.listen);
  if (listen) return listen;
  return make_error(ErrorCode::kUsage,
                    "--listen (or HOLDFAST_LISTEN) is an address and a port from 1 to 65535, like "
                    "127.0.0.1:7474 or [::1]:7474, not \"" +
                        display_path(arguments.listen) + "\"");
}

// [alerts], and the webhook of the environment, which goes before that of the file. None: nobody is
// told.
Result<std::optional<AlertsConfig>> alerts_of(const Config& config) {
  const char* webhook = std::getenv("HOLDFAST_ALERT_WEBHOOK");
  if (webhook == nullptr || *webhook == '\0') return config.alerts;
  if (!is_webhook(webhook)) {
    return make_error(ErrorCode::kUsage,
                      "HOLDFAST_ALERT_WEBHOOK is no address: it has to start with https:// or "
                      "http://, and must not hold spaces");
  }
  AlertsConfig alerts = config.alerts.value_or(AlertsConfig{});
  alerts.webhook = webhook;
  return std::optional(alerts);
}

// The durations and rates of the command line go before those of the configuration.
Status read_schedules(const Arguments& arguments, const Config& config, PartOptions& parts) {
  if (config.scrub && config.scrub->every_ns) parts.scrub.every_ns = *config.scrub->every_ns;
  if (config.scrub && config.scrub->rate_bytes) parts.scrub.rate_bytes = *config.scrub->rate_bytes;
  if (!arguments.scrub_every.empty()) {
    TRY_ASSIGN(parts.scrub.every_ns,
               parse_duration_ns(arguments.scrub_every == "off" ? "0s" : arguments.scrub_every));
  }
  if (!arguments.scrub_rate.empty()) {
    const auto rate = parse_rate_bytes(arguments.scrub_rate);
    if (!rate) {
      return make_error(ErrorCode::kUsage,
                        "--scrub-rate is a rate like 50MB/s, not \"" + arguments.scrub_rate + "\"");
    }
    parts.scrub.rate_bytes = *rate;
  }
  if (config.retention) parts.retention = policy_of(*config.retention);
  parts.jobs = {config.dumps, config.snapshot_every_ns, config.snapshot};
  if (!arguments.snapshot_every.empty()) {
    TRY_ASSIGN(parts.jobs.snapshot_every_ns, parse_duration_ns(arguments.snapshot_every));
  }
  parts.health = limits_of(config);
  TRY_ASSIGN(parts.alerts, alerts_of(config));
  return {};
}

// Those of the command line go before those of the configuration.
Result<SpaceLimits> space_limits_of(const Arguments& arguments, const Config& config) {
  SpaceLimits limits = config.store;
  if (!arguments.quota.empty()) {
    if (auto read = read_quota(arguments.quota, limits); !read.ok()) {
      return make_error(ErrorCode::kUsage, "--quota (or HOLDFAST_QUOTA): " + read.error().message);
    }
  }
  if (!arguments.reserve.empty()) {
    if (auto read = read_reserve(arguments.reserve, limits); !read.ok()) {
      return make_error(ErrorCode::kUsage,
                        "--reserve (or HOLDFAST_RESERVE): " + read.error().message);
    }
  }
  return limits;
}

Result<ServiceOptions> service_options(const Arguments& arguments) {
  TRY_ASSIGN(const Config config, load_config(arguments));
  ServiceOptions options;
  TRY_ASSIGN(options.state_dir, state_dir(arguments, config));
  for (const std::string& argument : arguments.watch) {
    TRY_ASSIGN(RootSpec root, root_of(argument, arguments.excludes));
    options.roots.push_back(std::move(root));
  }
  for (const WatchConfig& watch : config.watches) {
    TRY_ASSIGN(RootSpec root, root_of(watch.name + "=" + watch.path, watch.exclude));
    options.roots.push_back(std::move(root));
  }
  if (options.roots.empty() && config.dumps.empty()) {
    return make_error(ErrorCode::kUsage,
                      "nothing to watch: name a directory, as in holdfast watch "
                      "/data/uploads, or a --config with [[watch]]");
  }
  TRY(read_schedules(arguments, config, options.parts));
  TRY_ASSIGN(options.parts.inboxes,
             checked_inboxes(config.inboxes, arguments.config_file, options.state_dir));
  TRY_ASSIGN(options.backend, backend_of_name(arguments.backend));
  TRY_ASSIGN(options.listen, listen_of(arguments, config));
  TRY_ASSIGN(options.space, space_limits_of(arguments, config));
  options.expect_state = environment_flag("HOLDFAST_EXPECT_STATE");
  if (!arguments.config_file.empty()) {
    options.reread = [&arguments] { return service_options(arguments); };
  }
  return options;
}

int run_watch(const Arguments& arguments) {
  const LogLevel least = arguments.verbose ? LogLevel::kDebug
                         : arguments.quiet ? LogLevel::kWarn
                                           : LogLevel::kInfo;
  const auto log =
      stderr_is_system_journal() ? make_system_journal_log(least) : make_stderr_log(least);
  auto options = service_options(arguments);
  if (!options.ok()) return report(options.error());
  SystemClock clock;
  auto status = run_service(*options, clock, *log);
  return status.ok() ? 0 : report(status.error());
}

// Draws progress on a terminal, and nowhere else.
void show_progress(const Json& progress, bool quiet) {
  if (quiet || ::isatty(STDERR_FILENO) == 0) return;
  std::string text;
  for (const auto& [key, value] : progress.items()) text += " " + key + " " + value.dump();
  std::fprintf(stderr, "\r\033[K%s", text.c_str());
}

constexpr int64_t kHealthTimeoutNs = 8'000'000'000;  // more than the service gives its loop

int run_command(Arguments& arguments, Printer print) {
  auto config = load_config(arguments);
  if (!config.ok()) return report(config.error());
  auto dir = state_dir(arguments, *config);
  if (!dir.ok()) return report(dir.error());
  ApiRequest& request = arguments.request;
  if (arguments.check_health) {
    request.params.emplace_back("check", "1");
    request.timeout_ns = kHealthTimeoutNs;
    if (!arguments.max_age.empty()) request.params.emplace_back("max_age", arguments.max_age);
    print = print_check_health;
  }
  request.params.emplace_back("cwd", working_directory());
  for (const std::string& path : arguments.paths) request.params.emplace_back("path", path);
  for (const std::string& tag : arguments.tags) request.params.emplace_back("tag", tag);
  if (request.path == "/v1/prune") put_policy(*config, request);
  const bool raw = answers_with_bytes(request);
  auto log = make_stderr_log(arguments.verbose ? LogLevel::kInfo : LogLevel::kWarn);
  int code = 0;
  auto take = [&](std::string_view line) {
    if (raw) {
      if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) std::exit(1);
      return;
    }
    const Json json = Json::parse(line, nullptr, false);
    if (json.is_discarded()) return;
    if (json.contains("progress")) return show_progress(json["progress"], arguments.quiet);
    if (json.contains("error")) {
      const Error error = make_error(error_code_of_name(json["code"].get<std::string>()),
                                     json["error"].get<std::string>());
      code = report(error);
      return;
    }
    if (arguments.check_health && !json["healthy"].get<bool>()) code = 3;
    if (request.path == "/v1/restore" && !json["failed"].empty()) code = 5;
    if (request.path == "/v1/flush" && json.contains("not_kept")) {
      std::fprintf(stderr,
                   "holdfast: journaled, but the contents of %s versions are not kept; "
                   "holdfast status says why\n",
                   json["not_kept"].dump().c_str());
      code = 5;
    }
    if (request.path == "/v1/check" && !json["clean"].get<bool>()) code = 3;
    if (request.path == "/v1/verify" && json["problems"].get<uint64_t>() > 0) code = 3;
    if (arguments.json) {
      std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
    } else if (!arguments.quiet) {
      std::fputs(print(json).c_str(), stdout);
    }
    std::fflush(stdout);
  };
  auto status = run_request(*dir, request, raw, *log, take);
  if (std::fflush(stdout) != 0) return 1;
  if (!status.ok()) return report(status.error());
  return code;
}

// Commands around dumps: more than one request each.
std::optional<int> run_dump_command(Arguments& arguments) {
  const ApiRequest& request = arguments.request;
  const bool snapshot = request.path == "/v1/snapshots" && request.method == "POST";
  if (!snapshot && arguments.dump.empty() && arguments.to_command.empty()) return std::nullopt;
  auto config = load_config(arguments);
  if (!config.ok()) return report(config.error());
  auto dir = state_dir(arguments, *config);
  if (!dir.ok()) return report(dir.error());
  auto log = make_stderr_log(arguments.verbose ? LogLevel::kInfo : LogLevel::kWarn);
  const DumpOptions options{*dir, arguments.config_file, *config,
                            *log, arguments.json,        arguments.quiet};
  if (!arguments.dump.empty()) return run_run_dump(options, arguments.dump);
  if (snapshot) {
    auto params = request.params;
    for (const std::string& tag : arguments.tags) params.emplace_back("tag", tag);
    return run_snapshot(options, params, arguments.no_dumps);
  }
  const bool elsewhere = !request.get("to").empty() || request.flag("in_place");
  if (arguments.paths.size() != 1 || request.get("at").empty() || elsewhere) {
    return report(make_error(ErrorCode::kUsage,
                             "restore --to-command takes one file and its moment, as in holdfast "
                             "restore dumps:app-db --at now --to-command 'pg_restore -d app'"));
  }
  return run_to_command(options, arguments.paths[0], request.get("at"), working_directory(),
                        arguments.to_command);
}

// What works on the state as files, without opening it.
int run_mending(const Arguments& arguments, int (*mend)(const MendOptions&)) {
  auto config = load_config(arguments);
  if (!config.ok()) return report(config.error());
  auto dir = state_dir(arguments, *config);
  if (!dir.ok()) return report(dir.error());
  return mend({*dir, arguments.json, arguments.quiet});
}

int run_alert_test(const Arguments& arguments) {
  auto config = load_config(arguments);
  if (!config.ok()) return report(config.error());
  auto dir = state_dir(arguments, *config);
  if (!dir.ok()) return report(dir.error());
  auto alerts = alerts_of(*config);
  if (!alerts.ok()) return report(alerts.error());
  return run_test_alert(alerts->value_or(AlertsConfig{}), {*dir, arguments.json, arguments.quiet});
}

int run_export_command(Arguments& arguments) {
  auto config = load_config(arguments);
  if (!config.ok()) return report(config.error());
  auto dir = state_dir(arguments, *config);
  if (!dir.ok()) return report(dir.error());
  arguments.request.params.emplace_back("cwd", working_directory());
  for (const std::string& path : arguments.paths) {
    arguments.request.params.emplace_back("path", path);
  }
  auto log = make_stderr_log(arguments.verbose ? LogLevel::kInfo : LogLevel::kWarn);
  const ExportRun how{*dir, arguments.to_command, arguments.json, arguments.quiet};
  auto left_out = run_export(how, arguments.request, *log);
  if (!left_out.ok()) return report(left_out.error());
  return *left_out > 0 ? 5 : 0;
}

int run_importing(const Arguments& arguments, const ImportArguments& import_arguments) {
  auto config = load_config(arguments);
  if (!config.ok()) return report(config.error());
  auto dir = state_dir(arguments, *config);
  if (!dir.ok()) return report(dir.error());
  auto log = make_stderr_log(arguments.verbose ? LogLevel::kInfo : LogLevel::kWarn);
  return run_import(import_arguments, {*dir, arguments.json, arguments.quiet}, *log);
}

int run_seeding(const Arguments& arguments, const SeedArguments& seed) {
  auto config = load_config(arguments);
  if (!config.ok()) return report(config.error());
  auto dir = state_dir(arguments, *config);
  if (!dir.ok()) return report(dir.error());
  return run_seed(seed,
                  {*dir, working_directory(), arguments.json, arguments.quiet, arguments.verbose});
}

int run(int argc, char** argv) {
  if (auto read = read_environment_files(); !read.ok()) return report(read.error());
  CLI::App app(
      "Holdfast watches directories, journals every change, keeps every version, and brings any "
      "path back to any moment.",
      "holdfast");
  Arguments arguments;
  add_options_of_all(app, arguments);
  auto* watch = add_watch(app, arguments);
  std::vector<Command> commands;
  add_looking_commands(app, arguments, commands);
  add_acting_commands(app, arguments, commands);
  add_export(app, arguments);
  add_truth_commands(app, arguments, commands);
  auto* run_dump = add_run_dump(app, arguments);
  const auto [rebuild, repair] = add_mending(app);
  const auto* test_alert = add_test_alert(app);
  SeedArguments seed;
  add_seed_command(app, seed);
  ImportArguments import_arguments;
  add_import_command(app, import_arguments);
  std::string manual_kind;
  const auto* manual = add_manual(app, manual_kind);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> rest = app.remaining();
    if (app.get_subcommands().empty() && !rest.empty() && !rest[0].starts_with('-')) {
      return report(make_error(ErrorCode::kUsage,
                               "there is no command \"" + rest[0] + "\"; see holdfast --help"));
    }
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (manual->parsed()) return print_manual(app, manual_kind);
  if (watch->parsed()) return run_watch(arguments);
  if (import_arguments.app->parsed()) return run_importing(arguments, import_arguments);
  if (seed.app->parsed()) return run_seeding(arguments, seed);
  if (test_alert->parsed()) return run_alert_test(arguments);
  if (repair->parsed()) return run_mending(arguments, run_repair);
  if (rebuild->parsed()) return run_mending(arguments, run_rebuild);
  if (app.got_subcommand("export")) return run_export_command(arguments);
  if (run_dump->parsed()) return run_dump_command(arguments).value_or(2);
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    arguments.request.method = command.method;
    arguments.request.path = command.path;
    if (const auto code = run_dump_command(arguments)) return *code;
    return run_command(arguments, command.print);
  }
  return 2;
}

}  // namespace

}  // namespace holdfast

int main(int argc, char** argv) {
  ::signal(SIGIO, SIG_IGN);  // of leases that are asked for a moment: base/fs.h, ask_for_writers()
  if (argc == 3 && std::string_view(argv[1]) == holdfast::kSqliteCheckCommand) {
    return holdfast::run_sqlite_check(argv[2]);  // of our own: service/sqlite_check.h
  }
  if (argc == 2 && std::string_view(argv[1]) == holdfast::kGuardCommand) {
    holdfast::run_child_guard();
  }
  return holdfast::run(argc, argv);
}
