// Metrics: everything that a service tells Prometheus, as a function from what is known
// (docs/health.md). Pure. While the loop answers, every family is there, whatever happened so far.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/fs.h"
#include "base/process_stats.h"
#include "service/alert_status.h"
#include "service/dump_run.h"
#include "service/engine.h"
#include "service/scrub.h"
#include "store/store.h"

namespace holdfast {

struct PruneTotals {
  int64_t last_ns = 0, took_ns = 0;  // wall, of the last run that ended well
  uint64_t runs = 0, freed_bytes = 0;
};

struct MetricsInput {
  bool answers = false;  // the loop; without it `engine` is empty
  EngineStatus engine;
  int64_t now_ns = 0;  // wall
  StoreStats store;
  uint64_t lmdb_map_bytes = 0, lmdb_used_bytes = 0;
  std::optional<FreeSpace> state_space;
  std::map<std::string, FreeSpace> root_space;
  std::map<Verdict, uint64_t> verdicts;  // open ones
  ScrubState scrub;
  std::vector<DumpState> dumps;
  uint64_t snapshots = 0;
  int64_t last_snapshot_ns = 0;  // wall
  int64_t snapshot_took_ns = 0;
  PruneTotals prune;
  uint64_t restores_in_place = 0, restores_elsewhere = 0;
  uint64_t restored_files = 0, restored_bytes = 0, restore_failures = 0;
  uint64_t problems = 0;
  AlertStatus alerts;
  std::optional<ProcessStats> process;
};

std::string render_metrics(const MetricsInput& input);

}  // namespace holdfast
