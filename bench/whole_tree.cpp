#include <unistd.h>

#include <map>

#include "bench/parts.h"
#include "bench/trees.h"

namespace holdfast::bench {

namespace {

constexpr double kAtRestSeconds = 2;
constexpr double kMegabyte = 1e6;

std::string archive_of(const std::string& tree, const std::string& file) {
  return "tar -C " + shell_word(tree) + " -c . | zstd -q -T2 -3 > " + shell_word(file);
}

double mega(uint64_t bytes) { return static_cast<double>(bytes) / kMegabyte; }

// Packs are what has to be kept; LMDB is their index, and can be made from them.
void add_store_size(Bench& bench, const Corpus& corpus, uint64_t archive_bytes,
                    std::optional<double> target) {
  const uint64_t packs = tree_bytes(corpus.state + "/packs");
  const uint64_t index = tree_bytes(corpus.state + "/journal");
  Figure figure;
  figure.key = "store." + corpus.name;
  figure.name = "store of " + corpus.name + ": packs (and their index)";
  figure.ours = in_megabytes(packs) + " (" + in_megabytes(index) + ")";
  figure.reference = "`tar c | zstd -T2 -3`: " + in_megabytes(archive_bytes);
  figure.value = static_cast<double>(packs) / static_cast<double>(archive_bytes);
  figure.target = target;
  figure.detail =
      Json{{"packs_bytes", packs}, {"index_bytes", index}, {"tar_zst_bytes", archive_bytes}};
  bench.report().add(figure);
}

void add_memory(Bench& bench, const std::string& tree, const std::vector<double>& peaks,
                const std::vector<double>& rests) {
  Figure figure;
  figure.key = "memory." + tree;
  figure.name = "anonymous memory in the first ingest of " + tree + ": peak, at rest";
  figure.ours =
      in_unit(median(peaks), Unit::kMegabytes) + ", " + in_unit(median(rests), Unit::kMegabytes);
  figure.value = median(peaks);
  figure.unit = Unit::kMegabytes;
  if (tree == "K") figure.target = 64;
  figure.detail = Json{{"at_rest_mb", median(rests)}};
  bench.report().add(figure);
}

// One measured backup of each pair, and the size of the last repository.
Status ingest_by_peer(Bench& bench, const Peer& peer, const Corpus& corpus,
                      const std::string& repository, Comparison& comparison) {
  TRY(peer.init(repository));
  settle();
  TRY_ASSIGN(const Usage usage, peer.backup(repository, corpus.path, "first"));
  comparison.theirs.push_back(usage);
  const uint64_t bytes = tree_bytes(repository);
  bench.report().note("peer_stores", peer.name() + "." + corpus.name, bytes);
  bench.keep_repository(peer, corpus, repository);
  return {};
}

Status ingest_tree(Bench& bench, const std::string& name, double target) {
  TRY_ASSIGN(Corpus* const corpus, bench.corpus(name));
  Comparison plain;
  plain.name = "first ingest of " + name;
  plain.key = "ingest." + name;
  plain.reference = "tar c | zstd -T2 -3";
  plain.target = target;
  std::vector<Comparison> peers;
  for (const Peer& peer : bench.peers()) {
    const bool goal = peer.name() == "restic" && name == "K";
    peers.push_back({plain.name,
                     plain.key + "." + peer.name(),
                     peer.name() + ", first backup",
                     goal ? std::optional(0.25) : std::nullopt,
                     {},
                     {}});
  }
  std::vector<double> peaks, rests;
  uint64_t archive_bytes = 0;
  for (size_t pair = 1; pair <= bench.options().pairs; ++pair) {
    say(plain.name + ", pair " + std::to_string(pair));
    TRY(warm(corpus->path));  // borg drops from the page cache what it has read
    const std::string state = bench.fresh("state-" + name), file = bench.fresh("archive-" + name);
    settle();
    ServiceRun service;
    TRY_ASSIGN(const Usage ours, service.start(bench.options().program, state, corpus->path));
    plain.ours.push_back(ours);
    peaks.push_back(mega(service.anonymous_bytes_peak()));
    pause(bench.options(), kAtRestSeconds);
    rests.push_back(mega(service.anonymous_bytes()));
    TRY(service.stop());
    if (!corpus->state.empty()) remove_early(corpus->state);
    corpus->state = state;
    settle();
    TRY_ASSIGN(const Usage theirs, run_pipeline(archive_of(corpus->path, file)));
    plain.theirs.push_back(theirs);
    archive_bytes = file_bytes(file);
    remove_early(file);
    for (size_t i = 0; i < peers.size() && pair <= bench.options().peer_pairs; ++i) {
      peers[i].ours.push_back(ours);
      TRY(ingest_by_peer(bench, bench.peers()[i], *corpus, bench.fresh("repository"), peers[i]));
    }
  }
  bench.report().add(plain);
  for (const Comparison& peer : peers) bench.report().add(peer);
  static const std::map<std::string, double> store_targets = {{"K", 1.15}, {"S", 1.2}};
  const auto goal = store_targets.find(name);
  add_store_size(bench, *corpus, archive_bytes,
                 goal == store_targets.end() ? std::nullopt : std::optional(goal->second));
  add_memory(bench, name, peaks, rests);
  return {};
}

Result<Usage> restore_all(Bench& bench, ServiceRun& service, const std::string& state,
                          const std::string& to) {
  const double before = service.cpu_s();
  TRY_ASSIGN(Usage usage,
             run_command(bench.command(state, {"restore", "--at", "now", "--to", to})));
  usage.cpu_s += service.cpu_s() - before;
  usage.rss_bytes = service.anonymous_bytes_peak();
  return usage;
}

// A restore ends with a sync: what it says is done, a power cut does not undo. cp -a makes no such
// promise, so that it is measured with and without one.
Status restore_pair(Bench& bench, ServiceRun& service, const Corpus& corpus, Comparison& plain,
                    Comparison& durable) {
  const std::string to = bench.fresh("restored"), copy = bench.fresh("copied");
  settle();
  TRY_ASSIGN(const Usage ours, restore_all(bench, service, corpus.state, to));
  settle();
  const double start = now_s();
  TRY_ASSIGN(Usage theirs, run_command({"cp", "-a", corpus.path, copy}));
  plain.theirs.push_back(theirs);
  TRY_ASSIGN(const Usage synced, run_command({"sync", "-f", copy}));
  theirs.wall_s = now_s() - start;
  theirs.cpu_s += synced.cpu_s;
  durable.theirs.push_back(theirs);
  plain.ours.push_back(ours);
  durable.ours.push_back(ours);
  if (auto same = same_trees(corpus.path, to); !same.ok())
    return same.error().in("the restore differs");
  if (corpus.name == "U") {
    remove_early(to);
    remove_early(copy);
  }
  return {};
}

Status restore_tree(Bench& bench, const std::string& name, double target) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested(name));
  TRY(warm(corpus->path));
  ServiceRun service;
  TRY(service.start(bench.options().program, corpus->state, corpus->path));
  Comparison plain{"restore of all of " + name, "restore." + name, "cp -a", target, {}, {}};
  Comparison durable{"the same", "restore_durable." + name, "cp -a && sync -f", std::nullopt, {},
                     {}};
  std::vector<Comparison> peers;
  std::vector<std::string> repositories;
  for (const Peer& peer : bench.peers()) {
    peers.push_back({plain.name,
                     plain.key + "." + peer.name(),
                     peer.name() + ", all of a backup",
                     std::nullopt,
                     {},
                     {}});
    TRY_ASSIGN(const std::string repository, bench.repository(peer, *corpus));
    repositories.push_back(repository);
  }
  for (size_t pair = 1; pair <= bench.options().pairs; ++pair) {
    say(plain.name + ", pair " + std::to_string(pair));
    TRY(restore_pair(bench, service, *corpus, plain, durable));
    for (size_t i = 0; i < peers.size() && pair <= bench.options().peer_pairs; ++i) {
      settle();
      const std::string to = bench.fresh("by-peer");
      TRY_ASSIGN(const Usage theirs, bench.peers()[i].restore(repositories[i], "first", to));
      if (name == "U") remove_early(to);
      peers[i].ours.push_back(plain.ours.back());
      peers[i].theirs.push_back(theirs);
    }
  }
  bench.report().add(plain);
  bench.report().add(durable);
  for (const Comparison& peer : peers) bench.report().add(peer);
  return service.stop();
}

std::string cat_all(const std::string& tree) {
  return "find " + shell_word(tree) + " -type f -print0 | xargs -0 -n 500 -P 2 cat >/dev/null";
}

// Both read everything once more: from the page cache, or after it was emptied.
Status verify_once(Bench& bench, ServiceRun& service, const Corpus& corpus, bool cold,
                   Comparison& into) {
  const std::string prepare = cold ? "sync; echo 3 > /proc/sys/vm/drop_caches" : "sync";
  TRY(run_pipeline(prepare));
  const double before = service.cpu_s();
  TRY_ASSIGN(Usage ours, run_command(bench.command(corpus.state, {"verify"})));
  ours.cpu_s += service.cpu_s() - before;
  TRY(run_pipeline(prepare));
  TRY_ASSIGN(const Usage theirs, run_pipeline(cat_all(corpus.path)));
  into.ours.push_back(ours);
  into.theirs.push_back(theirs);
  return {};
}

}  // namespace

Status measure_ingest(Bench& bench) {
  static constexpr std::pair<const char*, double> kTrees[] = {
      {"K", 1.25}, {"S", 1.5}, {"U", 1.0}, {"D", 1.25}};
  for (const auto& [name, target] : kTrees) {
    if (bench.wants_tree(name)) TRY(ingest_tree(bench, name, target));
  }
  return {};
}

Status measure_restore(Bench& bench) {
  static constexpr std::pair<const char*, double> kTrees[] = {{"K", 1.5}, {"S", 1.5}, {"U", 2.0}};
  for (const auto& [name, target] : kTrees) {
    if (bench.wants_tree(name)) TRY(restore_tree(bench, name, target));
  }
  return {};
}

Status measure_start(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested("K"));
  TRY(warm(corpus->path));
  Comparison comparison{
      "start on the unchanged K", "start.K", "find -printf '%T@ %s %i'", 2.5, {}, {}};
  for (size_t pair = 1; pair <= bench.options().pairs; ++pair) {
    say("start on the unchanged K, pair " + std::to_string(pair));
    settle();
    ServiceRun service;
    TRY_ASSIGN(const Usage ours,
               service.start(bench.options().program, corpus->state, corpus->path));
    TRY(service.stop());
    TRY_ASSIGN(const Usage theirs, run_command({"find", corpus->path, "-printf", "%T@ %s %i\n"}));
    comparison.ours.push_back(ours);
    comparison.theirs.push_back(theirs);
  }
  bench.report().add(comparison);
  return {};
}

// Every stored byte, beside a decompressor that checks nothing but its checksums.
Status measure_check(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested("K"));
  const std::string file = bench.fresh("archive-K");
  TRY(run_pipeline(archive_of(corpus->path, file)));
  ServiceRun service;
  TRY(service.start(bench.options().program, corpus->state, corpus->path));
  Comparison comparison{"check --read-data of K", "check.K", "zstd -d -T2", 2.0, {}, {}};
  std::vector<Comparison> peers;
  std::vector<std::string> repositories;
  for (const Peer& peer : bench.peers()) {
    peers.push_back({comparison.name,
                     comparison.key + "." + peer.name(),
                     peer.name() + ", all data",
                     std::nullopt,
                     {},
                     {}});
    TRY_ASSIGN(const std::string repository, bench.repository(peer, *corpus));
    repositories.push_back(repository);
  }
  for (size_t pair = 1; pair <= bench.options().pairs; ++pair) {
    say(comparison.name + ", pair " + std::to_string(pair));
    settle();
    const double before = service.cpu_s();
    TRY_ASSIGN(Usage ours, run_command(bench.command(corpus->state, {"check", "--read-data"})));
    ours.cpu_s += service.cpu_s() - before;
    TRY_ASSIGN(const Usage theirs,
               run_pipeline("zstd -q -d -T2 -c " + shell_word(file) + " >/dev/null"));
    comparison.ours.push_back(ours);
    comparison.theirs.push_back(theirs);
    for (size_t i = 0; i < peers.size() && pair <= bench.options().peer_pairs; ++i) {
      TRY_ASSIGN(const Usage by_peer, bench.peers()[i].check_data(repositories[i]));
      peers[i].ours.push_back(ours);
      peers[i].theirs.push_back(by_peer);
    }
  }
  bench.report().add(comparison);
  for (const Comparison& peer : peers) bench.report().add(peer);
  return service.stop();
}

// Reading everything again, beside the plainest program that reads everything.
Status measure_verify(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested("K"));
  ServiceRun service;
  TRY(service.start(bench.options().program, corpus->state, corpus->path));
  const std::string reference = "cat >/dev/null, two at a time";
  Comparison warm_one{"verify of K, warm", "verify.K", reference, 1.2, {}, {}};
  Comparison cold{"verify of K, cold cache", "verify_cold.K", reference, std::nullopt, {}, {}};
  const bool can_drop = ::geteuid() == 0;
  if (!can_drop) say("verify with a cold cache is left out: only root can empty it");
  TRY(warm(corpus->path));
  for (size_t pair = 1; pair <= bench.options().pairs; ++pair) {
    say("verify, warm, pair " + std::to_string(pair));
    TRY(verify_once(bench, service, *corpus, false, warm_one));
  }
  for (size_t pair = 1; can_drop && pair <= bench.options().pairs; ++pair) {
    say("verify, cold, pair " + std::to_string(pair));
    TRY(verify_once(bench, service, *corpus, true, cold));
  }
  bench.report().add(warm_one);
  bench.report().add(cold);
  return service.stop();
}

}  // namespace holdfast::bench
