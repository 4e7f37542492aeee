#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <future>
#include <thread>

#include "base/fs.h"
#include "bench/edits.h"
#include "bench/parts.h"
#include "bench/storm.h"
#include "bench/trees.h"

namespace holdfast::bench {

namespace {

// Of the time that one change takes, in milliseconds, as p50 and p99 beside a reference.
struct Latencies {
  std::string key, name, reference;
  std::optional<double> p50_target, p99_target;
  std::vector<double> ours, theirs;  // seconds
};

void add_latencies(Bench& bench, const Latencies& all) {
  const std::string count = std::to_string(all.ours.size());
  for (const auto& [label, share, target] :
       {std::tuple{"p50", 0.50, all.p50_target}, std::tuple{"p99", 0.99, all.p99_target}}) {
    const double ours = percentile(all.ours, share), theirs = percentile(all.theirs, share);
    Figure figure;
    figure.key = all.key + "." + label;
    figure.name = all.name + ", " + label + " of " + count;
    figure.ours = in_milliseconds(ours);
    figure.target = target;
    if (all.theirs.empty()) {
      figure.value = ours * 1e3;
      figure.unit = Unit::kMilliseconds;
    } else {
      figure.value = ours / theirs;
      figure.reference = all.reference + ": " + in_milliseconds(theirs);
    }
    figure.detail = Json{{"ours_s", ours}, {"reference_s", theirs}};
    bench.report().add(figure);
  }
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

Status nothing(int /*fd*/) { return {}; }

Status sync_file(int fd) {
  return ::fsync(fd) == 0 ? Status() : Status(errno_error(errno, "fsync"));
}

// Nobody asks for a flush here: how long until a follower of the log has the record.
Status event_latency(Bench& bench, const std::string& state, const std::string& watched) {
  say("latency of " + std::to_string(bench.options().changes) + " events");
  LogFollower follower;
  TRY(follower.start(state));
  Latencies seen{"event", "change until a follower of the log sees it", "", {}, {}, {}, {}};
  for (size_t i = 0; i < bench.options().changes; ++i) {
    const std::string name = "event" + std::to_string(i) + ".txt";
    TRY_ASSIGN(const double took, timed_change(watched + "/" + name, "event " + name, nothing, [&] {
                 return follower.wait_for("\"path\":\"" + name + "\"");
               }));
    seen.ours.push_back(took);
  }
  add_latencies(bench, seen);
  return {};
}

}  // namespace

// One change at a time: how long until it is safe, against the least that makes a file safe at all.
Status measure_latency(Bench& bench) {
  const std::string watched = bench.fresh("changing"), other = bench.fresh("beside");
  const std::string state = bench.fresh("state-changing");
  TRY(make_directories(watched, 0755));
  TRY(make_directories(other, 0755));
  ServiceRun service;
  TRY(service.start(bench.options().program, state, watched));
  say("latency of " + std::to_string(bench.options().changes) + " changes");
  settle();
  Latencies durable{"durable", "change until durable", "write + fsync", 3, 10, {}, {}};
  for (size_t i = 0; i < bench.options().changes; ++i) {
    const std::string name = "/change" + std::to_string(i);
    const std::string bytes = "change " + std::to_string(i) + std::string(2000, 'x');
    TRY_ASSIGN(const double took,
               timed_change(watched + name, bytes, nothing, [&] { return service.flush(); }));
    TRY_ASSIGN(const double plain,
               timed_change(other + name, bytes, sync_file, [] { return Status(); }));
    durable.ours.push_back(took);
    durable.theirs.push_back(plain);
  }
  add_latencies(bench, durable);
  TRY(event_latency(bench, state, watched));
  return service.stop();
}

// What a scrub at a limited rate costs those who change files meanwhile.
Status measure_scrub(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested("edited"));
  const std::string changing = corpus->path + "/changing";
  TRY(make_directories(changing, 0755));
  Latencies latencies{
      "scrub", "change until durable, under a scrub at 20 MB/s", "without one", {}, {}, {}, {}};
  const size_t rounds = bench.options().smoke ? 2 : 4;
  for (size_t round = 0; round < rounds; ++round) {
    const bool scrub = round % 2 == 1;
    say(std::string("latency ") + (scrub ? "under a scrub" : "without one"));
    settle();
    ServiceRun service;
    std::vector<std::string> options{"--scrub-every", scrub ? "1s" : "off"};
    if (scrub) options.insert(options.end(), {"--scrub-rate", "20MB/s"});
    TRY(service.start(bench.options().program, corpus->state, corpus->path, options));
    std::this_thread::sleep_for(std::chrono::duration<double>(1.5));
    for (size_t i = 0; i < bench.options().changes; ++i) {
      const std::string path = changing + "/r" + std::to_string(round) + "-" + std::to_string(i);
      TRY_ASSIGN(const double took, timed_change(path, std::string(2000, 'x') + path, nothing,
                                                 [&] { return service.flush(); }));
      (scrub ? latencies.ours : latencies.theirs).push_back(took);
    }
    TRY(service.stop());
  }
  add_latencies(bench, latencies);
  return {};
}

// What a prune costs those who change files meanwhile: it has to rewrite packs in every round.
Status measure_beside_prune(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested("edited"));
  const std::string changing = corpus->path + "/beside-prune";
  TRY(make_directories(changing, 0755));
  TRY_ASSIGN(const auto files, sorted_files(corpus->path));
  Latencies latencies{
      "beside_prune", "change until durable, beside a prune", "without one", {}, 2, {}, {}};
  ServiceRun service;
  TRY(service.start(bench.options().program, corpus->state, corpus->path));
  uint64_t changes = 0;
  const auto change = [&](std::vector<double>& into) -> Status {
    const std::string path = changing + "/" + std::to_string(++changes);
    TRY_ASSIGN(const double took, timed_change(path, std::string(2000, 'x') + path, nothing,
                                               [&] { return service.flush(); }));
    into.push_back(took);
    return {};
  };
  for (size_t round = 1; round <= (bench.options().smoke ? 1U : 5U); ++round) {
    say("latency beside prune " + std::to_string(round));
    for (size_t edit = 0; edit < 3; ++edit) {
      TRY(append_line(corpus->path, every_hundredth(files, 0),
                      "beside prune " + std::to_string(round) + "." + std::to_string(edit)));
      TRY(service.flush());
    }
    settle();
    auto pruning = std::async(std::launch::async, [&] {
      return run_command(bench.command(
          corpus->state, {"prune", "--all", "0s", "--hourly", "0", "--daily", "0", "--weekly", "0",
                          "--monthly", "0", "--last", "1", "--grace", "0s"}));
    });
    size_t count = 0;
    for (; pruning.wait_for(std::chrono::seconds(0)) != std::future_status::ready; ++count) {
      TRY(change(latencies.ours));
    }
    TRY(pruning.get());
    settle();
    for (; count > 0; --count) TRY(change(latencies.theirs));
  }
  add_latencies(bench, latencies);
  return service.stop();
}

// Changes faster than they can be looked at, for some seconds: memory has to stay bounded, the
// flush has to return, and what it covers has to be the tree as it is.
Status measure_storm(Bench& bench) {
  constexpr double kMemoryMegabytesMax = 96;
  const std::string tree = bench.fresh("storm"), state = bench.fresh("state-storm");
  Storm storm(tree, bench.options().smoke ? 2'000 : 10'000);
  TRY(storm.prepare());
  ServiceRun service;
  TRY(service.start(bench.options().program, state, tree));
  settle();
  say("a storm of changes");
  const double start = now_s();
  TRY_ASSIGN(const uint64_t changes,
             storm.run(bench.options().smoke ? 0.3 : bench.options().storm_s));
  const double storm_s = now_s() - start;
  TRY(service.flush());
  const double flush_s = now_s() - start - storm_s;
  const double peak = static_cast<double>(service.anonymous_bytes_peak()) / 1e6;
  const std::string restored = bench.fresh("storm-restored");
  TRY(run_command(bench.command(state, {"restore", "--at", "now", "--to", restored})));
  if (auto same = same_trees(tree, restored); !same.ok())
    return same.error().in("after the storm something is missing");
  Figure figure;
  figure.key = "storm.flush";
  figure.name = "flush after a storm";
  figure.ours = in_seconds(flush_s);
  figure.reference = std::to_string(changes) + " changes in " + in_seconds(storm_s);
  figure.value = flush_s;
  figure.unit = Unit::kSeconds;
  figure.detail = Json{{"changes", changes}, {"storm_s", storm_s}, {"cpu_s", service.cpu_s()}};
  bench.report().add(figure);
  figure = {"storm.memory",
            "anonymous memory in a storm, peak",
            in_unit(peak, Unit::kMegabytes),
            "",
            peak,
            Unit::kMegabytes,
            kMemoryMegabytesMax,
            Json::object()};
  bench.report().add(figure);
  return service.stop();
}

}  // namespace holdfast::bench
