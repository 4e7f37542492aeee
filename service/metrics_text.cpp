#include "service/metrics_text.h"

#include <charconv>

#include "base/path.h"

namespace holdfast {

std::string metric_number(double value) {
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  return {digits, end.ptr};
}

std::string metric_label(std::string_view value) {
  std::string escaped;
  for (const char c : to_utf8_lossy(std::string(value))) {
    if (c == '\\' || c == '"') escaped += '\\';
    if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

MetricsText& MetricsText::family(std::string_view name, std::string_view help,
                                 std::string_view type) {
  name_ = name;
  text_ += "# HELP " + name_ + " " + std::string(help) + "\n";
  text_ += "# TYPE " + name_ + " " + std::string(type) + "\n";
  return *this;
}

MetricsText& MetricsText::counter(std::string_view name, std::string_view help) {
  return family(name, help, "counter");
}

MetricsText& MetricsText::gauge(std::string_view name, std::string_view help) {
  return family(name, help, "gauge");
}

void MetricsText::sample(std::string_view suffix, const std::string& number,
                         const MetricLabels& labels) {
  text_ += name_ + std::string(suffix);
  char before = '{';
  for (const auto& [key, value] : labels) {
    text_ += before + std::string(key) + "=\"" + metric_label(value) + "\"";
    before = ',';
  }
  if (!labels.empty()) text_ += "}";
  text_ += " " + number + "\n";
}

MetricsText& MetricsText::value(double value, const MetricLabels& labels) {
  sample("", metric_number(value), labels);
  return *this;
}

MetricsText& MetricsText::value(uint64_t value, const MetricLabels& labels) {
  sample("", std::to_string(value), labels);
  return *this;
}

void MetricsText::histogram(std::string_view name, std::string_view help,
                            const Histogram& histogram) {
  family(name, help, "histogram");
  uint64_t count = 0;
  for (size_t i = 0; i < Histogram::kBounds.size(); ++i) {
    count += histogram.in_bucket(i);
    sample("_bucket", std::to_string(count), {{"le", metric_number(Histogram::kBounds[i])}});
  }
  count += histogram.in_bucket(Histogram::kBounds.size());
  sample("_bucket", std::to_string(count), {{"le", "+Inf"}});
  sample("_sum", metric_number(histogram.sum()), {});
  sample("_count", std::to_string(count), {});
}

}  // namespace holdfast
