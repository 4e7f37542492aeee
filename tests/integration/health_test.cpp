// Health and metrics of a service: what probes, scrapers and `status --check` are told.
#include <signal.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "tests/support/prometheus_text.h"
#include "tests/support/tcp.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

using Catch::Contains;

struct Listening {
  WorkDir work;
  std::string root{work.make("data")};
  uint16_t port = free_port();
  Holdfast holdfast{work.path("state")};

  explicit Listening(const std::vector<std::string>& more = {}) {
    std::vector<std::string> args{"data=" + root, "--listen", "127.0.0.1:" + std::to_string(port)};
    args.insert(args.end(), more.begin(), more.end());
    holdfast.start(args);
    holdfast.flush();
  }
  PrometheusText metrics() const {
    const HttpReply reply = http_get(port, "/metrics");
    REQUIRE(reply.status == 200);
    REQUIRE_THAT(reply.head, Contains("Content-Type: text/plain; version=0.0.4"));
    PrometheusText text = read_prometheus(reply.body);
    REQUIRE(text.complaints == std::vector<std::string>{});
    return text;
  }
};

std::string of_data(const std::string& name) { return name + "{root=\"data\"}"; }

// What a start that fails says.
std::string refused_start(const WorkDir& work, const std::string& listen, int exit_code) {
  const Holdfast other(work.path("other"));
  const auto process =
      other.launch({"data=" + work.make("d" + std::to_string(listen.size())), "--listen", listen});
  const Outcome outcome = process->wait();
  CHECK(outcome.exit_code == exit_code);
  return outcome.err;
}

}  // namespace

TEST_CASE("probes are answered, and nothing else is", "[health]") {
  const Listening l;
  REQUIRE(http_get(l.port, "/healthz").body == "ok\n");
  REQUIRE(http_get(l.port, "/readyz").status == 200);
  REQUIRE(TestJson::parse(http_get(l.port, "/readyz?json").body).at("ok") == true);
  REQUIRE(http_get(l.port, "/healthz", "HEAD").body.empty());
  REQUIRE(http_get(l.port, "/healthz", "POST").status == 405);
  for (const char* path : {"/v1/status", "/v1/cat?path=data:a", "/v1/flush"}) {
    const HttpReply reply = http_get(l.port, path);
    REQUIRE(reply.status == 403);
    REQUIRE_THAT(reply.body, Contains("Unix socket"));
  }
  REQUIRE(http_get(l.port, "/").status == 404);
  REQUIRE(http_get(l.port, "/../etc/passwd").status == 404);
}

TEST_CASE("what cannot be listened on is an error that says what to do", "[health]") {
  const Listening l;
  const std::string taken = "127.0.0.1:" + std::to_string(l.port);
  REQUIRE_THAT(refused_start(l.work, taken, 1),
               Contains("listening on " + taken) && Contains("choose another port"));
  REQUIRE_THAT(refused_start(l.work, "127.0.0.1:0", 2), Contains("from 1 to 65535"));
  REQUIRE_THAT(refused_start(l.work, "7474", 2), Contains("127.0.0.1:7474"));
  REQUIRE_THAT(refused_start(l.work, "no such name:7474", 2), Contains("an address of this"));
  REQUIRE(http_get(l.port, "/healthz").status == 200);
}

TEST_CASE("clients that say nothing, or too much, keep nobody out", "[health]") {
  const Listening l;
  std::vector<std::unique_ptr<Tcp>> silent;
  for (int i = 0; i < 60; ++i) {
    silent.push_back(std::make_unique<Tcp>(l.port));
    silent.back()->send("GET /healthz HT");
  }
  // Who comes while those are being cut off may be sent away, and asks again.
  const auto answered = [&] {
    Tcp tcp(l.port);
    if (!tcp.connected() || !tcp.send("GET /healthz HTTP/1.1\r\n\r\n")) return false;
    return tcp.read_all().starts_with("HTTP/1.1 200");
  };
  for (int tries = 1; !answered(); ++tries) REQUIRE(tries < 1000);
  Tcp loud(l.port);
  loud.send("GET /healthz HTTP/1.1\r\nX: " + std::string(20'000, 'x'));
  REQUIRE_THAT(loud.read_all(), Contains(" 431 "));
  Tcp odd(l.port);
  odd.send("\x16\x03\x01 hello\r\n\r\n");
  REQUIRE_THAT(odd.read_all(), Contains(" 400 "));
  // Nobody comes after this one, for whom it would be cut off; it may be sent away, as above.
  std::string told;
  for (int tries = 1; told.empty(); ++tries) {
    REQUIRE(tries < 1000);
    Tcp late(l.port);
    if (late.connected() && late.send("GET /healthz HT")) told = late.read_all();
  }
  REQUIRE_THAT(told, Contains(" 408 "));  // after ten seconds
  REQUIRE(http_get(l.port, "/readyz").status == 200);
  write_file(l.root + "/a", "watching goes on");
  l.holdfast.flush();
  REQUIRE(l.holdfast.text({"cat", "data:a"}) == "watching goes on");
}

TEST_CASE("metrics count what happened", "[health]") {
  const Listening l;
  const std::string bytes = random_bytes_of(300'000, 1);
  write_file(l.root + "/a", bytes);
  l.holdfast.flush();
  write_file(l.root + "/b", bytes);
  write_file(l.root + "/c", std::string(500'000, 'x'));
  l.holdfast.flush();
  l.holdfast.text({"snapshot"});
  l.holdfast.text({"restore", "data:a", "--at", "now", "--to", l.work.path("out")});
  const PrometheusText text = l.metrics();
  REQUIRE(text.at("holdfast_records_total{kind=\"create\"}") >= 4);  // the root is one
  REQUIRE(text.at(of_data("holdfast_captures_total")) >= 3);
  REQUIRE(text.at(of_data("holdfast_captured_bytes_total")) >= 1'100'000);
  REQUIRE(text.at(of_data("holdfast_events_total")) >= 3);
  REQUIRE(text.at("holdfast_deduplicated_bytes_total") >= 300'000);
  const double raw = text.at("holdfast_stored_raw_bytes_total");
  REQUIRE(raw >= 300'000);
  REQUIRE(raw < 1'000'000);
  REQUIRE(text.at("holdfast_stored_bytes_total") < raw);
  REQUIRE(text.at("holdfast_flush_duration_seconds_count") >= 3);
  REQUIRE(text.at("holdfast_capture_duration_seconds_count") ==
          text.at(of_data("holdfast_captures_total")));
  REQUIRE(text.at("holdfast_snapshots") == 1);
  REQUIRE(text.at("holdfast_snapshot_last_timestamp_seconds") > 1e9);
  REQUIRE(text.at("holdfast_restores_total{kind=\"elsewhere\"}") == 1);
  REQUIRE(text.at("holdfast_restored_bytes_total") == 300'000);
  REQUIRE(text.at(of_data("holdfast_root_files")) == 3);
  REQUIRE(text.at(of_data("holdfast_root_coverage_full")) == 1);
  REQUIRE(text.at(of_data("holdfast_root_free_bytes")) > 0);
  REQUIRE(text.at(of_data("holdfast_watches")) >= 1);
  REQUIRE(text.at("holdfast_loop_answers") == 1);
  REQUIRE(text.at("holdfast_problems") == 0);
  REQUIRE(text.at("process_resident_memory_bytes") > 1e6);
  REQUIRE(text.at("process_start_time_seconds") > 1e9);
  REQUIRE(text.at("process_open_fds") > 5);
  REQUIRE(text.at(of_data("holdfast_up_to_date_timestamp_seconds")) >=
          text.at("process_start_time_seconds") - 2);
}

TEST_CASE("a tree in which nothing happens is healthy, whatever its last record", "[health]") {
  Listening l({"--backend", "inotify"});
  const TestJson status = l.holdfast.json({"status"});
  const std::string proven = status.at("roots")[0].at("up_to_date");
  // The proof moves on though no record does.
  TestJson later;
  for (int asked = 0; later.is_null() || later.at("roots")[0].at("up_to_date") == proven; ++asked) {
    REQUIRE(asked < 1000);
    later = l.holdfast.json({"status"});
  }
  REQUIRE(later.at("last_record") == status.at("last_record"));
  const Outcome checked = l.holdfast.run({"status", "--check", "--max-age", "5s"});
  CHECK(checked.exit_code == 0);
  REQUIRE_THAT(checked.out, Contains("healthy"));
  const Outcome strict = l.holdfast.run({"status", "--check", "--max-age", "0s"});
  REQUIRE(strict.exit_code != 1);
}

TEST_CASE("a service that hangs is not healthy", "[health]") {
  Listening l;
  l.holdfast.service().signal(SIGSTOP);
  const Outcome checked = l.holdfast.run({"status", "--check"});
  l.holdfast.service().signal(SIGCONT);
  CHECK(checked.exit_code == 1);
  REQUIRE_THAT(checked.err, Contains("did not answer within 8.0 s"));
  REQUIRE(l.holdfast.run({"status", "--check"}).exit_code == 0);
}

TEST_CASE("a root that is polled is up to date until its last sweep", "[health]") {
  Listening l({"--backend", "poll"});
  write_file(l.root + "/a", "1");
  l.holdfast.flush();
  // The clock of a sweep is ten seconds: just after one, less than that has passed.
  const Outcome loose = l.holdfast.run({"status", "--check", "--max-age", "1m"});
  CHECK(loose.exit_code == 0);
  const Outcome strict = l.holdfast.run({"status", "--check", "--max-age", "1ms"});
  REQUIRE(strict.exit_code == 3);
  REQUIRE_THAT(strict.out, Contains("up_to_date: data: last known to be up to date: ") &&
                               Contains("at most 1 ms; "));
  const TestJson json =
      TestJson::parse(l.holdfast.run({"status", "--check", "--max-age", "1ms", "--json"}).out);
  REQUIRE(json.at("healthy") == false);
  REQUIRE(json.at("findings")[0].at("check") == "up_to_date");
  REQUIRE(json.at("findings")[0].at("root") == "data");
  REQUIRE(json.at("findings")[0].at("bound") == "at most 1 ms");
}

TEST_CASE("a root that is lost is neither ready nor healthy", "[health]") {
  Listening l;
  rename_path(l.root, l.work.path("elsewhere"));
  l.holdfast.run({"flush"});
  const HttpReply ready = http_get(l.port, "/readyz");
  REQUIRE(ready.status == 503);
  REQUIRE_THAT(ready.body, Contains("data: "));
  REQUIRE(http_get(l.port, "/healthz").status == 200);
  REQUIRE_THAT(l.holdfast.run({"status", "--check"}).out, Contains("coverage: "));
  const PrometheusText text = l.metrics();
  REQUIRE(text.at(of_data("holdfast_root_lost")) == 1);
  REQUIRE(text.at("holdfast_problems") == 1);
  rename_path(l.work.path("elsewhere"), l.root);
  l.holdfast.flush();
  REQUIRE(http_get(l.port, "/readyz").status == 200);
}

TEST_CASE("bounds of health are the configuration's", "[health]") {
  WorkDir work;
  const std::string root = work.make("data");
  write_file(work.path("holdfast.toml"), "[[watch]]\npath = \"" + root +
                                             "\"\n[health]\nfree_below = \"999999GB\"\n[http]\n"
                                             "listen = \"127.0.0.1:" +
                                             std::to_string(free_port()) + "\"\n");
  Holdfast holdfast(work.path("state"));
  holdfast.start({"--config", work.path("holdfast.toml")});
  const Outcome checked = holdfast.run({"status", "--check"});
  REQUIRE(checked.exit_code == 3);
  REQUIRE_THAT(checked.out, Contains("free_space: free space on the disk of the state ") &&
                                Contains("at least ") && Contains("holdfast prune"));
}

}  // namespace holdfast
