// What was measured, as numbers for JSON and as a table for people. Pure but for machine().
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bench/process.h"

namespace holdfast::bench {

using Json = nlohmann::ordered_json;

double median(std::vector<double> values);
double percentile(std::vector<double> values, double share);  // by nearest rank

// One thing measured in pairs, ours beside what it is compared with.
struct Comparison {
  std::string name, key;  // of the table's row, of the JSON member
  std::string reference;  // what ran
  std::vector<Usage> ours, theirs;
};

class Report {
 public:
  Report();
  void add(const Comparison& comparison);
  // A number that stands alone or beside others of its kind; `text` is how the table shows it.
  void add(const std::string& key, const Json& value);
  void row(const std::string& name, const std::string& ours, const std::string& reference,
           const std::string& ratio);
  const Json& json() const { return json_; }
  std::string markdown() const;

 private:
  Json json_;
  std::string rows_;
};

std::string in_seconds(double seconds);
std::string in_milliseconds(double seconds);
std::string in_megabytes(uint64_t bytes);  // of 10^6
std::string in_ratio(double ratio);

}  // namespace holdfast::bench
