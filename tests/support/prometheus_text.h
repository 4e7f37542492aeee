// The text format of Prometheus, read as strictly as it can be: names, types, order, labels,
// numbers, histograms; and what its own promtool complains of.
#pragma once

#include <cstdlib>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace holdfast {

struct PrometheusText {
  std::map<std::string, std::string> types;  // by family
  std::map<std::string, double> samples;     // by name and labels, as they are written
  std::vector<std::string> complaints;       // empty: it is as it has to be
  // Of one sample; a missing one is a complaint of the caller's.
  bool has(const std::string& sample) const { return samples.count(sample) != 0; }
  double at(const std::string& sample) const { return samples.at(sample); }
  std::set<std::string> names() const {  // that a query may use
    std::set<std::string> all;
    for (const auto& [name, type] : types) {
      if (type != "histogram") {
        all.insert(name);
        continue;
      }
      for (const char* suffix : {"_bucket", "_sum", "_count"}) all.insert(name + suffix);
    }
    return all;
  }
};

// "a_bucket" and the like belong to the family "a" where that is a histogram.
inline std::string family_of(const PrometheusText& text, const std::string& name) {
  for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
    if (!name.ends_with(suffix)) continue;
    const std::string family = name.substr(0, name.size() - suffix.size());
    const auto type = text.types.find(family);
    if (type != text.types.end() && type->second == "histogram") return family;
  }
  return name;
}

inline void check_name(const std::string& name, const std::string& type,
                       std::vector<std::string>& complaints) {
  static const std::regex good("[a-z][a-z0-9]*(_[a-z0-9]+)*");
  if (!std::regex_match(name, good)) complaints.push_back(name + ": not a name by the rules");
  const bool total = name.ends_with("_total");
  if ((type == "counter") != total)
    complaints.push_back(name + ": _total is for counters, and all");
  for (const char* unit :
       {"_ms", "_milliseconds", "_kb", "_mb", "_kilobytes", "_minutes", "_hours"}) {
    if (name.ends_with(unit) || name.find(std::string(unit) + "_") != std::string::npos) {
      complaints.push_back(name + ": not in base units");
    }
  }
}

inline PrometheusText read_prometheus(const std::string& bytes) {
  PrometheusText text;
  std::vector<std::string>& complaints = text.complaints;
  if (bytes.empty() || bytes.back() != '\n') complaints.push_back("the last line has no end");
  static const std::regex comment("# (HELP|TYPE) ([^ ]+) (.+)");
  static const std::string quoted = R"re("([^"\\\n]|\\[\\"n])*")re";
  static const std::regex sample(R"re(([a-z_0-9]+)(\{[a-z_]+=)re" + quoted + "(,[a-z_]+=" + quoted +
                                 R"re()*\})? ([^ ]+))re");
  std::set<std::string> helped, ended;
  std::string family, line;
  std::map<std::string, double> last_bucket;
  std::istringstream lines(bytes);
  while (std::getline(lines, line)) {
    std::smatch found;
    if (std::regex_match(line, found, comment)) {
      const std::string name = found[2];
      if (name != family && !family.empty()) ended.insert(family);
      if (ended.count(name) != 0) complaints.push_back(name + ": comes in two pieces");
      family = name;
      if (found[1] == "HELP") {
        if (!helped.insert(name).second) complaints.push_back(name + ": two HELP");
        continue;
      }
      if (helped.count(name) == 0) complaints.push_back(name + ": TYPE before HELP");
      if (found[3] != "counter" && found[3] != "gauge" && found[3] != "histogram") {
        complaints.push_back(name + ": no such type");
      }
      if (!text.types.emplace(name, found[3]).second) complaints.push_back(name + ": two TYPE");
      check_name(name, found[3], complaints);
      continue;
    }
    if (!std::regex_match(line, found, sample)) {
      complaints.push_back("not a line of the format: " + line);
      continue;
    }
    const std::string name = found[1], labels = found[2], number = found[6];
    if (family_of(text, name) != family) complaints.push_back(name + ": not under its TYPE");
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    if (*end != '\0') complaints.push_back(name + ": not a number: " + number);
    if (!text.samples.emplace(name + labels, value).second) {
      complaints.push_back(name + labels + ": twice");
    }
    if (text.types[family] != "gauge" && value < 0) complaints.push_back(name + ": below 0");
    if (text.types[family] == "histogram" && name.ends_with("_bucket")) {
      double& before = last_bucket[family];
      if (value < before) complaints.push_back(name + labels + ": less than the bucket before");
      before = value;
    }
    if (name.ends_with("_count") && text.types[family] == "histogram" &&
        value != last_bucket[family]) {
      complaints.push_back(name + ": not what the last bucket says");
    }
  }
  return text;
}

}  // namespace holdfast
