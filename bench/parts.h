// The parts of the benchmark, each of which stands alone (--only). Every one says on standard error
// what it is at, and adds its figures to the report.
#pragma once

#include "base/result.h"
#include "bench/bench.h"

namespace holdfast::bench {

// whole_tree.cpp: everything is read or written, beside what does the same plainly
Status measure_ingest(Bench& bench);
Status measure_restore(Bench& bench);
Status measure_start(Bench& bench);
Status measure_check(Bench& bench);
Status measure_verify(Bench& bench);
// few_files.cpp: a little of a large tree
Status measure_one_file(Bench& bench);
Status measure_snapshot(Bench& bench);
// growth.cpp: what versions take of the disk
Status measure_growth(Bench& bench);
Status measure_prune(Bench& bench);
// changes.cpp: while the service watches
Status measure_latency(Bench& bench);
Status measure_scrub(Bench& bench);
Status measure_beside_prune(Bench& bench);
Status measure_storm(Bench& bench);
// many_files.cpp
Status measure_untar(Bench& bench);
Status measure_memory(Bench& bench);

// seeding.cpp
Status measure_seed(Bench& bench);

}  // namespace holdfast::bench
