#include "tools/seed.h"

#include <limits.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "base/path.h"
#include "base/root_name.h"
#include "service/seeder.h"
#include "service/words.h"
#include "tools/client.h"

namespace holdfast {

namespace {

constexpr size_t kShown = 100;  // of each list; --json has all
constexpr int kConflicts = 3, kSomeFailed = 5;

std::atomic<bool> interrupted{false};

// Through the user's own symlinks, as far as it is there.
std::string resolved(const std::string& path) {
  char buffer[PATH_MAX];
  if (::realpath(path.c_str(), buffer) != nullptr) return buffer;
  if (path == "/") return path;
  const auto [above, name] = split_last(path);
  return join_path(resolved(std::string(above)), name);
}

Result<std::vector<std::string>> below_dest(const std::vector<std::string>& paths,
                                            const std::string& dest) {
  std::vector<std::string> relative;
  for (const std::string& path : paths) {
    if (path.empty()) continue;  // an option that was given without a path
    TRY_ASSIGN(const std::string absolute, normalize_absolute(path, dest));
    const auto below = path_below(absolute, dest);
    if (!below) {
      return make_error(ErrorCode::kUsage,
                        display_path(path) + " does not lie in " + display_path(dest));
    }
    relative.emplace_back(*below);
  }
  return relative;
}

Result<SeedOptions> options_of(const SeedArguments& arguments, const SeedSurroundings& around) {
  SeedOptions options;
  TRY_ASSIGN(options.source, normalize_absolute(arguments.source, around.working_directory));
  const auto [name, dest] = split_named_dir(arguments.dest);
  options.name = name;
  TRY_ASSIGN(options.dest, normalize_absolute(dest, around.working_directory));
  options.source = resolved(options.source);
  options.dest = resolved(options.dest);
  options.state_dir = around.state_dir;
  const auto policy = seed_policy_of(arguments.policy);
  if (!policy) {
    return make_error(ErrorCode::kUsage, "--policy is keep, replace or fail, not \"" +
                                             display_path(arguments.policy) + "\"");
  }
  options.policy = *policy;
  TRY_ASSIGN(options.force, below_dest(arguments.force, options.dest));
  TRY_ASSIGN(options.mine, below_dest(arguments.mine, options.dest));
  options.force_all = options.force.empty() && arguments.app->count("--force") > 0;
  options.excludes = arguments.excludes;
  options.dry_run = arguments.dry_run;
  options.remove = arguments.remove;
  options.respect_deletes = arguments.respect_deletes;
  return options;
}

// What a person wants to see while it happens; the rest stays as it was.
bool acts(SeedAction action) {
  switch (action) {
    case SeedAction::kAdopt:
    case SeedAction::kLeave:
    case SeedAction::kKeep:
    case SeedAction::kConflict:  // at the end
    case SeedAction::kOrphan:
    case SeedAction::kForget:
    case SeedAction::kSame: return false;
    default: return true;
  }
}

void print_deed(const SeedDeed& deed) {
  std::printf("%-8s  %s  (%s)\n", seed_action_name(deed.action), display_path(deed.path).c_str(),
              deed.why.c_str());
  std::fflush(stdout);
}

Json value_json(const std::optional<SeedValue>& value) {
  if (!value) return {};
  Json json;
  json["type"] = file_type_name(value->type);
  const bool has_hash = value->type == FileType::kFile || value->type == FileType::kSymlink;
  json["hash"] = has_hash
                     ? Json("xxh3:" + to_hex(value->hash.bytes.data(), value->hash.bytes.size()))
                     : Json();
  return json;
}

Json report_json(const SeedReport& report, const SeedOptions& options) {
  Json json;
  put_path(json, "source", options.source);
  put_path(json, "dest", options.dest);
  json["root"] = report.root.empty() ? Json() : Json(report.root);
  json["counts"] = Json::object();
  for (size_t i = 0; i < kSeedActions; ++i) {
    json["counts"][seed_action_name(static_cast<SeedAction>(i))] = report.counts[i];
  }
  json["actions"] = Json::array();
  for (const SeedDeed& deed : report.deeds) {
    Json one;
    put_path(one, "path", deed.path);
    one["action"] = seed_action_name(deed.action);
    one["why"] = deed.why;
    if (deed.action == SeedAction::kConflict) {
      one["volume"] = value_json(deed.volume);
      one["image"] = value_json(deed.image);
      one["seeded"] = value_json(deed.seeded);
    }
    json["actions"].push_back(std::move(one));
  }
  json["failed"] = Json::array();
  for (const auto& [path, why] : report.failed) {
    Json one;
    put_path(one, "path", path);
    one["why"] = to_utf8_lossy(why);
    json["failed"].push_back(std::move(one));
  }
  json["warnings"] = Json::array();
  for (const std::string& warning : report.warnings) {
    json["warnings"].push_back(to_utf8_lossy(warning));
  }
  json["bytes"] = report.bytes;
  json["dry_run"] = options.dry_run;
  json["stopped"] = report.stopped;
  json["undo"] = report.undo.empty() ? Json() : Json(report.undo);
  return json;
}

std::string summary(const SeedReport& report, const SeedOptions& options) {
  std::string text;
  for (size_t i = 0; i < kSeedActions; ++i) {
    const auto action = static_cast<SeedAction>(i);
    if (report.counts[i] == 0 || action == SeedAction::kSame || action == SeedAction::kForget) {
      continue;
    }
    text += (text.empty() ? "" : ", ") + std::string(seed_action_name(action)) + " " +
            std::to_string(report.counts[i]);
  }
  if (!report.failed.empty()) {
    text +=
        (text.empty() ? "" : ", ") + std::string("failed ") + std::to_string(report.failed.size());
  }
  const bool touched = !options.dry_run && !report.stopped;
  const uint64_t same = report.count(SeedAction::kSame);
  return std::string(touched ? "seeded " : "would seed ") + display_path(options.dest) + ": " +
         (text.empty() ? "nothing to do" : text) + ", same " + std::to_string(same) +
         (report.bytes > 0 ? "; " + words_for_bytes(report.bytes) + " written" : "") + "\n";
}

std::string more(size_t count) {
  return count <= kShown ? "" : "and " + std::to_string(count - kShown) + " more (--json)\n";
}

// What the image does not have any more, in one line.
std::string orphans(const SeedReport& report) {
  const uint64_t count = report.count(SeedAction::kOrphan);
  if (count == 0) return "";
  std::string names;
  size_t shown = 0;
  for (const SeedDeed& deed : report.deeds) {
    if (deed.action != SeedAction::kOrphan || ++shown > 10) continue;
    names += " " + display_path(deed.path);
  }
  return "warning: " + std::to_string(count) +
         " not in the image any more, and kept; --delete removes them:" + names +
         (count > 10 ? " …\n" : "\n");
}

void print_end(const SeedReport& report, const SeedOptions& options) {
  std::string text = summary(report, options);
  if (!report.undo.empty()) text += "undo with: " + report.undo + "\n";
  text += orphans(report);
  for (const std::string& warning : report.warnings) text += "warning: " + warning + "\n";
  for (size_t i = 0; i < std::min(report.failed.size(), kShown); ++i) {
    text +=
        "FAILED    " + display_path(report.failed[i].first) + ": " + report.failed[i].second + "\n";
  }
  text += more(report.failed.size());
  size_t conflicts = 0;
  for (const SeedDeed& deed : report.deeds) {
    if (deed.action != SeedAction::kConflict || ++conflicts > kShown) continue;
    text += "CONFLICT  " + display_path(deed.path) + ": " + deed.why + "\n          diff " +
            display_path(join_path(options.dest, deed.path)) + " " +
            display_path(join_path(options.source, deed.path)) + "\n";
  }
  text += more(conflicts);
  if (conflicts > 0) {
    text += report.stopped ? "nothing was touched, as --policy fail asks for; "
                           : "the volume's files were kept; ";
    text += "--force PATH takes the image's, --mine PATH settles it for the volume's\n";
  }
  std::fputs(text.c_str(), stdout);
}

}  // namespace

void add_seed_command(CLI::App& app, SeedArguments& arguments) {
  auto* seed =
      app.add_subcommand("seed", "bring an image's files into a volume, three-way")->fallthrough();
  arguments.app = seed;
  seed->add_option("SRC", arguments.source, "the directory in the image")->required();
  seed->add_option("DEST", arguments.dest,
                   "the directory in the volume; NAME=DIR names the root that it becomes where it "
                   "is in none")
      ->required();
  seed->add_option("--policy", arguments.policy,
                   "what happens to conflicts: keep (default), replace, fail");
  seed->add_option("--force", arguments.force,
                   "make these paths of DEST, or everything, what the image has; after SRC DEST")
      ->expected(0, -1);
  seed->add_option("--mine", arguments.mine, "in these paths of DEST, what is there is right");
  seed->add_flag("--delete", arguments.remove,
                 "remove what an image brought and this one does not have");
  seed->add_flag("--respect-deletes", arguments.respect_deletes,
                 "what was deleted in the volume stays deleted");
  seed->add_option("--exclude", arguments.excludes, "gitignore pattern; may be given again")
      ->take_all()
      ->allow_extra_args(false);
  seed->add_flag("--dry-run", arguments.dry_run, "only say what would be done");
  seed->footer(
      "Examples:\n  holdfast seed /var/initialdata uploads=/data || [ $? -eq 3 ]\n"
      "  holdfast seed /var/initialdata /data --force app.conf\n"
      "Exit code 3: there are conflicts. 5: some files could not be written, each is named.");
}

int run_seed(const SeedArguments& arguments, const SeedSurroundings& around) {
  auto options = options_of(arguments, around);
  if (!options.ok()) return report(options.error());
  auto log = make_stderr_log(around.verbose ? LogLevel::kInfo : LogLevel::kError);
  Session session(around.state_dir, *log, !options->dry_run);
  const auto ask = [&](const ApiRequest& request, bool raw, const Seeder::Take& take) {
    auto answered = session.run(request, raw, take);
    struct sigaction action {};  // a session in this process has its own until then
    action.sa_handler = [](int) { interrupted = true; };
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    return answered;
  };
  Seeder seeder(ask, *options, [] { return interrupted.load(); });
  const bool text = !around.json && !around.quiet;
  seeder.on_deed = [&](const SeedDeed& deed) {
    const bool shown =
        acts(deed.action) || (around.verbose && deed.action != SeedAction::kConflict);
    if (text && shown) print_deed(deed);
  };
  seeder.on_note = [&](const std::string& note) {
    if (text) std::printf("%s\n", note.c_str());
    std::fflush(stdout);
  };
  auto result = seeder.run();
  if (!result.ok()) return report(result.error());
  if (around.json) {
    std::fputs(json_line(report_json(*result, *options)).c_str(), stdout);
  } else if (text) {
    print_end(*result, *options);
  }
  if (std::fflush(stdout) != 0) return 1;
  if (!result->failed.empty()) return kSomeFailed;
  return result->count(SeedAction::kConflict) > 0 ? kConflicts : 0;
}

}  // namespace holdfast
