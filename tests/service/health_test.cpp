// What is wrong, as a function from what is known.
#include "service/health.h"

#include <catch2/catch.hpp>

#include "service/probe_request.h"

namespace holdfast {
namespace {

using Catch::Contains;

constexpr int64_t kSecond = 1'000'000'000, kHour = 3600 * kSecond;

HealthInput well() {
  HealthInput input;
  input.served = true;
  input.state_dir = "/state";
  input.engine.up_ns = 100 * kHour;
  RootStatus root;
  root.name = "uploads";
  root.caught_up_ago_ns = 2 * kSecond;
  input.engine.roots = {root};
  input.state_space = FreeSpace{50'000'000'000, 100'000'000'000};
  input.now_ns = 1'800'000'000 * kSecond;
  input.since_ns = input.now_ns - 100 * kHour;
  return input;
}

// Exactly one, of that check.
Finding only(const HealthInput& input, const std::string& check, const HealthLimits& limits = {}) {
  const auto findings = check_health(input, limits);
  REQUIRE(findings.size() == 1);
  REQUIRE(findings[0].check == check);
  return findings[0];
}

}  // namespace

TEST_CASE("a service that is well has nothing wrong", "[health]") {
  REQUIRE(check_health(well(), {}).empty());
  REQUIRE(not_ready(well().engine, {}).empty());
}

TEST_CASE("a root that is behind is told with value, bound and fix", "[health]") {
  HealthInput input = well();
  input.engine.roots[0].caught_up_ago_ns = kHour;
  REQUIRE(check_health(input, {}).empty());
  input.engine.roots[0].caught_up_ago_ns = kHour + 3 * 60 * kSecond;
  const Finding finding = only(input, "up_to_date");
  REQUIRE(finding.root == "uploads");
  REQUIRE(finding.value == "1 h 3 min ago");
  REQUIRE(finding.bound == "at most 1 h 0 min");
  REQUIRE_FALSE(finding.fix.empty());
  REQUIRE_THAT(finding.text(), Contains("uploads: last known to be up to date: 1 h 3 min ago, "
                                        "at most 1 h 0 min; "));
  HealthLimits loose;
  loose.max_age_ns = 2 * kHour;
  REQUIRE(check_health(input, loose).empty());
  REQUIRE(not_ready(input.engine, {}).size() == 1);
  input.served = false;
  REQUIRE(check_health(input, {}).empty());  // nobody said that it is
}

TEST_CASE("a first look may take its time, unless a bound was asked for", "[health]") {
  HealthInput input = well();
  input.engine.roots[0].caught_up_ago_ns.reset();
  REQUIRE(check_health(input, {}).empty());
  REQUIRE_THAT(not_ready(input.engine, {}).at(0), Contains("uploads: the first look"));
  HealthLimits asked;
  asked.max_age_given = true;
  REQUIRE_THAT(only(input, "up_to_date", asked).text(), Contains("the first look takes: 4 d"));
  input.engine.up_ns = kHour / 2;
  REQUIRE(check_health(input, asked).empty());
}

TEST_CASE("workers that finish nothing are told of", "[health]") {
  HealthInput input = well();
  input.engine.stuck_ns = 600 * kSecond;
  REQUIRE(check_health(input, {}).empty());
  input.engine.stuck_ns += 60 * kSecond;
  REQUIRE(only(input, "progress").value == "for 11 min 0 s");
}

TEST_CASE("free space has a bound that fits large and small disks", "[health]") {
  HealthInput input = well();
  input.state_space = FreeSpace{1'000'000'000, 100'000'000'000};
  REQUIRE(check_health(input, {}).empty());
  input.state_space->free_bytes -= 1;
  REQUIRE(only(input, "free_space").bound == "at least 1.0 GB");
  input.state_space = FreeSpace{60, 1000};
  REQUIRE(check_health(input, {}).empty());
  HealthLimits limits;
  limits.free_below_percent = 10;
  REQUIRE_THAT(only(input, "free_space", limits).text(), Contains("(10 %)"));
  limits.free_below_percent.reset();
  limits.free_below_bytes = 60;
  REQUIRE(check_health(input, limits).empty());
  limits.free_below_bytes = 61;
  only(input, "free_space", limits);
}

TEST_CASE("a schedule that takes no snapshots is told of", "[health]") {
  HealthInput input = well();
  input.snapshot_every_ns = kHour;
  input.last_snapshot_ns = input.now_ns - 2 * kHour;
  REQUIRE(check_health(input, {}).empty());
  input.last_snapshot_ns = input.now_ns - 3 * kHour;
  REQUIRE_THAT(only(input, "snapshot").what, Contains("is old"));
  input.last_snapshot_ns = 0;
  REQUIRE_THAT(only(input, "snapshot").what, Contains("no snapshot"));
  input.since_ns = input.now_ns - kHour;  // a service that was off for a week has its time first
  REQUIRE(check_health(input, {}).empty());
}

TEST_CASE("a scrub that does not get round is told of", "[health]") {
  HealthInput input = well();
  input.scrub_every_ns = 24 * kHour;
  REQUIRE(check_health(input, {}).empty());  // nothing to scrub yet
  input.scrub.started_ns = input.now_ns - 49 * kHour;
  REQUIRE_THAT(only(input, "scrub").what, Contains("does not end"));
  input.scrub.finished_ns = input.now_ns - 47 * kHour;
  REQUIRE(check_health(input, {}).empty());
  input.scrub.finished_ns = input.now_ns - 49 * kHour;
  REQUIRE_THAT(only(input, "scrub").what, Contains("is old"));
}

TEST_CASE("what the engine complains of keeps its words", "[health]") {
  HealthInput input = well();
  input.engine.roots[0].lost = true;
  input.engine.roots[0].caught_up_ago_ns = 50 * kHour;  // not told twice
  input.engine.problems = {{"coverage", "/data is not there; it resumes; when it is back", "", ""}};
  const Finding finding = only(input, "coverage");
  REQUIRE(finding.what == "/data is not there");
  REQUIRE(finding.fix == "it resumes; when it is back");
  REQUIRE(finding.text() == input.engine.problems[0].text);
  REQUIRE_THAT(not_ready(input.engine, {}).at(0), Contains("gone"));
  input = well();
  input.engine.stalled = "the disk is full";
  REQUIRE_THAT(not_ready(input.engine, {}).at(0), Contains("the disk is full"));
}

TEST_CASE("a request is read, or refused", "[health]") {
  const auto parsed = [](const std::string& head) { return parse_probe(head + "\r\n\r\n"); };
  REQUIRE(parsed("GET /healthz HTTP/1.1")->path == "/healthz");
  REQUIRE_FALSE(parsed("GET /healthz HTTP/1.1")->json);
  REQUIRE(parsed("GET /healthz?json HTTP/1.1")->json);
  REQUIRE(parsed("GET /healthz?json HTTP/1.1")->path == "/healthz");
  REQUIRE(parsed("GET /readyz HTTP/1.0\r\nACCEPT: text/html, application/json")->json);
  REQUIRE_FALSE(parsed("GET /healthz"));
  REQUIRE_FALSE(parsed("GET  HTTP/1.1"));
  REQUIRE_FALSE(parsed("GET http://a/healthz HTTP/1.1"));
  REQUIRE_FALSE(parsed("\x16\x03\x01"));
  REQUIRE(probe_head_end("GET / HTTP/1.1\r\n\r\nrest") == 18u);
  REQUIRE(probe_head_end("GET / HTTP/1.1\n\nrest") == 16u);
  REQUIRE_FALSE(probe_head_end("GET / HTTP/1.1\r\n"));
  const auto status_of = [](const std::string& method, const std::string& path) {
    const auto refused = refuse_probe({method, path, false});
    return refused ? refused->status : 0;
  };
  REQUIRE(status_of("GET", "/metrics") == 0);
  REQUIRE(status_of("HEAD", "/healthz") == 0);
  REQUIRE(status_of("POST", "/healthz") == 405);
  REQUIRE(status_of("GET", "/v1/cat") == 403);
  REQUIRE(status_of("GET", "/") == 404);
  REQUIRE(status_of("GET", "/metrics/") == 404);
  const std::string head = render_reply({503, "no\n"}, true);
  REQUIRE_THAT(head, Contains("HTTP/1.1 503 Service Unavailable\r\n") &&
                         Contains("Content-Length: 3\r\n") && Catch::EndsWith("\r\n\r\n"));
}

TEST_CASE("a disk around its bound is one cause and not many", "[health]") {
  HealthLimits limits;
  limits.free_below_percent = 10;
  const auto is_low = [&](uint64_t free, bool stands) {
    return space_finding("disk", {free, 1000}, limits, stands).has_value();
  };
  REQUIRE(is_low(99, false));
  REQUIRE_FALSE(is_low(100, false));
  REQUIRE(is_low(109, true));
  REQUIRE_FALSE(is_low(110, true));
}

TEST_CASE("what a cause is does not change with its numbers", "[health]") {
  const auto subject = [](const std::string& problem) {
    const Finding finding = finding_of("verdicts", problem);
    return finding.subject.empty() ? finding.what : finding.subject;
  };
  REQUIRE(subject("and 12 more files; look") == subject("and 9 more files; look"));
  REQUIRE(subject("inbox /in: 12 more were not restored") ==
          subject("inbox /in: 3 more were not restored"));
  REQUIRE(subject("/a is corrupt since @12; heal") != subject("/a is corrupt since @13; heal"));
  HealthInput input = well();
  input.engine.problems = {{"coverage", "3 directories cannot be read", "uploads", "unlisted"}};
  const Finding three = only(input, "coverage");
  REQUIRE(three.root == "uploads");
  REQUIRE(three.subject == "unlisted");
  input.engine.problems = {};
  input.snapshot_failure = "the hook failed";
  REQUIRE(check_health(input, {}).empty());  // no schedule, no failure of it
  input.snapshot_every_ns = kHour;
  input.last_snapshot_ns = input.now_ns;
  REQUIRE(only(input, "snapshot").subject == "failed");
}

}  // namespace holdfast
