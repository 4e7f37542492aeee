// Health: whether a person should look, as a function from what is known to what is wrong
// (docs/health.md). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fs.h"
#include "service/config.h"
#include "service/engine.h"
#include "service/scrub.h"

namespace holdfast {

// One thing that is wrong. `value` and `bound` are words, empty where there is nothing to measure.
struct Finding {
  std::string check;  // a word of docs/health.md
  std::string root;   // empty: of no root in particular
  std::string what, value, bound, fix;
  std::string subject;  // stays the same while it lasts, whatever the words say; empty: `what` does
  // "uploads: last known to be up to date: 2 h 3 min ago, at most 1 h; …"
  std::string text() const;
  bool operator==(const Finding&) const = default;
};
// Of a problem that is told in words: what is behind the first "; " says what to do.
Finding finding_of(const std::string& check, const std::string& problem);

// What a service has to keep to.
struct HealthLimits {
  int64_t loop_ns = 5'000'000'000;  // to answer
  // Since a root was last known to be up to date. Until the first look at it is done, only a bound
  // that was asked for counts.
  int64_t max_age_ns = 3'600'000'000'000;
  bool max_age_given = false;
  int64_t stuck_ns = 600'000'000'000;        // with work under way and none of it done
  std::optional<double> free_below_percent;  // at most one of these two
  std::optional<uint64_t> free_below_bytes;  // without: 1 GB or a twentieth, whichever is less
};
HealthLimits limits_of(const Config& config);

struct HealthInput {
  EngineStatus engine;
  bool served = false;  // by a service; without one only what is lasting is judged
  std::optional<FreeSpace> state_space;
  std::string state_dir;
  ScrubState scrub;
  int64_t scrub_every_ns = 0;  // 0: never
  int64_t snapshot_every_ns = 0;
  int64_t last_snapshot_ns = 0;  // wall, by the schedule; 0: none
  std::string snapshot_failure;  // why the last one by the schedule was not taken; empty: it was
  int64_t since_ns = 0;          // wall: when the service started
  int64_t now_ns = 0;            // wall
};

// Where less than the bound is free; `what` names the disk. While an alert of it stands, the bound
// is a tenth higher, so that a disk around its bound is one cause and not many.
std::optional<Finding> space_finding(const std::string& what, const FreeSpace& space,
                                     const HealthLimits& limits, bool stands);
// In a fixed order.
std::vector<Finding> check_health(const HealthInput& input, const HealthLimits& limits);
Finding loop_finding(int64_t waited_ns);  // the service's loop does not answer
// Nor does the file system of a root, which is why.
Finding hung_finding(const std::string& root, const std::string& path, int64_t waited_ns);
// Why the service is not ready: a line each. Empty: it is.
std::vector<std::string> not_ready(const EngineStatus& engine, const HealthLimits& limits);

}  // namespace holdfast
