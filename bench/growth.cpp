#include <filesystem>

#include "base/fs.h"
#include "bench/edits.h"
#include "bench/generate.h"
#include "bench/parts.h"
#include "bench/trees.h"

namespace holdfast::bench {

namespace {

constexpr size_t kRoundsOfPrune = 10;
constexpr double kPagesTarget = 1.3, kEditsTarget = 1.2, kPruneTarget = 0.1;

struct Growth {
  std::vector<double> packs, index, least;  // bytes; `least`: what changed, through zstd -3
};

uint64_t packs_of(const std::string& state) { return tree_bytes(state + "/packs"); }
uint64_t index_of(const std::string& state) { return tree_bytes(state + "/journal"); }

double bytes_of(uint64_t bytes) { return static_cast<double>(bytes); }

// Runs what changes the tree, and adds by how much the store has grown when it is durable.
Result<double> grow(ServiceRun& service, const std::string& state,
                    const std::function<Status()>& change, Growth& growth) {
  const uint64_t packs = packs_of(state), index = index_of(state);
  TRY(change());
  const double start = now_s();
  TRY(service.flush());
  const double took_s = now_s() - start;
  growth.packs.push_back(bytes_of(packs_of(state) - packs));
  growth.index.push_back(bytes_of(index_of(state) - index));
  return took_s;
}

Status add_least(Bench& bench, const std::string& list_contents, Growth& growth) {
  const std::string file = bench.fresh("changed.zst");
  TRY(run_pipeline(list_contents + " | zstd -q -3 > " + shell_word(file)));
  growth.least.push_back(bytes_of(file_bytes(file)));
  return {};
}

void add_growth(Bench& bench, const std::string& key, const std::string& name,
                const std::string& reference, std::optional<double> target, const Growth& growth,
                Json detail) {
  std::vector<double> ratios;
  for (size_t i = 0; i < growth.packs.size(); ++i) {
    ratios.push_back(growth.packs[i] / growth.least[i]);
  }
  const auto bytes = [](const std::vector<double>& values) {
    return in_unit(median(values) / 1e6, Unit::kMegabytes);
  };
  Figure figure;
  figure.key = key;
  figure.name = name;
  figure.ours = bytes(growth.packs) + " (index " + bytes(growth.index) + ")";
  figure.reference = reference + ": " + bytes(growth.least);
  figure.value = median(ratios);
  figure.target = target;
  figure.detail = std::move(detail);
  figure.detail["packs_bytes"] = growth.packs;
  figure.detail["index_bytes"] = growth.index;
  figure.detail["reference_bytes"] = growth.least;
  bench.report().add(figure);
}

// A peer's own growth, as a fact beside ours.
Status grow_by_peer(Bench& bench, const Peer& peer, const std::string& repository,
                    const std::string& tree, const std::string& label, const std::string& key) {
  const uint64_t before = tree_bytes(repository);
  TRY_ASSIGN(const Usage usage, peer.backup(repository, tree, label));
  bench.report().note("peer_growth", key + "." + peer.name(),
                      Json{{"bytes", tree_bytes(repository) - before},
                           {"wall_s", usage.wall_s},
                           {"cpu_s", usage.cpu_s}});
  return {};
}

// A repository of each peer that holds the tree.
Result<std::vector<std::string>> repositories_of(Bench& bench, const Corpus& corpus) {
  std::vector<std::string> repositories;
  for (const Peer& peer : bench.peers()) {
    TRY_ASSIGN(const std::string repository, bench.repository(peer, corpus));
    repositories.push_back(repository);
  }
  return repositories;
}

// The database is changed in its place, in a directory of its own that the service watches.
Status database_growth(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.corpus("D"));
  const std::string tree = bench.fresh("database"), state = bench.fresh("state-database");
  const std::string original = corpus->path + "/app.sqlite", changing = tree + "/app.sqlite";
  const std::string earlier = bench.fresh("v2");
  TRY(make_directories(tree, 0755));
  TRY(run_command({"cp", "-a", original, changing}));
  const uint64_t rows = bench.database_rows();
  TRY_ASSIGN(const auto repositories, repositories_of(bench, {"database", tree, state}));
  ServiceRun service;
  TRY(service.start(bench.options().program, state, tree));
  struct Step {
    const char *label, *name;
    std::function<Status()> change;
    std::string before;
    std::optional<double> target;
  };
  const Step steps[] = {{"v2", "growth, 1 % of the rows of D changed",
                         [&] { return update_rows(changing, rows); }, original, kPagesTarget},
                        {"v3", "growth, rows appended to D",
                         [&] { return append_rows(changing, rows); }, earlier, std::nullopt}};
  for (const Step& step : steps) {
    say(step.name);
    Growth growth;
    TRY_ASSIGN(const double took_s, grow(service, state, step.change, growth));
    const std::string pages = bench.fresh("pages");
    TRY_ASSIGN(const size_t changed, changed_pages(step.before, changing, pages));
    TRY(add_least(bench, "cat " + shell_word(pages), growth));
    add_growth(bench, std::string("growth.D.") + step.label, step.name,
               std::to_string(changed) + " pages, `zstd -3`", step.target, growth,
               Json{{"pages", changed}, {"flush_s", took_s}});
    for (size_t i = 0; i < repositories.size(); ++i) {
      TRY(grow_by_peer(bench, bench.peers()[i], repositories[i], tree, step.label,
                       std::string("D.") + step.label));
    }
    TRY(run_command({"cp", "-a", changing, earlier}));
  }
  return service.stop();
}

Status edits_growth(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested("edited"));
  TRY_ASSIGN(const auto files, sorted_files(corpus->path));
  TRY_ASSIGN(const auto repositories, repositories_of(bench, *corpus));
  ServiceRun service;
  TRY(service.start(bench.options().program, corpus->state, corpus->path));
  Growth growth;
  std::vector<double> took;
  size_t edited = 0;
  for (size_t pair = 1; pair <= bench.options().pairs; ++pair) {
    say("growth by edits of K, round " + std::to_string(pair));
    const auto chosen = every_hundredth(files, pair);
    edited = chosen.size();
    TRY_ASSIGN(
        const double took_s,
        grow(
            service, corpus->state,
            [&] { return append_line(corpus->path, chosen, "edit round " + std::to_string(pair)); },
            growth));
    took.push_back(took_s);
    std::string list;
    for (const std::string& file : chosen) list += corpus->path + "/" + file + '\0';
    const std::string list_file = bench.fresh("list");
    TRY(write_file_durably(list_file, list, 0644));
    TRY(add_least(bench, "xargs -0 cat < " + shell_word(list_file), growth));
    for (size_t i = 0; i < repositories.size() && pair <= bench.options().peer_pairs; ++i) {
      TRY(grow_by_peer(bench, bench.peers()[i], repositories[i], corpus->path,
                       "round" + std::to_string(pair), "K.round" + std::to_string(pair)));
    }
  }
  add_growth(bench, "growth.K", "growth, " + std::to_string(edited) + " files of K a line longer",
             "`zstd -3` of those files", kEditsTarget, growth, Json{{"flush_s", took}});
  return service.stop();
}

}  // namespace

Status measure_growth(Bench& bench) {
  if (bench.wants_tree("D")) TRY(database_growth(bench));
  if (bench.wants_tree("K")) TRY(edits_growth(bench));
  return {};
}

// Ten rounds of edits of the same files, and what it takes to drop nine of them: the present stays,
// the moments between go. With the service watching.
Status measure_prune(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.ingested("edited"));
  TRY_ASSIGN(const auto files, sorted_files(corpus->path));
  TRY_ASSIGN(const auto repositories, repositories_of(bench, *corpus));
  const size_t rounds = bench.options().smoke ? 2 : kRoundsOfPrune;
  ServiceRun service;
  TRY(service.start(bench.options().program, corpus->state, corpus->path));
  for (size_t round = 1; round <= rounds; ++round) {
    say("rounds to be pruned, " + std::to_string(round));
    TRY(append_line(corpus->path, every_hundredth(files, 0),
                    "prune round " + std::to_string(round)));
    TRY(service.flush());
    for (size_t i = 0; i < repositories.size(); ++i) {
      TRY(bench.peers()[i].backup(repositories[i], corpus->path, "prune" + std::to_string(round)));
    }
  }
  settle();
  const uint64_t before = packs_of(corpus->state);
  TRY_ASSIGN(const Usage ours,
             run_command({bench.options().program, "--state", corpus->state, "prune", "--all", "0s",
                          "--hourly", "0", "--daily", "0", "--weekly", "0", "--monthly", "0",
                          "--last", "1", "--grace", "0s"}));
  Figure figure;
  figure.key = "prune.K";
  figure.name = "prune of nine of ten rounds of edits of K";
  figure.detail = Json{{"wall_s", ours.wall_s},
                       {"packs_before_bytes", before},
                       {"packs_after_bytes", packs_of(corpus->state)}};
  figure.ours = in_unit(ours.wall_s, Unit::kSeconds) + ", " +
                in_unit(bytes_of(before) / 1e6, Unit::kMegabytes) + " became " +
                in_unit(bytes_of(packs_of(corpus->state)) / 1e6, Unit::kMegabytes);
  figure.reference = "no peer";
  figure.value = ours.wall_s;
  figure.unit = Unit::kSeconds;
  for (size_t i = 0; i < repositories.size(); ++i) {
    settle();
    const Peer& peer = bench.peers()[i];
    TRY_ASSIGN(const Usage usage, peer.keep_last(repositories[i]));
    bench.report().note("peer_prune", peer.name(),
                        Json{{"wall_s", usage.wall_s}, {"cpu_s", usage.cpu_s}});
    if (i != 0) continue;
    figure.reference = peer.name() + ": " + in_unit(usage.wall_s, Unit::kSeconds);
    figure.value = ours.wall_s / usage.wall_s;
    figure.unit = Unit::kRatio;
    figure.target = kPruneTarget;
  }
  bench.report().add(figure);
  return service.stop();
}

}  // namespace holdfast::bench
