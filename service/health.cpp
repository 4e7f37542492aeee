#include "service/health.h"

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "service/words.h"

namespace holdfast {

namespace {

constexpr uint64_t kFreeBytes = 1'000'000'000;
constexpr double kFreePercent = 5;
constexpr int64_t kSnapshotGraceNs = 600'000'000'000;

std::string at_most(int64_t ns) { return "at most " + words_for_duration(ns); }

void check_age(const HealthInput& input, const HealthLimits& limits,
               std::vector<Finding>& findings) {
  if (!input.served) return;
  for (const RootStatus& root : input.engine.roots) {
    const bool ever = root.caught_up_ago_ns.has_value();
    if (root.lost || (!ever && !limits.max_age_given)) continue;  // the former is told anyway
    const int64_t age_ns = root.caught_up_ago_ns.value_or(input.engine.up_ns);
    if (age_ns <= limits.max_age_ns) continue;
    findings.push_back(
        {"up_to_date", root.name, ever ? "last known to be up to date" : "the first look takes",
         words_for_duration(age_ns) + (ever ? " ago" : ""), at_most(limits.max_age_ns),
         "holdfast status shows what it waits for, and its log why; where files are read for "
         "longer than that, raise max_age in [health]",
         "age"});
  }
}

void check_progress(const HealthInput& input, const HealthLimits& limits,
                    std::vector<Finding>& findings) {
  if (input.engine.stuck_ns <= limits.stuck_ns) return;
  findings.push_back({"progress", "", "files or directories are being read, and none is done",
                      "for " + words_for_duration(input.engine.stuck_ns), at_most(limits.stuck_ns),
                      "a disk or a server that does not answer is the usual cause: look at dmesg "
                      "and at the mounts",
                      "stuck"});
}

std::string percent_words(double percent) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g %%", percent);
  return text;
}

void check_free(const HealthInput& input, const HealthLimits& limits,
                std::vector<Finding>& findings) {
  if (!input.state_space) return;
  auto finding = space_finding("free space on the disk of the state " + input.state_dir,
                               *input.state_space, limits, false);
  if (!finding) return;
  finding->fix = "free some, or drop old versions with holdfast prune";
  findings.push_back(std::move(*finding));
}

void check_snapshots(const HealthInput& input, std::vector<Finding>& findings) {
  if (input.snapshot_every_ns == 0) return;
  if (!input.snapshot_failure.empty()) {
    findings.push_back({"snapshot", "", "the last snapshot by schedule was not taken",
                        input.snapshot_failure, "",
                        "it is tried again when it is next due; a hook of [snapshot] that fails is "
                        "the usual cause",
                        "failed"});
  }
  const int64_t last_ns = std::max(input.last_snapshot_ns, input.since_ns);
  const int64_t most_ns = 2 * input.snapshot_every_ns + kSnapshotGraceNs;
  const int64_t age_ns = input.now_ns - last_ns;
  if (age_ns <= most_ns) return;
  findings.push_back(
      {"snapshot", "",
       input.last_snapshot_ns == 0 ? "no snapshot by schedule yet, and the service runs"
                                   : "the last snapshot by schedule is old",
       words_for_duration(age_ns), at_most(most_ns),
       "its log says why none was taken; a hook of [snapshot] that fails is the usual cause",
       "overdue"});
}

void check_scrub(const HealthInput& input, std::vector<Finding>& findings) {
  if (input.scrub_every_ns == 0) return;
  const int64_t last_ns =
      input.scrub.finished_ns != 0 ? input.scrub.finished_ns : input.scrub.started_ns;
  if (last_ns == 0) return;  // there was nothing to scrub yet
  const int64_t age_ns = input.now_ns - last_ns, most_ns = 2 * input.scrub_every_ns;
  if (age_ns <= most_ns) return;
  findings.push_back({"scrub", "",
                      input.scrub.finished_ns != 0 ? "the last scrub that finished is old"
                                                   : "the first scrub does not end",
                      words_for_duration(age_ns), at_most(most_ns),
                      "it reads no faster than rate in [scrub]: raise that, or every", "old"});
}

// "and 12 more files …" is the same when they are 13.
std::string without_count(const std::string& what) {
  const size_t more = what.find(" more ");
  if (more == std::string::npos) return "";
  size_t first = more;
  while (first > 0 && std::isdigit(static_cast<unsigned char>(what[first - 1])) != 0) --first;
  return first == more ? "" : what.substr(0, first) + what.substr(more);
}

}  // namespace

std::string Finding::text() const {
  std::string text = root.empty() ? what : root + ": " + what;
  if (!value.empty()) text += ": " + value;
  if (!bound.empty()) text += ", " + bound;
  if (!fix.empty()) text += "; " + fix;
  return text;
}

Finding finding_of(const std::string& check, const std::string& problem) {
  Finding finding;
  finding.check = check;
  const size_t end = problem.find("; ");
  finding.what = problem.substr(0, end);
  if (end != std::string::npos) finding.fix = problem.substr(end + 2);
  finding.subject = without_count(finding.what);
  return finding;
}

std::optional<Finding> space_finding(const std::string& what, const FreeSpace& space,
                                     const HealthLimits& limits, bool stands) {
  const auto& [free, total] = space;
  const auto share = [total = total](double percent) {
    return static_cast<uint64_t>(static_cast<double>(total) * percent / 100);
  };
  uint64_t least = std::min(kFreeBytes, share(kFreePercent));
  if (limits.free_below_bytes) least = *limits.free_below_bytes;
  if (limits.free_below_percent) least = share(*limits.free_below_percent);
  if (free >= (stands ? least + least / 10 : least)) return std::nullopt;
  std::string bound = "at least " + words_for_bytes(least);
  if (limits.free_below_percent) bound += " (" + percent_words(*limits.free_below_percent) + ")";
  return Finding{
      "free_space", "",          what,  words_for_bytes(free) + " of " + words_for_bytes(total),
      bound,        "free some", "disk"};
}

HealthLimits limits_of(const Config& config) {
  HealthLimits limits;
  if (!config.health) return limits;
  limits.max_age_given = config.health->max_age_ns.has_value();
  limits.max_age_ns = config.health->max_age_ns.value_or(limits.max_age_ns);
  limits.free_below_percent = config.health->free_below.percent;
  limits.free_below_bytes = config.health->free_below.bytes;
  return limits;
}

std::vector<Finding> check_health(const HealthInput& input, const HealthLimits& limits) {
  std::vector<Finding> findings;
  for (const EngineProblem& problem : input.engine.problems) {
    Finding finding = finding_of(problem.check, problem.text);
    finding.root = problem.root;
    if (!problem.subject.empty()) finding.subject = problem.subject;
    findings.push_back(std::move(finding));
  }
  check_age(input, limits, findings);
  check_progress(input, limits, findings);
  check_free(input, limits, findings);
  check_snapshots(input, findings);
  check_scrub(input, findings);
  return findings;
}

Finding loop_finding(int64_t waited_ns) {
  return {"loop",
          "",
          "the service does not answer",
          "not within " + words_for_duration(waited_ns),
          "",
          "it hangs, or its disk does: look at its log and at dmesg, then restart it",
          ""};
}

Finding hung_finding(const std::string& root, const std::string& path, int64_t waited_ns) {
  return {
      "coverage",
      root,
      "its file system does not answer",
      "not within " + words_for_duration(waited_ns),
      "",
      "see to its server, or give it up with umount -f " + display_path(path) +
          ": nothing of any root is captured until then, and then the service goes on by itself",
      "hangs"};
}

std::vector<std::string> not_ready(const EngineStatus& engine, const HealthLimits& limits) {
  std::vector<std::string> reasons;
  for (const RootStatus& root : engine.roots) {
    if (root.lost) {
      reasons.push_back(root.name + ": the directory is gone or is not the same");
    } else if (!root.caught_up_ago_ns) {
      reasons.push_back(root.name + ": the first look at it is not done yet");
    } else if (*root.caught_up_ago_ns > limits.max_age_ns) {
      reasons.push_back(root.name + ": last known to be up to date " +
                        words_for_duration(*root.caught_up_ago_ns) + " ago, " +
                        at_most(limits.max_age_ns));
    }
  }
  if (engine.stalled) reasons.push_back("nothing can be written: " + *engine.stalled);
  return reasons;
}

}  // namespace holdfast
