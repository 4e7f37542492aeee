// A start of a container that has nothing to seed: `holdfast seed` beside `rsync -avu`, over
// 100,000 files, without a service and with one.
#include "bench/parts.h"

namespace holdfast::bench {

namespace {

constexpr double kTimesOfRsyncMax = 1.5;

Status seed(Bench& bench, const std::string& state, const std::string& image,
            const std::string& volume, Comparison* comparison) {
  TRY_ASSIGN(const Usage usage, run_command(bench.command(state, {"seed", image, volume})));
  if (comparison != nullptr) comparison->ours.push_back(usage);
  return {};
}

Status sync(const std::string& image, const std::string& volume, Comparison* comparison) {
  TRY_ASSIGN(const Usage usage, run_command({"rsync", "-avu", image + "/", volume + "/"}));
  if (comparison != nullptr) comparison->theirs.push_back(usage);
  return {};
}

}  // namespace

Status measure_seed(Bench& bench) {
  TRY_ASSIGN(Corpus* const image, bench.corpus("S"));
  const std::string state = bench.fresh("state-seed");
  // Without a service the root is named after the directory; services of the benchmark call it so.
  const std::string volume = bench.fresh("volume-seed") + "/tree",
                    copy = bench.fresh("volume-rsync");
  Comparison first{"first seed of S", "seed.first", "rsync -avu", std::nullopt, {}, {}};
  say("first seed of S");
  settle();
  TRY(seed(bench, state, image->path, volume, &first));
  settle();
  TRY(sync(image->path, copy, &first));
  bench.report().add(first);
  TRY(seed(bench, state, image->path, volume, nullptr));  // what is remembered settles
  for (const bool watched : {false, true}) {
    Comparison nothing{
        std::string("seed of S with nothing to do") + (watched ? ", beside a service" : ""),
        watched ? "seed.nothing.service" : "seed.nothing",
        "rsync -avu",
        kTimesOfRsyncMax,
        {},
        {}};
    ServiceRun service;
    if (watched) TRY(service.start(bench.options().program, state, volume));
    for (size_t pair = 1; pair <= bench.options().pairs; ++pair) {
      say(nothing.name + ", pair " + std::to_string(pair));
      settle();
      TRY(seed(bench, state, image->path, volume, &nothing));
      TRY(sync(image->path, copy, &nothing));
    }
    if (watched) TRY(service.stop());
    bench.report().add(nothing);
  }
  return {};
}

}  // namespace holdfast::bench
