#include "bench/report.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>

namespace holdfast::bench {

namespace {

std::string format(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string counted(size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

template <class Get>
std::vector<double> column(const std::vector<Usage>& rows, Get get) {
  std::vector<double> values;
  for (const Usage& usage : rows) values.push_back(static_cast<double>(get(usage)));
  return values;
}

Json side(const std::vector<Usage>& rows) {
  const auto walls = column(rows, [](const Usage& usage) { return usage.wall_s; });
  Json json;
  json["median_s"] = median(walls);
  json["cpu_median_s"] = median(column(rows, [](const Usage& usage) { return usage.cpu_s; }));
  const double rss = median(column(rows, [](const Usage& usage) { return usage.rss_bytes; }));
  json["rss_peak_median_bytes"] = static_cast<uint64_t>(rss);
  json["all_s"] = walls;
  return json;
}

std::string first_value(const char* path, const std::string& field) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(field)) continue;
    const size_t colon = line.find(':');
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "unknown";
}

const char* unit_name(Unit unit) {
  switch (unit) {
    case Unit::kRatio: return "ratio";
    case Unit::kSeconds: return "s";
    case Unit::kMilliseconds: return "ms";
    case Unit::kMegabytes: return "MB";
    case Unit::kBytes: return "B";
  }
  return "";
}

// The kernel counts CPU time in hundredths of a second: below this, steps of that size show.
constexpr double kCpuSecondsMin = 0.3;

Json machine() {
  utsname name{};
  ::uname(&name);
  Json json;
  json["cpu"] = first_value("/proc/cpuinfo", "model name");
  json["threads"] = std::thread::hardware_concurrency();
  json["memory"] = first_value("/proc/meminfo", "MemTotal");
  json["kernel"] = name.release;
  return json;
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(share * static_cast<double>(values.size()));
  return values[std::clamp<size_t>(static_cast<size_t>(rank), 1, values.size()) - 1];
}

Report::Report(bool with_targets) : with_targets_(with_targets) {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&now, &utc));
  json_["date"] = date;
  json_["machine"] = machine();
  std::ifstream load("/proc/loadavg");
  std::string minute;
  load >> minute;
  json_["load_before"] = minute;
}

// The ratio is the median of the pairs' own ratios: what disturbs the machine for longer than a
// pair takes, disturbs both of its halves.
void Report::add(const Comparison& comparison) {
  std::vector<double> ratios;
  for (size_t i = 0; i < comparison.ours.size() && i < comparison.theirs.size(); ++i) {
    ratios.push_back(comparison.ours[i].wall_s / comparison.theirs[i].wall_s);
  }
  if (ratios.empty()) return;
  Figure figure{comparison.key, "", "", "", median(ratios), Unit::kRatio, comparison.target, {}};
  figure.detail["pairs"] = ratios.size();
  figure.detail["all_ratios"] = ratios;
  figure.detail["ours"] = side(comparison.ours);
  figure.detail["reference"] = side(comparison.theirs);
  figure.detail["reference"]["what"] = comparison.reference;
  const auto text = [](const Json& values) {
    return in_seconds(values["median_s"]) + " (" + in_seconds(values["cpu_median_s"]) + " CPU, " +
           in_megabytes(values["rss_peak_median_bytes"]) + ")";
  };
  figure.name = comparison.name + ", " + counted(ratios.size(), "pair");
  figure.ours = text(figure.detail["ours"]);
  figure.reference = "`" + comparison.reference + "`: " + text(figure.detail["reference"]);
  add(figure);
}

void Report::add(const Figure& figure) {
  Json json;
  json["what"] = figure.name;
  json["value"] = figure.value;
  json["unit"] = unit_name(figure.unit);
  const bool met = !figure.target || figure.value <= *figure.target;
  std::string target;
  if (figure.target && with_targets_) {
    json["target"] = *figure.target;
    json["met"] = met;
    target = "<= " + in_unit(*figure.target, figure.unit) + (met ? "" : ", **missed**");
  }
  json.update(figure.detail);
  json_["figures"][figure.key] = std::move(json);
  // A bar would end the cell.
  std::string escaped = figure.reference;
  for (size_t at = escaped.find('|'); at != std::string::npos; at = escaped.find('|', at + 2)) {
    escaped.insert(at, 1, '\\');
  }
  rows_ += "| " + figure.name + " | " + figure.ours + " | " + escaped + " | " +
           in_unit(figure.value, figure.unit) + " | " + target + " |\n";
}

void Report::note(const std::string& group, const std::string& key, const Json& value) {
  json_[group][key] = value;
}

std::string Report::markdown() const {
  return "| what | Holdfast | reference | figure | target |\n|---|---|---|---|---|\n" + rows_;
}

Difference compare(const Json& earlier, const Json& now) {
  constexpr double kWorse = 1.10;
  Difference difference;
  const bool same_machine = earlier.value("machine", Json()) == now.value("machine", Json());
  const Json before = earlier.value("figures", Json::object());
  const Json after = now.value("figures", Json::object());
  const auto line = [&](const std::string& key, double old_value, double new_value,
                        bool comparable) {
    const double change = old_value > 0 ? new_value / old_value : 1;
    const bool worse = comparable && change > kWorse;
    difference.worse += worse;
    char text[160];
    std::snprintf(text, sizeof text, "%-34s %12.4g %12.4g %+7.1f %%%s\n", key.c_str(), old_value,
                  new_value, (change - 1) * 100,
                  worse ? "  WORSE" : (comparable ? "" : "  (another machine)"));
    difference.text += text;
  };
  for (const auto& [key, figure] : after.items()) {
    if (!before.contains(key)) {
      ++difference.absent;
      continue;
    }
    const bool timed = figure["unit"] == "s" || figure["unit"] == "ms";
    line(key, before[key]["value"], figure["value"], same_machine || !timed);
    const Json::json_pointer cpu("/ours/cpu_median_s");
    if (!figure.contains(cpu) || !before[key].contains(cpu)) continue;
    if (before[key][cpu] < kCpuSecondsMin) continue;
    line(key + " CPU s", before[key][cpu], figure[cpu], same_machine);
  }
  for (const auto& [key, figure] : before.items()) {
    difference.absent += !after.contains(key);
  }
  return difference;
}

std::string in_seconds(double seconds) { return format("%.2f s", seconds); }
std::string in_milliseconds(double seconds) { return format("%.2f ms", seconds * 1e3); }
std::string in_megabytes(uint64_t bytes) {
  return format("%.1f MB", static_cast<double>(bytes) / 1e6);
}
std::string in_ratio(double ratio) { return format(ratio < 0.1 ? "%.4f" : "%.2f", ratio); }

std::string in_unit(double value, Unit unit) {
  switch (unit) {
    case Unit::kRatio: return in_ratio(value);
    case Unit::kSeconds: return in_seconds(value);
    case Unit::kMilliseconds: return format("%.2f ms", value);
    case Unit::kMegabytes: return format("%.1f MB", value);
    case Unit::kBytes: return format("%.0f B", value);
  }
  return "";
}

}  // namespace holdfast::bench
