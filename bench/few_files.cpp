#include "bench/edits.h"
#include "bench/parts.h"

namespace holdfast::bench {

namespace {

constexpr size_t kOneFileTimes = 20;
constexpr double kOneFileMillisecondsMax = 30;

// The whole process counts, from its start to its end.
Result<std::vector<Usage>> for_each_file(const std::vector<std::string>& files,
                                         const std::function<Result<Usage>(std::string)>& run) {
  std::vector<Usage> all;
  for (const std::string& file : files) {
    TRY_ASSIGN(const Usage usage, run(file));
    all.push_back(usage);
  }
  return all;
}

std::vector<double> milliseconds(const std::vector<Usage>& all) {
  std::vector<double> values;
  for (const Usage& usage : all) values.push_back(usage.wall_s * 1e3);
  return values;
}

void add_one_file(Bench& bench, const std::string& key, const std::string& what,
                  const std::vector<Usage>& all, std::optional<double> target) {
  const std::vector<double> values = milliseconds(all);
  Figure figure;
  figure.key = key;
  figure.name = what + ", the whole process, median of " + std::to_string(values.size());
  figure.ours = in_unit(median(values), Unit::kMilliseconds) + ", slowest " +
                in_unit(percentile(values, 1), Unit::kMilliseconds);
  figure.value = median(values);
  figure.unit = Unit::kMilliseconds;
  figure.target = target;
  figure.detail = Json{{"all_ms", values}};
  bench.report().add(figure);
}

// restic and borg, for which ours is measured with a service and with none.
Status one_file_by_peers(Bench& bench, const Corpus& corpus, const std::vector<std::string>& files,
                         const std::vector<Usage>& ours) {
  for (const Peer& peer : bench.peers()) {
    TRY_ASSIGN(const std::string repository, bench.repository(peer, corpus));
    Comparison comparison{"cat of one file of K",
                          "one_file.K." + peer.name(),
                          peer.name() + ", one file",
                          std::nullopt,
                          {},
                          {}};
    for (size_t i = 0; i < bench.options().peer_pairs && i < files.size(); ++i) {
      TRY_ASSIGN(const Usage theirs, peer.cat(repository, "first", corpus.path, files[i]));
      comparison.ours.push_back(ours[i]);
      comparison.theirs.push_back(theirs);
    }
    bench.report().add(comparison);
  }
  return {};
}

}  // namespace

Status measure_one_file(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested("K"));
  TRY_ASSIGN(const auto all, sorted_files(corpus->path));
  const auto files = spread(all, kOneFileTimes);
  say("one file of K");
  const auto cat = [&](const std::string& file) {
    return run_command(bench.command(corpus->state, {"cat", "tree:" + file, "--at", "now"}));
  };
  std::vector<Usage> by_service;
  {
    ServiceRun service;
    TRY(service.start(bench.options().program, corpus->state, corpus->path));
    settle();
    TRY_ASSIGN(by_service, for_each_file(files, cat));
    add_one_file(bench, "one_file.cat", "cat of one file of K", by_service,
                 kOneFileMillisecondsMax);
    TRY_ASSIGN(const auto restored, for_each_file(files, [&](const std::string& file) {
                 return run_command(bench.command(
                     corpus->state,
                     {"restore", "tree:" + file, "--at", "now", "--to", bench.fresh("one-file")}));
               }));
    add_one_file(bench, "one_file.restore", "restore of one file of K", restored,
                 kOneFileMillisecondsMax);
    TRY(service.stop());
  }
  TRY_ASSIGN(const auto alone, for_each_file(files, cat));
  add_one_file(bench, "one_file.cat_alone", "cat of one file of K, without a service", alone,
               kOneFileMillisecondsMax);
  return one_file_by_peers(bench, *corpus, files, by_service);
}

// Ours is timed from the moment when the last file was changed: the service may still be at it.
Status measure_snapshot(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested("edited"));
  TRY_ASSIGN(const auto all, sorted_files(corpus->path));
  const auto files = spread(all, 10);
  std::vector<std::string> repositories;
  std::vector<Comparison> peers;
  for (const Peer& peer : bench.peers()) {
    const bool goal = peer.name() == "restic";
    peers.push_back({"snapshot of K after ten changes",
                     "snapshot.K." + peer.name(),
                     peer.name() + ", second backup",
                     goal ? std::optional(0.01) : std::nullopt,
                     {},
                     {}});
    TRY_ASSIGN(const std::string repository, bench.repository(peer, *corpus));
    repositories.push_back(repository);
  }
  ServiceRun service;
  TRY(service.start(bench.options().program, corpus->state, corpus->path));
  std::vector<Usage> ours;
  for (size_t pair = 1; pair <= bench.options().pairs; ++pair) {
    say("snapshot after ten changes, pair " + std::to_string(pair));
    settle();
    TRY(append_line(corpus->path, files, "change " + std::to_string(pair)));
    TRY_ASSIGN(const Usage usage,
               run_command(bench.command(corpus->state, {"snapshot", "-m", "ten changes"})));
    ours.push_back(usage);
    for (size_t i = 0; i < peers.size() && pair <= bench.options().peer_pairs; ++i) {
      settle();
      TRY_ASSIGN(const Usage theirs, bench.peers()[i].backup(repositories[i], corpus->path,
                                                             "pair" + std::to_string(pair)));
      peers[i].ours.push_back(usage);
      peers[i].theirs.push_back(theirs);
    }
  }
  add_one_file(bench, "snapshot.K", "snapshot of K after ten files changed", ours, std::nullopt);
  for (const Comparison& peer : peers) bench.report().add(peer);
  return service.stop();
}

}  // namespace holdfast::bench
