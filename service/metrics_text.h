// MetricsText: the text format of Prometheus (version 0.0.4), written family by family. Pure.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "service/totals.h"

namespace holdfast {

using MetricLabels = std::vector<std::pair<std::string_view, std::string>>;

class MetricsText {
 public:
  // Samples that follow belong to it. Names and helps are our own words.
  MetricsText& counter(std::string_view name, std::string_view help);
  MetricsText& gauge(std::string_view name, std::string_view help);
  MetricsText& value(double value, const MetricLabels& labels = {});
  MetricsText& value(uint64_t value, const MetricLabels& labels = {});
  void histogram(std::string_view name, std::string_view help, const Histogram& histogram);
  std::string take() { return std::move(text_); }

 private:
  MetricsText& family(std::string_view name, std::string_view help, std::string_view type);
  void sample(std::string_view suffix, const std::string& number, const MetricLabels& labels);
  std::string name_;
  std::string text_;
};

// As the format writes it: whole numbers without a dot, others with as many digits as they need.
std::string metric_number(double value);
// With backslashes, quotes and line ends escaped, and bytes that are no UTF-8 replaced.
std::string metric_label(std::string_view value);

}  // namespace holdfast
