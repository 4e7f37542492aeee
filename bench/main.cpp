// holdfast_bench: measures the holdfast program from outside, as its users meet it, pair by pair
// with a plain tool that does the same amount of work. Figures are for people to read: nothing here
// fails for being slow. It fails when a step fails or when a restore does not bring back what was
// there.
//
// All that is written goes to fresh places and is deleted at the end: ext4 creates files several
// times slower for a while after a large tree was removed.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "base/fs.h"
#include "bench/report.h"
#include "bench/trees.h"

namespace holdfast::bench {

namespace {

constexpr const char* kLinuxArchive = "/usr/src/linux-source-6.1.tar.xz";
constexpr double kAtRestSeconds = 2;

struct Options {
  std::string program, json_file, markdown_file, work, archive = kLinuxArchive;
  bool smoke = false, keep = false;
  size_t pairs = 5, changes = 300;
  std::vector<std::string> only;
  uint64_t many_files = 300'000;
};

std::string shell_word(const std::string& path) {
  std::string out = "'";
  for (const char c : path) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// All of the pipeline has to succeed, not only its end.
Result<Usage> run_pipeline(const std::string& commands) {
  return run_command({"bash", "-o", "pipefail", "-c", commands});
}

void say(const std::string& text) { std::fprintf(stderr, "bench: %s\n", text.c_str()); }

class Bench {
 public:
  Bench(Options options, std::string work) : options_(std::move(options)), work_(std::move(work)) {}
  Status run();

 private:
  struct Part {
    const char* name;
    Status (Bench::*measure)();
  };
  static const Part kParts[];

  Status prepare();
  Status make_state();
  Status ingest();
  Status sizes(const std::string& state);
  Status restore();
  Status start_up();
  Status latency();
  Status verify();
  Status scrub_latency();
  Status memory();
  Status write_out() const;
  std::string place(const std::string& name, size_t pair) const {
    return work_ + "/" + name + std::to_string(pair);
  }
  Result<Usage> restore_once(ServiceRun& service, const std::string& to);

  const Options options_;
  const std::string work_;
  std::string tree_;   // what is ingested and restored
  std::string state_;  // of the last ingest
  Report report_;
};

const Bench::Part Bench::kParts[] = {{"ingest", &Bench::ingest},  {"restore", &Bench::restore},
                                     {"start", &Bench::start_up}, {"latency", &Bench::latency},
                                     {"verify", &Bench::verify},  {"scrub", &Bench::scrub_latency},
                                     {"memory", &Bench::memory}};

Status Bench::run() {
  TRY(prepare());
  for (const Part& part : kParts) {
    const bool wanted =
        options_.only.empty() ||
        std::find(options_.only.begin(), options_.only.end(), part.name) != options_.only.end();
    if (wanted) TRY((this->*part.measure)());
    if (!wanted && state_.empty()) TRY(make_state());
  }
  return write_out();
}

// For the parts that begin with one, where the ingest is not measured.
Status Bench::make_state() {
  say("first ingest, not measured");
  state_ = place("state", 0);
  ServiceRun service;
  TRY(service.start(options_.program, state_, tree_));
  return service.stop();
}

Status Bench::prepare() {
  if (options_.smoke) {
    tree_ = work_ + "/tree";
    TRY(make_text_tree(tree_, options_.many_files, 20));
    TRY(add_odd_files(tree_));
  } else {
    say("unpacking " + options_.archive);
    TRY_ASSIGN(tree_, unpack_linux(options_.archive, work_ + "/linux"));
  }
  TRY_ASSIGN(const uint64_t files, file_count(tree_));
  report_.add("tree", Json{{"files", files}, {"bytes", tree_bytes(tree_)}});
  // Into the page cache; a slow first reading would count for whoever comes first.
  TRY(run_pipeline("tar -C " + shell_word(tree_) + " -c . | cat >/dev/null"));
  return {};
}

// What is still to be written back is not to be paid for by the next measurement.
void settle() { ::sync(); }

Status Bench::ingest() {
  Comparison comparison;
  comparison.name = "first ingest";
  comparison.key = "ingest";
  comparison.reference = "tar c | zstd -T2 -1";
  std::vector<double> peaks, rests;
  for (size_t pair = 1; pair <= options_.pairs; ++pair) {
    say("first ingest, pair " + std::to_string(pair));
    settle();
    ServiceRun service;
    state_ = place("state", pair);
    TRY_ASSIGN(const Usage ours, service.start(options_.program, state_, tree_));
    comparison.ours.push_back(ours);
    peaks.push_back(static_cast<double>(service.anonymous_bytes_peak()));
    std::this_thread::sleep_for(std::chrono::duration<double>(options_.smoke ? 0 : kAtRestSeconds));
    rests.push_back(static_cast<double>(service.anonymous_bytes()));
    TRY(service.stop());
    settle();
    const std::string file = shell_word(place("tree.tar.zst", pair));
    TRY_ASSIGN(const Usage theirs,
               run_pipeline("tar -C " + shell_word(tree_) + " -c . | zstd -q -T2 -1 > " + file));
    comparison.theirs.push_back(theirs);
  }
  report_.add(comparison);
  report_.add("ingest_memory",
              Json{{"anonymous_peak_bytes", static_cast<uint64_t>(median(peaks))},
                   {"anonymous_at_rest_bytes", static_cast<uint64_t>(median(rests))}});
  report_.row("anonymous memory, this tree: peak, at rest",
              in_megabytes(static_cast<uint64_t>(median(peaks))) + ", " +
                  in_megabytes(static_cast<uint64_t>(median(rests))),
              "", "");
  return sizes(state_);
}

Status Bench::sizes(const std::string& state) {
  const std::string three = work_ + "/tree-3.tar.zst";
  TRY(run_pipeline("tar -C " + shell_word(tree_) + " -c . | zstd -q -T2 -3 > " +
                   shell_word(three)));
  const uint64_t packs = tree_bytes(state + "/packs"), index = tree_bytes(state + "/journal");
  const uint64_t one_bytes = file_bytes(place("tree.tar.zst", 1)), three_bytes = file_bytes(three);
  report_.add("size", Json{{"packs_bytes", packs},
                           {"index_bytes", index},
                           {"tar_zst_1_bytes", one_bytes},
                           {"tar_zst_3_bytes", three_bytes}});
  const auto ratio = [&](uint64_t bytes) {
    return in_ratio(static_cast<double>(packs) / static_cast<double>(bytes));
  };
  report_.row("size: packs (and their index)",
              in_megabytes(packs) + " (" + in_megabytes(index) + ")",
              "tar.zst -1: " + in_megabytes(one_bytes) + ", -3: " + in_megabytes(three_bytes),
              ratio(one_bytes) + ", " + ratio(three_bytes));
  return {};
}

Result<Usage> Bench::restore_once(ServiceRun& service, const std::string& to) {
  const double before = service.cpu_s();
  TRY_ASSIGN(Usage usage, run_command({options_.program, "--state", state_, "--quiet", "restore",
                                       "--at", "now", "--to", to}));
  usage.cpu_s += service.cpu_s() - before;
  usage.rss_bytes = service.anonymous_bytes_peak();
  return usage;
}

// A restore ends with a sync: what it says is done, a power cut does not undo. cp -a makes no such
// promise, so that it is measured with and without one.
Status Bench::restore() {
  ServiceRun service;
  TRY(service.start(options_.program, state_, tree_));
  Comparison plain, durable;
  plain.name = "restore of everything";
  plain.key = "restore";
  plain.reference = "cp -a";
  durable.name = "the same";
  durable.key = "restore_durable";
  durable.reference = "cp -a && sync -f";
  for (size_t pair = 1; pair <= options_.pairs; ++pair) {
    say("restore, pair " + std::to_string(pair));
    settle();
    const std::string to = place("restored", pair), copy = place("copied", pair);
    TRY_ASSIGN(const Usage ours, restore_once(service, to));
    settle();
    const double start = now_s();
    TRY_ASSIGN(Usage theirs, run_command({"cp", "-a", tree_, copy}));
    plain.theirs.push_back(theirs);
    TRY_ASSIGN(const Usage synced, run_command({"sync", "-f", copy}));
    theirs.wall_s = now_s() - start;
    theirs.cpu_s += synced.cpu_s;
    durable.theirs.push_back(theirs);
    plain.ours.push_back(ours);
    durable.ours.push_back(ours);
    if (auto same = same_trees(tree_, to); !same.ok())
      return same.error().in("the restore differs");
  }
  report_.add(plain);
  report_.add(durable);
  return service.stop();
}

Status Bench::start_up() {
  Comparison comparison;
  comparison.name = "start on the unchanged tree";
  comparison.key = "start_up";
  comparison.reference = "find -printf '%T@ %s %i'";
  for (size_t pair = 1; pair <= options_.pairs; ++pair) {
    say("start on the unchanged tree, pair " + std::to_string(pair));
    settle();
    ServiceRun service;
    TRY_ASSIGN(const Usage ours, service.start(options_.program, state_, tree_));
    TRY(service.stop());
    TRY_ASSIGN(const Usage theirs, run_command({"find", tree_, "-printf", "%T@ %s %i\n"}));
    comparison.ours.push_back(ours);
    comparison.theirs.push_back(theirs);
  }
  report_.add(comparison);
  return {};
}

Result<double> timed_change(const std::string& path, const std::string& bytes,
                            const std::function<Status(int fd)>& before_close,
                            const std::function<Status()>& after_close) {
  const double start = now_s();
  {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!fd) return errno_error(errno, "creating " + path);
    TRY(write_full(fd.get(), bytes));
    TRY(before_close(fd.get()));
  }
  TRY(after_close());
  return now_s() - start;
}

// One change at a time: how long until it is safe, against the least that makes a file safe at all.
Status Bench::latency() {
  const std::string watched = work_ + "/changing", other = work_ + "/beside";
  TRY(make_directories(watched, 0755));
  TRY(make_directories(other, 0755));
  ServiceRun service;
  TRY(service.start(options_.program, work_ + "/state-latency", watched));
  say("latency of " + std::to_string(options_.changes) + " changes");
  settle();
  const auto nothing = [](int) { return Status(); };
  const auto sync_file = [](int fd) {
    return ::fsync(fd) == 0 ? Status() : Status(errno_error(errno, "fsync"));
  };
  std::vector<double> ours, theirs;
  for (size_t i = 0; i < options_.changes; ++i) {
    const std::string name = "/change" + std::to_string(i);
    const std::string bytes = "change " + std::to_string(i) + std::string(2000, 'x');
    TRY_ASSIGN(const double took,
               timed_change(watched + name, bytes, nothing, [&] { return service.flush(); }));
    TRY_ASSIGN(const double plain,
               timed_change(other + name, bytes, sync_file, [] { return Status(); }));
    ours.push_back(took);
    theirs.push_back(plain);
  }
  TRY(service.stop());
  Json json{{"changes", options_.changes}};
  for (const auto& [name, share] : {std::pair{"p50", 0.50}, std::pair{"p99", 0.99}}) {
    const double a = percentile(ours, share), b = percentile(theirs, share);
    json[name] = Json{{"ours_s", a}, {"write_fsync_s", b}, {"ratio", a / b}};
    report_.row(
        std::string("change until durable, ") + name + " of " + std::to_string(options_.changes),
        in_milliseconds(a), "write + fsync: " + in_milliseconds(b), in_ratio(a / b));
  }
  report_.add("latency", json);
  return {};
}

// Reading everything again, from the disk, beside the plainest program that reads everything.
Status Bench::verify() {
  if (::geteuid() != 0) {
    say("verify is left out: only root can empty the page cache");
    return {};
  }
  ServiceRun service;
  TRY(service.start(options_.program, state_, tree_));
  Comparison comparison;
  comparison.name = "verify, cold cache";
  comparison.key = "verify_cold";
  comparison.reference = "cat >/dev/null, two at a time";
  const std::string drop = "sync; echo 3 > /proc/sys/vm/drop_caches";
  for (size_t pair = 1; pair <= options_.pairs; ++pair) {
    say("verify, pair " + std::to_string(pair));
    TRY(run_pipeline(drop));
    const double before = service.cpu_s();
    TRY_ASSIGN(Usage ours, run_command({options_.program, "--state", state_, "--quiet", "verify"}));
    ours.cpu_s += service.cpu_s() - before;
    TRY(run_pipeline(drop));
    TRY_ASSIGN(const Usage theirs, run_pipeline("find " + shell_word(tree_) +
                                                " -type f -print0 | xargs -0 -n 500 -P 2 cat "
                                                ">/dev/null"));
    comparison.ours.push_back(ours);
    comparison.theirs.push_back(theirs);
  }
  report_.add(comparison);
  return service.stop();
}

// What a scrub at a limited rate costs those who change files meanwhile.
Status Bench::scrub_latency() {
  const std::string changing = tree_ + "/changing";
  TRY(make_directories(changing, 0755));
  std::vector<double> quiet, scrubbing;
  for (size_t round = 0; round < 4; ++round) {
    const bool scrub = round % 2 == 1;
    say(std::string("latency ") + (scrub ? "under a scrub" : "without one"));
    settle();
    ServiceRun service;
    std::vector<std::string> options{"--scrub-every", scrub ? "1s" : "off"};
    if (scrub) options.insert(options.end(), {"--scrub-rate", "20MB/s"});
    TRY(service.start(options_.program, state_, tree_, options));
    std::this_thread::sleep_for(std::chrono::duration<double>(1.5));
    for (size_t i = 0; i < options_.changes; ++i) {
      const std::string path = changing + "/r" + std::to_string(round) + "-" + std::to_string(i);
      TRY_ASSIGN(const double took,
                 timed_change(
                     path, std::string(2000, 'x') + path, [](int) { return Status(); },
                     [&] { return service.flush(); }));
      (scrub ? scrubbing : quiet).push_back(took);
    }
    TRY(service.stop());
  }
  Json json{{"changes", options_.changes}};
  for (const auto& [name, share] : {std::pair{"p50", 0.50}, std::pair{"p99", 0.99}}) {
    const double a = percentile(scrubbing, share), b = percentile(quiet, share);
    json[name] = Json{{"scrubbing_s", a}, {"quiet_s", b}, {"ratio", a / b}};
    report_.row(std::string("the same under a scrub at 20 MB/s, ") + name, in_milliseconds(a),
                "without: " + in_milliseconds(b), in_ratio(a / b));
  }
  report_.add("scrub_latency", json);
  return {};
}

Status Bench::memory() {
  const uint64_t files = options_.many_files;
  const std::string many = work_ + "/many";
  say("making " + std::to_string(files) + " files");
  TRY(make_text_tree(many, files, files / 100));
  settle();
  say("ingesting them");
  ServiceRun service;
  TRY_ASSIGN(const Usage usage, service.start(options_.program, work_ + "/state-many", many));
  const uint64_t peak = service.anonymous_bytes_peak();
  std::this_thread::sleep_for(std::chrono::duration<double>(options_.smoke ? 0 : kAtRestSeconds));
  const uint64_t rest = service.anonymous_bytes();
  TRY(service.stop());
  const uint64_t packs = tree_bytes(work_ + "/state-many/packs");
  report_.add("many_files", Json{{"files", files},
                                 {"bytes", tree_bytes(many)},
                                 {"ingest_s", usage.wall_s},
                                 {"ingest_cpu_s", usage.cpu_s},
                                 {"anonymous_peak_bytes", peak},
                                 {"anonymous_at_rest_bytes", rest},
                                 {"packs_bytes", packs},
                                 {"index_bytes", tree_bytes(work_ + "/state-many/journal")}});
  report_.row(std::to_string(files) + " small files, once: anonymous memory, peak, at rest",
              in_megabytes(peak) + ", " + in_megabytes(rest), "", "");
  report_.row("their first ingest; packs", in_seconds(usage.wall_s) + "; " + in_megabytes(packs),
              "", "");
  return {};
}

Status Bench::write_out() const {
  std::printf("%s", report_.markdown().c_str());
  if (!options_.json_file.empty()) {
    TRY(write_file_durably(options_.json_file, report_.json().dump(2) + "\n", 0644));
  }
  if (!options_.markdown_file.empty()) {
    TRY(write_file_durably(options_.markdown_file, report_.markdown(), 0644));
  }
  return {};
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

Status measure(const Options& options) {
  TRY_ASSIGN(const std::string work, make_work_dir(options));
  auto status = Bench(options, work).run();
  if (options.keep) {
    say("kept " + work);
  } else {
    std::error_code failed;
    std::filesystem::remove_all(work, failed);
  }
  return status;
}

int run(int argc, char** argv) {
  CLI::App app("Measures holdfast beside tar, zstd, cp, find and fsync.", "holdfast_bench");
  Options options;
  options.program = std::filesystem::absolute(argv[0]).parent_path().parent_path() / "holdfast";
  app.add_option("--program", options.program, "the holdfast to measure");
  app.add_flag("--smoke", options.smoke, "a small tree and one pair: whether all of it works");
  app.add_option("--pairs", options.pairs, "how often each thing is measured")
      ->check(CLI::PositiveNumber);
  app.add_option("--only", options.only,
                 "of ingest, restore, start, latency, verify, scrub, memory: only these")
      ->delimiter(',');
  app.add_option("--changes", options.changes, "for the latency")->check(CLI::PositiveNumber);
  app.add_option("--many-files", options.many_files, "for the memory; at least 100")
      ->check(CLI::Range(100, 100'000'000));
  app.add_option("--linux-archive", options.archive,
                 "the source tree, as Debian's linux-source-6.1 has it");
  app.add_option("--json", options.json_file, "write all figures there");
  app.add_option("--markdown", options.markdown_file, "write the table there");
  app.add_option("--work", options.work, "work below this directory (20 GB for the full run)");
  app.add_flag("--keep", options.keep, "leave what was written");
  CLI11_PARSE(app, argc, argv);
  if (options.smoke) {
    options.pairs = 1;
    options.changes = 20;
    options.many_files = 2'000;
  }
  const auto status = measure(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "holdfast_bench: %s\n", status.error().message.c_str());
  return 1;
}

}  // namespace

}  // namespace holdfast::bench

int main(int argc, char** argv) { return holdfast::bench::run(argc, argv); }
