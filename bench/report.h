// What was measured, as numbers for JSON and as a table for people. Pure but for machine().
//
// A figure is one number that can be compared between runs; of every figure less is better.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/process.h"

namespace holdfast::bench {

using Json = nlohmann::ordered_json;

double median(std::vector<double> values);
double percentile(std::vector<double> values, double share);  // by nearest rank

enum class Unit { kRatio, kSeconds, kMilliseconds, kMegabytes, kBytes };

struct Figure {
  std::string key;              // of the JSON member, such as "ingest.K"
  std::string name;             // of the table's row
  std::string ours, reference;  // as the table shows them
  double value = 0;
  Unit unit = Unit::kRatio;
  std::optional<double> target;  // at most this; a goal, and nothing fails for missing it
  Json detail = Json::object();
};

// One thing measured in pairs, ours beside what it is compared with.
struct Comparison {
  std::string name, key;  // of the table's row, of the JSON member
  std::string reference;  // what ran
  std::optional<double> target;
  std::vector<Usage> ours, theirs;
};

class Report {
 public:
  explicit Report(bool with_targets);  // the trees of a smoke run are too small for them
  void add(const Comparison& comparison);
  void add(const Figure& figure);
  void note(const std::string& group, const std::string& key, const Json& value);
  const Json& json() const { return json_; }
  std::string markdown() const;

 private:
  const bool with_targets_;
  Json json_;
  std::string rows_;
};

// Two reports, figure by figure. What is a time, and not a ratio to something that ran beside it,
// counts only where both ran on the same machine.
struct Difference {
  std::string text;              // one line for each figure
  size_t worse = 0, absent = 0;  // by more than a tenth; not in both
};
Difference compare(const Json& earlier, const Json& now);

std::string in_seconds(double seconds);
std::string in_milliseconds(double seconds);
std::string in_megabytes(uint64_t bytes);  // of 10^6
std::string in_ratio(double ratio);
std::string in_unit(double value, Unit unit);

}  // namespace holdfast::bench
