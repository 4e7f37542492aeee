// What the engine knows of clocks, its own and those that stamp files. For the engine's source
// files alone.
#pragma once

#include "base/fs_type.h"
#include "base/stamp_probe.h"
#include "service/clock_watch.h"
#include "service/engine_parts.h"
#include "service/skew.h"
#include "service/volume_shift.h"

namespace holdfast {

struct Engine::Clocks {
  struct OfRoot {
    bool shares_state = false;  // lies on the state's file system, where a probe is possible
    int64_t granularity_ns = 0;
    WriterSkew writer;
    SkewTeller teller;
    VolumeShift shift;  // of the first look after the start
  };
  ClockWatch watch;
  uint64_t steps = 0;
  int64_t last_step_ns = 0;    // its amount
  int64_t unjournaled_ns = 0;  // a step that no durable record tells of yet
  bool step_is_due = false;    // there is such a step
  int64_t skew_from_ns = 0;    // boottime: stamps around a step of our own prove nothing
  int64_t probe_ns = 0;        // boottime: when to probe again, at the earliest
  bool probe_failed = false;   // told once
  int64_t probed_skew_ns = 0;  // of the state's file system, as last probed
  SkewTeller file_system;
  std::vector<OfRoot> roots;  // as in roots_; made at their first use

  OfRoot& of(const Engine& engine, size_t root);
  // What the root's file system takes for now.
  int64_t now_of(const OfRoot& root, int64_t wall_ns) const;
};

}  // namespace holdfast
