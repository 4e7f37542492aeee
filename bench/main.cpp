// holdfast_bench: measures the holdfast program from outside, as its users meet it, pair by pair
// with a plain tool that does the same amount of work. Figures are for people to read: nothing here
// fails for being slow. It fails when a step fails or when a restore does not bring back what was
// there; what got worse than in an earlier run (--against) shows in the exit code, 3.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/fs.h"
#include "bench/parts.h"

namespace holdfast::bench {

namespace {

constexpr int kExitWorse = 3;

struct Part {
  const char* name;
  Status (*measure)(Bench&);
};
// First what is read and leaves its tree alone, then what changes one.
constexpr Part kParts[] = {{"ingest", measure_ingest},     {"restore", measure_restore},
                           {"start", measure_start},       {"one", measure_one_file},
                           {"check", measure_check},       {"verify", measure_verify},
                           {"snapshot", measure_snapshot}, {"growth", measure_growth},
                           {"prune", measure_prune},       {"beside-prune", measure_beside_prune},
                           {"latency", measure_latency},   {"scrub", measure_scrub},
                           {"storm", measure_storm},       {"untar", measure_untar},
                           {"memory", measure_memory},     {"seed", measure_seed}};

std::vector<std::string> part_names() {
  std::vector<std::string> names;
  for (const Part& part : kParts) names.push_back(part.name);
  return names;
}

bool wanted(const Options& options, const std::string& part) {
  const auto& only = options.only;
  return only.empty() || std::find(only.begin(), only.end(), part) != only.end();
}

Result<Json> earlier_report(const std::string& file) {
  constexpr size_t kReportBytesMax = 16 << 20;
  TRY_ASSIGN(const std::string text, read_whole_file(file, kReportBytesMax));
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("figures")) {
    return make_error(ErrorCode::kUsage, file + " is not what --json wrote");
  }
  return json;
}

// Below --work, /var/tmp or what TMPDIR says: a real file system, where /tmp may be memory.
Result<std::string> make_work_dir(const Options& options) {
  const char* temporary = std::getenv("TMPDIR");
  std::string base = options.work;
  if (base.empty()) base = temporary != nullptr && *temporary != '\0' ? temporary : "/var/tmp";
  std::string work = std::filesystem::absolute(base) / "hfbench-XXXXXX";
  if (::mkdtemp(work.data()) == nullptr) return errno_error(errno, "making a directory in " + base);
  return work;
}

// What is there so far is written after each part, so that a failure late in a long run does not
// take the rest along.
Status write_out(const Options& options, const Report& report) {
  if (!options.json_file.empty()) {
    TRY(write_file_durably(options.json_file, report.json().dump(2) + "\n", 0644));
  }
  if (!options.markdown_file.empty()) {
    TRY(write_file_durably(options.markdown_file, report.markdown(), 0644));
  }
  return {};
}

// A full disk would take others down, too. No part writes more than this.
Status enough_space(const Options& options, const std::string& work) {
  constexpr uint64_t kPartBytesMax = 20ull * 1000 * 1000 * 1000;
  if (options.smoke) return {};
  TRY_ASSIGN(const FreeSpace space, free_space(work));
  if (space.free_bytes >= kPartBytesMax) return {};
  return make_error(ErrorCode::kNoSpace, "less than " + in_megabytes(kPartBytesMax) +
                                             " are free in " + work +
                                             "; name a larger disk with --work");
}

Result<int> measure(Bench& bench, const std::string& work) {
  const Options& options = bench.options();
  Json earlier;
  if (!options.against_file.empty()) {
    TRY_ASSIGN(earlier, earlier_report(options.against_file));
  }
  for (const Part& part : kParts) {
    if (!wanted(options, part.name)) continue;
    TRY(enough_space(options, work));
    if (auto status = part.measure(bench); !status.ok()) return status.error().in(part.name);
    TRY(write_out(options, bench.report()));
  }
  std::printf("%s", bench.report().markdown().c_str());
  if (options.against_file.empty()) return 0;
  const Difference difference = compare(earlier, bench.report().json());
  std::printf("\n%-34s %12s %12s\n%s%zu worse by more than a tenth, %zu not in both\n", "figure",
              "old", "new", difference.text.c_str(), difference.worse, difference.absent);
  return difference.worse > 0 ? kExitWorse : 0;
}

Result<int> measure_in_work_dir(const Options& options) {
  TRY_ASSIGN(const std::string work, make_work_dir(options));
  Bench bench(options, work);
  auto code = measure(bench, work);
  if (options.keep) {
    say("kept " + work);
  } else {
    std::error_code failed;
    std::filesystem::remove_all(work, failed);
  }
  return code;
}

void add_options(CLI::App& app, Options& options) {
  app.add_option("--program", options.program, "the holdfast to measure");
  app.add_flag("--smoke", options.smoke, "small trees and one pair: whether all of it works");
  app.add_option("--pairs", options.pairs, "how often each thing is measured")
      ->check(CLI::PositiveNumber);
  app.add_option("--only", options.only, "only these parts")
      ->delimiter(',')
      ->check(CLI::IsMember(part_names()));
  app.add_option("--trees", options.trees,
                 "only these trees, where a part has several: K (Linux), S (small files),"
                 " U (uploads), D (database)")
      ->delimiter(',')
      ->check(CLI::IsMember({"K", "S", "U", "D"}));
  app.add_flag("--peers", options.peers, "measure restic and borg, too, where they are installed");
  app.add_option("--peer-pairs", options.peer_pairs, "how often those are measured")
      ->check(CLI::PositiveNumber);
  app.add_option("--changes", options.changes, "for the latency")->check(CLI::PositiveNumber);
  app.add_option("--many-files", options.many_files, "for the memory; at least 100")
      ->check(CLI::Range(100, 100'000'000));
  app.add_option("--storm-seconds", options.storm_s, "how long the storm lasts")
      ->check(CLI::PositiveNumber);
  app.add_option("--linux-archive", options.archive,
                 "the source tree, as Debian's linux-source-6.1 has it");
  app.add_option("--json", options.json_file, "write all figures there");
  app.add_option("--markdown", options.markdown_file, "write the table there");
  app.add_option("--against", options.against_file,
                 "compare with what --json wrote before; exit code 3 where something got worse")
      ->check(CLI::ExistingFile);
  app.add_option("--work", options.work, "work below this directory (50 GB for the full run)");
  app.add_flag("--keep", options.keep, "leave what was written");
}

int run(int argc, char** argv) {
  CLI::App app("Measures holdfast beside tar, zstd, cp, find, cat and fsync.", "holdfast_bench");
  Options options;
  options.program = std::filesystem::absolute(argv[0]).parent_path().parent_path() / "holdfast";
  add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  if (options.smoke) {
    options.pairs = options.peer_pairs = 1;
    options.changes = 20;
    options.many_files = 2'000;
  }
  const auto code = measure_in_work_dir(options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "holdfast_bench: %s\n", code.error().message.c_str());
  return 1;
}

}  // namespace

}  // namespace holdfast::bench

int main(int argc, char** argv) { return holdfast::bench::run(argc, argv); }
