// Alerts through the real binary: what is told, once, through a webhook, a command and the log.
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "tests/support/webhook.h"

namespace holdfast {
namespace {

using Catch::Contains;

// A service that tells of what is wrong.
struct Alerting {
  WorkDir work;
  Webhook webhook;
  std::string root = work.make("data");
  const std::string config = work.path("holdfast.toml");
  Holdfast holdfast{work.path("state")};

  void configure(const std::string& alerts, const std::string& more = "") const {
    write_file(config, "[[watch]]\nname = \"data\"\npath = \"" + root + "\"\n[alerts]\n" + alerts +
                           "\n" + more);
  }
  std::string to_webhook() const { return "webhook = \"" + webhook.url() + "\"\n"; }
  // A command that keeps each notice in a file of its own.
  std::string to_command(const std::string& then) const {
    const std::string script = "cat > \\\"" + work.path("told") +
                               ".$HOLDFAST_ALERT_EVENT.$HOLDFAST_ALERT_CHECK\\\"; " + then;
    return "command = [\"sh\", \"-c\", \"" + script + "\"]\n";
  }
  void start() { holdfast.start({"--config", config}); }
  template <class Is>
  void wait_until(const Is& is) const {
    for (int asked = 0; !is(); ++asked) {
      REQUIRE(asked < 5000);
      holdfast.flush();
    }
  }
  // Of the sink that is named first.
  uint64_t number(const std::string& what) const {
    return holdfast.json({"status"}).at("alerts").at("sinks")[0].at(what).get<uint64_t>();
  }
  TestJson standing() const { return holdfast.json({"status"}).at("alerts").at("standing"); }
  std::string log() { return holdfast.service().error_output(); }
};

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("a root that is lost is told of once, and once when it is back", "[alerts]") {
  Alerting a;
  a.configure(a.to_webhook());
  a.start();
  a.holdfast.flush();
  rename_path(a.root, a.work.path("elsewhere"));
  a.holdfast.run({"flush"});
  const TestJson raised = a.webhook.wait_for("raised", "coverage");
  REQUIRE(raised.at("root") == "data");
  REQUIRE_THAT(raised.at("text").get<std::string>(),
               Contains("holdfast on ") && Contains(a.root + " is not there"));
  REQUIRE_FALSE(raised.at("fix").get<std::string>().empty());
  REQUIRE(a.standing().size() == 1);
  REQUIRE(a.holdfast.service().wait_for_error("error ALERT coverage: data: " + a.root));
  rename_path(a.work.path("elsewhere"), a.root);
  a.holdfast.flush();
  const TestJson cleared = a.webhook.wait_for("cleared", "coverage");
  REQUIRE(cleared.at("id") == raised.at("id"));
  REQUIRE(cleared.at("since") == raised.at("since"));
  REQUIRE(a.holdfast.service().wait_for_error("info  alert over after "));
  REQUIRE(a.standing().empty());
  REQUIRE(a.webhook.taken().size() == 2);
  REQUIRE(count_of(a.log(), "ALERT") == 1);
  a.holdfast.require_clean();
}

TEST_CASE("a disk that is nearly full, and a file that is too large", "[alerts]") {
  Alerting a;
  a.configure(a.to_webhook() + "free_below = \"999999TB\"\nfile_above = \"1MB\"\n");
  write_file(a.root + "/before", random_bytes_of(2'000'000, 1));
  a.start();
  const TestJson disk = a.webhook.wait_for("raised", "free_space");
  REQUIRE_THAT(disk.at("bound").get<std::string>(), Contains("at least "));
  const TestJson before = a.webhook.wait_for("raised", "file_size");
  REQUIRE_THAT(before.at("what").get<std::string>(), Contains(a.root + "/before"));
  REQUIRE(before.at("value") == "2.0 MB");
  REQUIRE(before.at("bound") == "at most 1.0 MB");
  SECTION("it shrinks") { write_file(a.root + "/before", "small"); }
  SECTION("it goes") { REQUIRE(std::remove((a.root + "/before").c_str()) == 0); }
  SECTION("the bound goes, by a reload") {
    a.configure(a.to_webhook() + "free_below = \"999999TB\"\n");
    a.holdfast.service().signal(SIGHUP);
  }
  a.holdfast.flush();
  a.webhook.wait_for("cleared", "file_size");
  REQUIRE(a.standing().size() == 1);
  REQUIRE(a.standing()[0].at("check") == "free_space");
}

TEST_CASE("a restart neither repeats nor forgets an alert", "[alerts]") {
  Alerting a;
  a.configure(a.to_webhook() + "file_above = \"1MB\"\n");
  a.start();
  write_file(a.root + "/grows", random_bytes_of(1'500'000, 2));
  write_file(a.root + "/grows too", random_bytes_of(1'500'000, 3));
  a.holdfast.flush();
  a.webhook.wait_for("raised", "file_size");
  a.wait_until([&] { return a.standing().size() == 2; });
  a.wait_until([&] {  // both are sent, and that is kept
    return read_file(a.holdfast.state() + "/alerts").find("\"pending\":[]") != std::string::npos;
  });
  SECTION("stopped") { a.holdfast.stop(); }
  SECTION("killed") { a.holdfast.kill(); }
  write_file(a.root + "/grows", "small again");  // while nobody looks
  a.start();
  const TestJson cleared = a.webhook.wait_for("cleared", "file_size");
  REQUIRE_THAT(cleared.at("what").get<std::string>(), Contains(a.root + "/grows is large"));
  REQUIRE(a.standing().size() == 1);
  REQUIRE(a.webhook.taken().size() == 3);  // two raised, and this one
}

TEST_CASE("a webhook that fails is tried again, and one that refuses is not", "[alerts]") {
  Alerting a;
  a.configure(a.to_webhook() + "free_below = \"999999TB\"\n");
  SECTION("it fails twice") {
    a.webhook.answer_next({500, 429});
    a.start();
    a.webhook.wait_for("raised", "free_space");
    REQUIRE(a.webhook.requests() == 3);
    REQUIRE(a.holdfast.service().wait_for_error("HTTP status 500; it is tried again"));
  }
  SECTION("it refuses") {
    a.webhook.answer_next({404});
    a.start();
    REQUIRE(a.holdfast.service().wait_for_error("HTTP status 404: webhook in [alerts] is not"));
    REQUIRE(a.holdfast.service().wait_for_error("it is given up"));
    REQUIRE(a.number("pending") == 0);
    REQUIRE(a.number("failures") == 1);
    REQUIRE(a.webhook.taken().empty());
  }
  SECTION("it redirects") {
    a.webhook.answer_next({302});
    a.start();
    REQUIRE(a.holdfast.service().wait_for_error("a redirect, which is not followed"));
    REQUIRE(a.webhook.requests() == 1);
  }
  REQUIRE(a.log().find(Webhook::kSecret) == std::string::npos);
  REQUIRE(a.holdfast.text({"status", "--json"}).find(Webhook::kSecret) == std::string::npos);
}

TEST_CASE("a webhook that hangs holds up neither the service nor its end", "[alerts]") {
  Alerting a;
  a.webhook.hang(true);
  a.configure(a.to_webhook() + a.to_command("true") + "free_below = \"999999TB\"\n");
  a.start();
  a.webhook.wait_for_requests(1);
  write_file(a.root + "/file", "kept");
  a.holdfast.flush();
  REQUIRE(a.holdfast.text({"cat", "data:file"}) == "kept");
  a.wait_until([&] { return exists(a.work.path("told.raised.free_space")); });  // the other sink
  REQUIRE(a.number("pending") == 1);
  a.holdfast.service().signal(SIGTERM);
  REQUIRE(a.holdfast.service().wait(10'000).exit_code == 0);  // it would hang for fifteen seconds
  // The notice is sent by the next service.
  a.webhook.hang(false);
  REQUIRE(a.webhook.taken().empty());
  a.start();
  a.webhook.wait_for("raised", "free_space");
  REQUIRE(a.webhook.taken().size() == 1);
}

TEST_CASE("a command gets the notice, and fails in words", "[alerts]") {
  Alerting a;
  SECTION("it works") {
    a.configure(a.to_command("true") + "free_below = \"999999TB\"\n");
    a.start();
    REQUIRE(a.holdfast.service().wait_for_error("ALERT free_space"));
    const std::string told = a.work.path("told.raised.free_space");
    a.wait_until([&] { return a.number("pending") == 0; });
    const TestJson notice = TestJson::parse(read_file(told));
    REQUIRE(notice.at("event") == "raised");
    REQUIRE(notice.at("state") == a.holdfast.state());
  }
  SECTION("it does not") {
    a.configure(a.to_command("echo no such pager >&2; exit 3") + "free_below = \"999999TB\"\n");
    a.start();
    REQUIRE(a.holdfast.service().wait_for_error(
        "by command to sh: exit status 3; it wrote: no such pager; it is tried again"));
    a.wait_until([&] { return a.number("failures") >= 3; });
    const Outcome checked = a.holdfast.run({"status", "--check"});
    REQUIRE(checked.exit_code == 3);
    REQUIRE_THAT(checked.out, Contains("alerts: notices cannot be sent by command"));
  }
}

TEST_CASE("a snapshot that fails is told of, until one is taken", "[alerts]") {
  Alerting a;
  const std::string mended = a.work.path("mended");
  a.configure(a.to_webhook(),
              "[snapshot]\nevery = \"1s\"\npre = [\"test\", \"-e\", \"" + mended + "\"]\n");
  a.start();
  const TestJson raised = a.webhook.wait_for("raised", "snapshot");
  REQUIRE_THAT(raised.at("value").get<std::string>(), Contains("the hook before the snapshot"));
  write_file(mended, "");
  a.webhook.wait_for("cleared", "snapshot");
}

TEST_CASE("a file that cannot be read is told of", "[alerts]") {
  if (!is_root_for("becoming somebody else")) return;
  Alerting a;
  a.configure(a.to_webhook());
  write_file(a.root + "/closed", "secret");
  REQUIRE(::chmod((a.root + "/closed").c_str(), 0) == 0);
  for (const std::string& path : {a.work.path(), a.root, a.config}) {
    REQUIRE(::chmod(path.c_str(), 0755) == 0);
  }
  const std::string state = a.work.make("open-state");
  REQUIRE(::chown(state.c_str(), 12345, 12345) == 0);
  REQUIRE(::chmod(state.c_str(), 0700) == 0);
  const auto service = Holdfast(state).launch({"--config", a.config}, 12345);
  const TestJson raised = a.webhook.wait_for("raised", "unreadable");
  REQUIRE_THAT(raised.at("value").get<std::string>(), Contains(a.root + "/closed"));
  REQUIRE(::chmod((a.root + "/closed").c_str(), 0644) == 0);
  a.webhook.wait_for("cleared", "unreadable");
}

TEST_CASE("a damaged file of alerts is begun anew, and told", "[alerts]") {
  Alerting a;
  a.configure(a.to_webhook() + "free_below = \"999999TB\"\n");
  a.start();
  a.webhook.wait_for("raised", "free_space");
  a.holdfast.stop();
  const std::string file = a.holdfast.state() + "/alerts";
  std::string bytes = read_file(file);
  bytes[bytes.size() / 2] ^= 1;
  write_file(file, bytes);
  const Outcome checked = a.holdfast.run({"check"});
  REQUIRE(checked.exit_code == 3);
  REQUIRE_THAT(checked.out, Contains("/alerts is damaged"));
  a.start();
  REQUIRE(a.holdfast.service().wait_for_error("/alerts is damaged"));
  a.webhook.wait_for_requests(2);
  REQUIRE(a.holdfast.service().wait_for_error("ALERT free_space"));
  a.holdfast.require_clean();
}

TEST_CASE("the way of alerts can be tried", "[alerts]") {
  Alerting a;
  SECTION("all of it works, without a service") {
    a.configure(a.to_webhook() + a.to_command("echo paged"));
    const std::vector<TestJson> lines = a.holdfast.lines({"--config", a.config, "test-alert"});
    REQUIRE(lines.size() == 2);
    REQUIRE(lines[0].at("result") == "HTTP status 200");
    REQUIRE(lines[1].at("result") == "exit status 0; it wrote: paged");
    REQUIRE(a.webhook.wait_for("test", "test").at("event") == "test");
    REQUIRE(exists(a.work.path("told.test.test")));
  }
  SECTION("a part of it does not") {
    a.webhook.answer_next({503});
    a.configure(a.to_webhook() + a.to_command("true"));
    const Outcome outcome = a.holdfast.run({"--config", a.config, "test-alert"});
    REQUIRE(outcome.exit_code == 1);
    REQUIRE_THAT(outcome.err,
                 Contains("FAILED webhook to http://127.0.0.1:") && Contains("HTTP status 503"));
    REQUIRE(outcome.err.find(Webhook::kSecret) == std::string::npos);
    REQUIRE_THAT(outcome.out, Contains("sent   command to sh: exit status 0"));
    REQUIRE(a.webhook.requests() == 1);
  }
  SECTION("there is none") {
    a.configure("free_below = \"10%\"\n");
    const Outcome outcome = a.holdfast.run({"--config", a.config, "test-alert"});
    REQUIRE(outcome.exit_code == 2);
    REQUIRE_THAT(outcome.err, Contains("name a webhook or a command in [alerts]"));
  }
  SECTION("the webhook is a secret in a file") {
    write_file(a.work.path("hook"), a.webhook.url() + "\n");
    a.holdfast.set_env({{"HOLDFAST_ALERT_WEBHOOK_FILE", a.work.path("hook")}});
    REQUIRE_THAT(a.holdfast.text({"test-alert"}), Contains("HTTP status 200"));
    write_file(a.work.path("hook"), "ftp://sEcReT-path");
    const Outcome outcome = a.holdfast.run({"test-alert"});
    REQUIRE(outcome.exit_code == 2);
    REQUIRE(outcome.err.find(Webhook::kSecret) == std::string::npos);
  }
}

TEST_CASE("where there is no network, that is said", "[alerts]") {
  if (!is_root_for("a network namespace")) return;
  Alerting a;
  a.configure(a.to_webhook());
  const Outcome outcome = run_process(
      {{"unshare", "-n", holdfast_binary(), "--config", a.config, "test-alert"}, "", {}, 0});
  REQUIRE(outcome.exit_code == 1);
  REQUIRE_THAT(outcome.err, Contains("Network is unreachable") && Contains("network.conf"));
}

}  // namespace holdfast
