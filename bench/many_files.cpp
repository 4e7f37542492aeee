#include "base/fs.h"
#include "bench/generate.h"
#include "bench/parts.h"
#include "bench/trees.h"

namespace holdfast::bench {

namespace {

constexpr double kAtRestSeconds = 2;
constexpr double kMemoryMegabytesMax = 96, kIndexBytesMax = 350;

// What is journaled has to be what is there.
Status all_is_there(Bench& bench, const std::string& state, const std::string& tree) {
  const std::string restored = bench.fresh("restored");
  TRY(run_command(bench.command(state, {"restore", "--at", "now", "--to", restored})));
  if (auto same = same_trees(tree, restored); !same.ok())
    return same.error().in("what was watched differs from what was kept");
  return {};
}

}  // namespace

// A large tree comes into a watched directory. Beside it the same with nobody watching, and then
// the first ingest of what is there.
Status measure_untar(Bench& bench) {
  TRY_ASSIGN(Corpus* const corpus, bench.corpus("K"));
  const std::string archive = bench.fresh("K.tar");
  TRY(run_pipeline("tar -C " + shell_word(corpus->path) + " -cf " + shell_word(archive) + " ."));
  Comparison whole{
      "untar of K while watched, until flush", "untar.K", "first ingest of that", 1.4, {}, {}};
  Comparison tar{"tar -x of K while watched", "untar_tar.K", "tar -x, not watched", 1.5, {}, {}};
  for (size_t pair = 1; pair <= bench.options().pairs; ++pair) {
    say("untar while watched, pair " + std::to_string(pair));
    const std::string tree = bench.fresh("untarred"), state = bench.fresh("state-untar");
    const std::string alone = bench.fresh("untarred-alone");
    TRY(make_directories(tree, 0755));
    TRY(make_directories(alone, 0755));
    {
      ServiceRun service;
      TRY(service.start(bench.options().program, state, tree));
      settle();
      const double start = now_s(), before = service.cpu_s();
      TRY_ASSIGN(const Usage watched, run_command({"tar", "-C", tree, "-xf", archive}));
      TRY(service.flush());
      whole.ours.push_back(
          {now_s() - start, service.cpu_s() - before, service.anonymous_bytes_peak()});
      tar.ours.push_back(watched);
      if (pair == bench.options().pairs) TRY(all_is_there(bench, state, tree));
      TRY(service.stop());
    }
    settle();
    TRY_ASSIGN(const Usage unwatched, run_command({"tar", "-C", alone, "-xf", archive}));
    tar.theirs.push_back(unwatched);
    settle();
    ServiceRun service;
    TRY_ASSIGN(const Usage ingest,
               service.start(bench.options().program, bench.fresh("state-untarred"), tree));
    whole.theirs.push_back(ingest);
    TRY(service.stop());
  }
  bench.report().add(whole);
  bench.report().add(tar);
  return {};
}

Status measure_memory(Bench& bench) {
  const uint64_t files = bench.options().many_files;
  const std::string many = bench.fresh("many"), state = bench.fresh("state-many");
  say("making " + std::to_string(files) + " files");
  TRY(make_text_tree(many, files, files / 100));
  settle();
  say("ingesting them");
  ServiceRun service;
  TRY_ASSIGN(const Usage usage, service.start(bench.options().program, state, many));
  const uint64_t peak = service.anonymous_bytes_peak();
  pause(bench.options(), kAtRestSeconds);
  const uint64_t rest = service.anonymous_bytes();
  TRY(service.stop());
  const uint64_t packs = tree_bytes(state + "/packs"), index = tree_bytes(state + "/journal");
  TRY_ASSIGN(const uint64_t versions, file_count(many));
  const std::string name = std::to_string(files) + " small files";
  Figure memory;
  memory.key = "memory.many";
  memory.name = name + ": anonymous memory, peak, at rest";
  memory.ours = in_megabytes(peak) + ", " + in_megabytes(rest);
  memory.value = static_cast<double>(peak) / 1e6;
  memory.unit = Unit::kMegabytes;
  memory.target = kMemoryMegabytesMax;
  memory.detail =
      Json{{"files", files},        {"ingest_s", usage.wall_s}, {"ingest_cpu_s", usage.cpu_s},
           {"at_rest_bytes", rest}, {"packs_bytes", packs},     {"index_bytes", index}};
  bench.report().add(memory);
  Figure version;
  version.key = "journal.bytes_of_version";
  version.name = name + ": bytes of LMDB for each version";
  version.ours = in_megabytes(index) + " for " + std::to_string(versions);
  version.value = static_cast<double>(index) / static_cast<double>(versions);
  version.unit = Unit::kBytes;
  if (!bench.options().smoke) version.target = kIndexBytesMax;
  bench.report().add(version);
  Figure ingest;
  ingest.key = "ingest.many";
  ingest.name = name + ": first ingest";
  ingest.ours = in_seconds(usage.wall_s) + "; packs " + in_megabytes(packs);
  ingest.value = usage.wall_s;
  ingest.unit = Unit::kSeconds;
  bench.report().add(ingest);
  return {};
}

}  // namespace holdfast::bench
