#include "tools/commands.h"

#include "tools/print.h"

namespace holdfast {

namespace {

// Adds a value as a request parameter when it is given.
void parameter(CLI::App* command, Arguments& arguments, const std::string& flags,
               const std::string& name, const std::string& help) {
  command->add_option_function<std::string>(
      flags,
      [&arguments, name](const std::string& value) {
        arguments.request.params.emplace_back(name, value);
      },
      help);
}
void switch_parameter(CLI::App* command, Arguments& arguments, const std::string& flags,
                      const std::string& name, const std::string& help) {
  command->add_flag_callback(
      flags, [&arguments, name] { arguments.request.params.emplace_back(name, "1"); }, help);
}

constexpr const char* kTimeHelp =
    "a moment: @1234, s1234 (a snapshot), \"2026-11-20 14:03\", \"10 minutes ago\", now";

}  // namespace

void add_looking_commands(CLI::App& app, Arguments& arguments, std::vector<Command>& commands) {
  auto* log = app.add_subcommand("log", "show the journal")->fallthrough();
  log->add_option("PATH", arguments.paths, "only this path and what is below it")->expected(0, 1);
  parameter(log, arguments, "--since", "since", kTimeHelp);
  parameter(log, arguments, "--until", "until", kTimeHelp);
  parameter(log, arguments, "--kind", "kind",
            "only these kinds: create,modify,attrib,rename,delete,gap,…");
  parameter(log, arguments, "--verdict", "verdict", "only these verdicts");
  parameter(log, arguments, "--root", "root", "only this root");
  parameter(log, arguments, "-n,--limit", "limit", "only the newest N records");
  switch_parameter(log, arguments, "--reverse", "reverse", "newest first");
  switch_parameter(log, arguments, "-f,--follow", "follow", "go on as records come");
  log->footer("Example: holdfast log uploads: --since \"1 hour ago\" --kind delete");
  commands.push_back({log, "GET", "/v1/log", print_record});

  auto* history = app.add_subcommand("history", "show every version of a path")->fallthrough();
  history->add_option("PATH", arguments.paths, "it may be gone by now")->required()->expected(1);
  history->footer("Example: holdfast history /data/uploads/report.pdf");
  commands.push_back({history, "GET", "/v1/history", print_record});

  auto* ls = app.add_subcommand("ls", "list a directory at any moment")->fallthrough();
  ls->add_option("PATH", arguments.paths, "default: all roots")->expected(0, 1);
  parameter(ls, arguments, "--at", "at", kTimeHelp);
  switch_parameter(ls, arguments, "-R,--recursive", "recursive", "and everything below");
  ls->footer("Example: holdfast ls uploads:2026 --at yesterday");
  commands.push_back({ls, "GET", "/v1/ls", print_entry});

  auto* cat = app.add_subcommand("cat", "write a file's content at any moment to standard output")
                  ->fallthrough();
  cat->add_option("PATH", arguments.paths, "a regular file")->required()->expected(1);
  parameter(cat, arguments, "--at", "at", kTimeHelp);
  cat->footer("Example: holdfast cat /etc/app.conf --at \"10 minutes ago\" | diff - /etc/app.conf");
  commands.push_back({cat, "GET", "/v1/cat", nullptr});

  auto* diff = app.add_subcommand("diff", "what differs between two moments")->fallthrough();
  diff->add_option_function<std::string>(
          "A", [&](const std::string& value) { arguments.request.params.emplace_back("a", value); },
          kTimeHelp)
      ->required();
  diff->add_option_function<std::string>(
          "B", [&](const std::string& value) { arguments.request.params.emplace_back("b", value); },
          kTimeHelp)
      ->required();
  diff->add_option("PATH", arguments.paths, "only this path and what is below it")->expected(0, 1);
  diff->footer("Example: holdfast diff yesterday now /data/uploads");
  commands.push_back({diff, "GET", "/v1/diff", print_diff});
}

void add_acting_commands(CLI::App& app, Arguments& arguments, std::vector<Command>& commands) {
  auto* status = app.add_subcommand("status", "roots, coverage, store, problems")->fallthrough();
  auto* check_health = status->add_flag("--check", arguments.check_health,
                                        "only what is wrong, a line each; exit 3 where anything is "
                                        "(for HEALTHCHECK)");
  status
      ->add_option("--max-age", arguments.max_age,
                   "a root that was last known to be up to date longer ago is wrong, too (1h)")
      ->needs(check_health);
  status->footer("Examples:\n  holdfast status\n  holdfast status --check --max-age 10m");
  commands.push_back({status, "GET", "/v1/status", print_status});

  auto* flush =
      app.add_subcommand("flush", "return once all that happened before is durable")->fallthrough();
  parameter(flush, arguments, "--timeout", "timeout", "give up after this long, such as 30s");
  flush->footer("Example: seq=$(holdfast flush)   # prints @1234");
  commands.push_back({flush, "POST", "/v1/flush",
                      [](const Json& json) { return "@" + json["seq"].dump() + "\n"; }});

  auto* snapshot =
      app.add_subcommand("snapshot", "pin the present moment under a name")->fallthrough();
  snapshot->add_flag("--no-dumps", arguments.no_dumps,
                     "leave out the [[dump]]s of the configuration, which are made first");
  parameter(snapshot, arguments, "-m,--message", "message", "what it is for");
  snapshot->add_option("--tag", arguments.tags, "KEY=VALUE, may be given again")
      ->take_all()
      ->allow_extra_args(false);
  snapshot->footer("Example: holdfast snapshot -m \"before deploy\"");
  auto* remove = snapshot->add_subcommand("rm", "unpin a snapshot")->fallthrough();
  remove->footer("Example: holdfast snapshot rm s1234");
  remove
      ->add_option_function<std::string>(
          "NAME",
          [&](const std::string& value) { arguments.request.params.emplace_back("name", value); },
          "its name")
      ->required();
  commands.push_back({remove, "DELETE", "/v1/snapshots", [](const Json& json) {
                        return "removed " + json["removed"].get<std::string>() + "\n";
                      }});
  commands.push_back({snapshot, "POST", "/v1/snapshots", print_snapshot});
  auto* snapshots = app.add_subcommand("snapshots", "list the snapshots")->fallthrough();
  commands.push_back({snapshots, "GET", "/v1/snapshots", print_snapshot});

  auto* restore =
      app.add_subcommand("restore", "bring paths back as they were at a moment")->fallthrough();
  restore->add_option("PATH", arguments.paths, "default: everything that was watched");
  parameter(restore, arguments, "--at", "at", kTimeHelp);
  parameter(restore, arguments, "--to", "to",
            "into this directory; of several roots, each into one of its name");
  restore->add_option("--to-command", arguments.to_command,
                      "one file to the standard input of this shell command");
  switch_parameter(restore, arguments, "--in-place", "in_place",
                   "where they were; the present is pinned first");
  switch_parameter(restore, arguments, "--delete", "delete",
                   "remove what was not there at that moment");
  switch_parameter(restore, arguments, "--dry-run", "dry_run", "only say what would be done");
  parameter(restore, arguments, "--overwrite", "overwrite", "if-changed (default), always, never");
  restore->footer(
      "Examples:\n  holdfast restore --at yesterday --to /tmp/look\n"
      "  holdfast restore /data/uploads/2026 --at @1234 --in-place --delete");
  commands.push_back({restore, "POST", "/v1/restore", print_restore});
}

void add_export(CLI::App& app, Arguments& arguments) {
  auto* command =
      app.add_subcommand("export", "write a tree at any moment to standard output, as a tar")
          ->fallthrough();
  command->add_option("PATH", arguments.paths, "default: everything that was watched");
  parameter(command, arguments, "--at", "at", kTimeHelp);
  command->add_option("--to-command", arguments.to_command,
                      "to the standard input of this shell command, and not to our output");
  command->footer(
      "Names in it begin with that of the root.\n"
      "Examples:\n  holdfast export uploads: --at yesterday | zstd > uploads.tar.zst\n"
      "  holdfast export --at s1234 | rclone rcat remote:backup.tar\n"
      "Exit code 5: some files could not be exported, each is named.");
}

void add_truth_commands(CLI::App& app, Arguments& arguments, std::vector<Command>& commands) {
  auto* verify =
      app.add_subcommand("verify", "read the files again and compare them with the journal")
          ->fallthrough();
  verify->add_option("PATH", arguments.paths, "default: everything that is watched");
  switch_parameter(verify, arguments, "--heal", "heal",
                   "bring corrupt files back from their last good version");
  parameter(verify, arguments, "--at", "at", "compare with this moment, and journal nothing");
  parameter(verify, arguments, "--rate", "rate", "read no faster than this, such as 50MB/s");
  verify->footer(
      "Examples:\n  holdfast verify\n  holdfast verify --heal /data/uploads\n"
      "Exit code 3: something is corrupt, missing, empty or shortened.");
  commands.push_back({verify, "POST", "/v1/verify", print_verify});

  auto* accept =
      app.add_subcommand("accept", "take what is there now as good, and end its open verdict")
          ->fallthrough();
  accept->add_option("PATH", arguments.paths, "a file, or a directory with open verdicts")
      ->required();
  accept->footer("Example: holdfast accept /data/uploads/report.pdf");
  commands.push_back({accept, "POST", "/v1/accept", print_accept});

  auto* check = app.add_subcommand("check", "verify journal and store")->fallthrough();
  switch_parameter(check, arguments, "--read-data", "read_data",
                   "read and verify every stored byte");
  check->footer("Example: holdfast check --read-data");
  commands.push_back({check, "POST", "/v1/check", print_check});

  auto* prune = app.add_subcommand("prune", "drop contents that no kept moment needs, free space")
                    ->fallthrough();
  switch_parameter(prune, arguments, "--dry-run", "dry_run", "only say what would go");
  parameter(prune, arguments, "--all", "all", "keep every moment of this time (48h)");
  parameter(prune, arguments, "--hourly", "hourly", "and the beginnings of so many hours");
  parameter(prune, arguments, "--daily", "daily", "of so many days");
  parameter(prune, arguments, "--weekly", "weekly", "of so many weeks");
  parameter(prune, arguments, "--monthly", "monthly", "of so many months");
  parameter(prune, arguments, "--last", "last", "and so many newest contents of each file");
  parameter(prune, arguments, "--grace", "grace", "keep old pack files for this long (1m)");
  prune->footer(
      "Without these, [retention] of the configuration says what is kept; without that: 48h, 72\n"
      "hours, 30 days, 12 weeks, 12 months, 7 contents. Snapshots and open verdicts keep theirs.\n"
      "Examples:\n  holdfast prune --dry-run\n  holdfast prune --all 7d --daily 90");
  commands.push_back({prune, "POST", "/v1/prune", print_prune});
}

CLI::App* add_run_dump(CLI::App& app, Arguments& arguments) {
  auto* run_dump =
      app.add_subcommand("run-dump", "make a [[dump]] of the configuration now")->fallthrough();
  run_dump->add_option("NAME", arguments.dump, "its name")->required();
  run_dump->footer(
      "Exit code 1: its command failed. 3: it gave nothing, or much less than before. Both are\n"
      "kept, and dumps:NAME stays the last good one.\n"
      "Example: holdfast --config /etc/holdfast.toml run-dump app-db");
  return run_dump;
}

void add_options_of_all(CLI::App& app, Arguments& arguments) {
  app.set_version_flag("--version", "holdfast " HOLDFAST_VERSION);
  app.add_option("--state", arguments.state, "the state directory")->envname("HOLDFAST_STATE");
  app.add_option("--config", arguments.config_file, "holdfast.toml")->envname("HOLDFAST_CONFIG");
  app.add_flag("--json", arguments.json, "JSON instead of text")->envname("HOLDFAST_JSON");
  app.add_flag("-q,--quiet", arguments.quiet, "say less")->envname("HOLDFAST_QUIET");
  app.add_flag("-v,--verbose", arguments.verbose, "say more")->envname("HOLDFAST_VERBOSE");
  app.require_subcommand(1);
}

CLI::App* add_watch(CLI::App& app, Arguments& arguments) {
  auto* watch = app.add_subcommand("watch", "the service, in the foreground")->fallthrough();
  watch->add_option("DIR", arguments.watch, "[NAME=]DIR to watch; may be given again");
  watch->add_option("--exclude", arguments.excludes, "gitignore pattern; may be given again")
      ->envname("HOLDFAST_EXCLUDE")
      ->take_all()
      ->allow_extra_args(false);  // else it would swallow the DIR after it
  watch
      ->add_option("--scrub-every", arguments.scrub_every,
                   "verify everything this often (30d), or off")
      ->envname("HOLDFAST_SCRUB_EVERY");
  watch->add_option("--scrub-rate", arguments.scrub_rate, "reading no faster than this (20MB/s)")
      ->envname("HOLDFAST_SCRUB_RATE");
  watch
      ->add_option("--snapshot-every", arguments.snapshot_every,
                   "take a snapshot this often, and keep the newest 24 of those")
      ->envname("HOLDFAST_SNAPSHOT_EVERY");
  watch
      ->add_option("--listen", arguments.listen,
                   "ADDRESS:PORT for /healthz, /readyz and /metrics, such as 127.0.0.1:7474")
      ->envname("HOLDFAST_LISTEN");
  watch
      ->add_option("--quota", arguments.quota,
                   "what the store may take (50GB); beyond it no new content is kept")
      ->envname("HOLDFAST_QUOTA");
  watch
      ->add_option("--reserve", arguments.reserve,
                   "what it leaves free on its disk (5%, 10GB); below it no new content is kept")
      ->envname("HOLDFAST_RESERVE");
  watch
      ->add_option("--backend", arguments.backend,
                   "what tells of changes: auto (the best that works), fanotify, inotify, poll")
      ->envname("HOLDFAST_BACKEND");
  watch->footer("Example: holdfast watch uploads=/data/uploads /etc --exclude '*.tmp'");
  return watch;
}

std::pair<CLI::App*, CLI::App*> add_mending(CLI::App& app) {
  auto* rebuild =
      app.add_subcommand("rebuild", "make the journal anew from the packs")->fallthrough();
  rebuild->footer(
      "For a journal that is damaged or gone. No service may be running; the old journal is kept.\n"
      "Example: holdfast rebuild");
  auto* repair =
      app.add_subcommand("repair", "save all that is sound of a damaged state")->fallthrough();
  repair->footer(
      "No service may be running. What is replaced is kept in the state's directory damaged.\n"
      "Exit code 3: damage was found, and nothing is lost. 5: something is, and is named.\n"
      "Example: holdfast repair");
  return {rebuild, repair};
}

CLI::App* add_test_alert(CLI::App& app) {
  auto* test_alert =
      app.add_subcommand("test-alert", "send a test through the sinks of [alerts], now")
          ->fallthrough();
  test_alert->footer(
      "Each is tried once. Exit code 1: one of them did not work. No service needs to run.\n"
      "Example: holdfast --config /etc/holdfast.toml test-alert");
  return test_alert;
}

}  // namespace holdfast
