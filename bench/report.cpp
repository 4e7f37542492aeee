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

Report::Report() {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", ::gmtime_r(&now, &utc));
  json_["date"] = date;
  json_["machine"] = machine();
}

// The ratio is the median of the pairs' own ratios: what disturbs the machine for longer than a
// pair takes, disturbs both of its halves.
void Report::add(const Comparison& comparison) {
  std::vector<double> ratios;
  for (size_t i = 0; i < comparison.ours.size() && i < comparison.theirs.size(); ++i) {
    ratios.push_back(comparison.ours[i].wall_s / comparison.theirs[i].wall_s);
  }
  Json json;
  json["pairs"] = ratios.size();
  json["ours"] = side(comparison.ours);
  json["reference"] = side(comparison.theirs);
  json["reference"]["what"] = comparison.reference;
  json["ratio_median"] = median(ratios);
  json["rate_ratio_median"] = 1 / median(ratios);
  const auto text = [](const Json& values) {
    return in_seconds(values["median_s"]) + " (" + in_seconds(values["cpu_median_s"]) + " CPU, " +
           in_megabytes(values["rss_peak_median_bytes"]) + ")";
  };
  row(comparison.name + ", " + counted(ratios.size(), "pair"), text(json["ours"]),
      "`" + comparison.reference + "`: " + text(json["reference"]), in_ratio(median(ratios)));
  json_[comparison.key] = std::move(json);
}

void Report::add(const std::string& key, const Json& value) { json_[key] = value; }

void Report::row(const std::string& name, const std::string& ours, const std::string& reference,
                 const std::string& ratio) {
  // A bar would end the cell.
  std::string escaped = reference;
  for (size_t at = escaped.find('|'); at != std::string::npos; at = escaped.find('|', at + 2)) {
    escaped.insert(at, 1, '\\');
  }
  rows_ += "| " + name + " | " + ours + " | " + escaped + " | " + ratio + " |\n";
}

std::string Report::markdown() const {
  return "| what | Holdfast | reference | ours / reference |\n|---|---|---|---|\n" + rows_;
}

std::string in_seconds(double seconds) { return format("%.2f s", seconds); }
std::string in_milliseconds(double seconds) { return format("%.2f ms", seconds * 1e3); }
std::string in_megabytes(uint64_t bytes) {
  return format("%.1f MB", static_cast<double>(bytes) / 1e6);
}
std::string in_ratio(double ratio) { return format("%.2f", ratio); }

}  // namespace holdfast::bench
