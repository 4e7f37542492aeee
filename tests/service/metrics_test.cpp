// The metrics as they are written, and what the dashboard, the alerts and the docs say of them.
#include "service/metrics.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "service/metrics_text.h"
#include "tests/support/prometheus_text.h"

namespace holdfast {
namespace {

MetricsInput full_input() {
  MetricsInput input;
  input.answers = true;
  RootStatus root;
  root.name = "up\"loads\\\n";
  root.backend = "inotify";
  root.caught_up_ago_ns = 2'000'000'000;
  root.totals.events = 7;
  input.engine.roots = {root};
  root.name = "etc";
  input.engine.roots.push_back(root);
  input.engine.totals.records[static_cast<size_t>(RecordKind::kCreate)] = 3;
  input.engine.totals.records[static_cast<size_t>(RecordKind::kLink)] = 2;
  input.engine.totals.count(Trouble::kOverflow);
  for (const int64_t ns : {0LL, 1'000'000LL, 1'000'001LL, 90'000'000'000LL, 9'000'000'000'000LL}) {
    input.engine.totals.flush.observe(ns);
  }
  input.now_ns = 1'800'000'000'500'000'000;
  input.state_space = FreeSpace{5, 10};
  input.root_space["etc"] = {1, 2};
  input.verdicts[Verdict::kCorrupt] = 4;
  DumpState dump;
  dump.name = "app-db";
  input.dumps = {dump};
  input.alerts.standing.resize(2);
  input.alerts.sinks = {{"webhook", 3, 5, 1, "HTTP status 500"}};
  return input;
}

PrometheusText rendered(const MetricsInput& input) {
  PrometheusText text = read_prometheus(render_metrics(input));
  CHECK(text.complaints == std::vector<std::string>{});
  return text;
}

std::string file_of(const std::string& path) {
  auto bytes = read_whole_file(std::string(HOLDFAST_SOURCE_DIR) + "/" + path, 1 << 20);
  REQUIRE(bytes.ok());
  return *bytes;
}

std::set<std::string> names_in(const std::string& text) {
  static const std::regex name("\\b(holdfast|process)_[a-z0-9_]*[a-z0-9]\\b");
  std::set<std::string> names;
  for (auto at = std::sregex_iterator(text.begin(), text.end(), name); at != std::sregex_iterator();
       ++at) {
    names.insert(at->str());
  }
  return names;
}

// The expressions, and nothing that only looks like one.
void collect_expressions(const nlohmann::json& json, std::string& text) {
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      const bool query = key == "expr" || key == "query" || key == "definition";
      if (query && value.is_string()) text += value.get<std::string>() + "\n";
      collect_expressions(value, text);
    }
  }
  if (json.is_array()) {
    for (const auto& value : json) collect_expressions(value, text);
  }
}

}  // namespace

TEST_CASE("the text format is what its readers take", "[metrics]") {
  const PrometheusText text = rendered(full_input());
  REQUIRE(text.at("holdfast_events_total{root=\"etc\"}") == 7);
  REQUIRE(text.has("holdfast_events_total{root=\"up\\\"loads\\\\\\n\"}"));
  REQUIRE(text.at("holdfast_records_total{kind=\"create\"}") == 5);  // a link is one, too
  REQUIRE(text.at("holdfast_records_total{kind=\"clock_step\"}") == 0);
  REQUIRE(text.at("holdfast_errors_total{kind=\"overflow\"}") == 1);
  REQUIRE(text.at("holdfast_open_verdicts{verdict=\"corrupt\"}") == 4);
  REQUIRE(text.at("holdfast_open_verdicts{verdict=\"read_error\"}") == 0);
  REQUIRE(text.at("holdfast_up_to_date_timestamp_seconds{root=\"etc\"}") == 1'799'999'998.5);
  REQUIRE(text.at("holdfast_dump_last_success_timestamp_seconds{dump=\"app-db\"}") == 0);
  REQUIRE(text.at("holdfast_root_free_bytes{root=\"etc\"}") == 1);
  REQUIRE(text.at("holdfast_alerts_standing") == 2);
  REQUIRE(text.at("holdfast_alert_notices_pending") == 3);
  REQUIRE(text.at("holdfast_alert_failures_total{sink=\"webhook\"}") == 5);
  REQUIRE(text.at("holdfast_alert_failures_total{sink=\"command\"}") == 0);
  REQUIRE(text.at("holdfast_flush_duration_seconds_bucket{le=\"0.001\"}") == 2);
  REQUIRE(text.at("holdfast_flush_duration_seconds_bucket{le=\"0.005\"}") == 3);
  REQUIRE(text.at("holdfast_flush_duration_seconds_bucket{le=\"120\"}") == 4);
  REQUIRE(text.at("holdfast_flush_duration_seconds_bucket{le=\"+Inf\"}") == 5);
  REQUIRE(text.at("holdfast_flush_duration_seconds_sum") == Approx(9090.002));
}

TEST_CASE("counters do not begin anew because the loop hangs", "[metrics]") {
  MetricsInput input = full_input();
  input.answers = false;
  input.engine = {};
  const PrometheusText text = rendered(input);
  REQUIRE(text.at("holdfast_loop_answers") == 0);
  REQUIRE_FALSE(text.has("holdfast_records_total{kind=\"create\"}"));
  REQUIRE(text.has("holdfast_packs"));
}

TEST_CASE("numbers and labels are written as the format has them", "[metrics]") {
  REQUIRE(metric_number(0) == "0");
  REQUIRE(metric_number(1'799'999'998.5) == "1799999998.5");
  REQUIRE(metric_number(0.001) == "0.001");
  REQUIRE(metric_label("a\"b\\c\nd") == "a\\\"b\\\\c\\nd");
  REQUIRE(metric_label("\xff") == "\xef\xbf\xbd");
}

TEST_CASE("the reader of the tests takes nothing that is wrong", "[metrics]") {
  const auto is_wrong = [](const std::string& text) {
    return !read_prometheus(text).complaints.empty();
  };
  const std::string head = "# HELP a_total words\n# TYPE a_total counter\n";
  REQUIRE_FALSE(is_wrong(head + "a_total 1\na_total{root=\"x\"} 2\n"));
  REQUIRE(is_wrong(head + "a_total 1"));
  REQUIRE(is_wrong(head + "a_total 1\na_total 1\n"));
  REQUIRE(is_wrong(head + "a_total{root=\"x} 1\n"));
  REQUIRE(is_wrong(head + "a_total{root=\"x\ny\"} 1\n"));
  REQUIRE(is_wrong(head + "a_total -1\n"));
  REQUIRE(is_wrong(head + "a_total one\n"));
  REQUIRE(is_wrong(head + "b_total 1\n"));
  REQUIRE(is_wrong("# TYPE a_total counter\na_total 1\n"));
  REQUIRE(is_wrong("# HELP a words\n# TYPE a counter\na 1\n"));
  REQUIRE(is_wrong("# HELP a_ms words\n# TYPE a_ms gauge\na_ms 1\n"));
  const std::string histogram = "# HELP h words\n# TYPE h histogram\nh_bucket{le=\"1\"} ";
  REQUIRE_FALSE(is_wrong(histogram + "1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n"));
  REQUIRE(is_wrong(histogram + "3\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n"));
  REQUIRE(is_wrong(histogram + "1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 5\n"));
}

TEST_CASE("dashboard, alerts and docs name metrics that there are, the docs all", "[metrics]") {
  const PrometheusText text = rendered(full_input());
  const std::set<std::string> there = text.names();
  std::string queries;
  collect_expressions(nlohmann::json::parse(file_of("deploy/grafana/holdfast.json")), queries);
  const std::string rules = file_of("deploy/prometheus/holdfast.rules.yml");
  for (const std::string& used : {queries, rules}) {
    const std::set<std::string> names = names_in(used);
    REQUIRE(names.size() > 8);
    for (const std::string& name : names) CHECK(there.count(name) == 1);
    for (const std::string& name : names) INFO(name);
  }
  const std::string page = file_of("docs/health.md");
  const std::set<std::string> told = names_in(page);
  for (const auto& [name, type] : text.types) {
    INFO(name);
    CHECK((told.count(name) == 1 || name.starts_with("process_")));
  }
  for (const std::string& name : told) {
    INFO(name);
    CHECK(text.types.count(name) == 1);
  }
}

}  // namespace holdfast
