// What is kept of alerts, what others see of them, and what waits to be sent.
#include "service/alert_state.h"

#include <catch2/catch.hpp>
#include <random>

#include "service/alert_notice.h"
#include "service/alert_queue.h"

namespace holdfast {
namespace {

Alert alert(const std::string& subject, int64_t since_ns = 5) {
  return {{"disk", "da\"ta", "what\n\xff", "v", "b", "f", subject}, since_ns};
}

AlertState example() {
  AlertState state;
  state.standing = {alert("a"), alert("", -1)};
  state.pending = {{"webhook", {AlertEvent::kRaised, alert("a"), 7}},
                   {"command", {AlertEvent::kCleared, alert(std::string("\0x", 2)), ~0ll}}};
  return state;
}

AlertNotice notice(AlertEvent event, const std::string& subject) {
  return {event, alert(subject), 9};
}

}  // namespace

TEST_CASE("the state of alerts comes back as it was written", "[alerts]") {
  for (const AlertState& state : {AlertState{}, example()}) {
    const auto back = decode_alert_state(encode_alert_state(state));
    REQUIRE(back);
    REQUIRE(*back == state);
  }
}

TEST_CASE("any byte that is not what was written makes the state of alerts damaged", "[alerts]") {
  const std::string text = encode_alert_state(example());
  for (size_t i = 0; i < text.size(); ++i) {
    INFO("byte " << i);
    for (const int bit : {1, 2, 32, 128}) {
      std::string other = text;
      other[i] = static_cast<char>(other[i] ^ bit);
      REQUIRE_FALSE(decode_alert_state(other));
    }
    REQUIRE_FALSE(decode_alert_state(text.substr(0, i)));
  }
  REQUIRE_FALSE(decode_alert_state(text + " "));
  std::mt19937 random(17);
  for (int i = 0; i < 20'000; ++i) {  // nor does anything else bring it down
    std::string other = text;
    for (int change = 0; change < 4; ++change) {
      const size_t at = random() % other.size();
      if (random() % 2 == 0)
        other.erase(at, random() % 20);
      else
        other.insert(at, other.substr(random() % other.size(), random() % 20));
    }
    if (other != text) REQUIRE_FALSE(decode_alert_state(other));
  }
}

TEST_CASE("a notice is what a page or a message needs", "[alerts]") {
  AlertNotice raised;
  raised.alert = {{"free_space", "uploads", "free space on the disk of /srv", "1.0 GB of 50.0 GB",
                   "at least 5.0 GB (10 %)", "free some", "disk"},
                  1'800'000'000'000'000'000};
  raised.time_ns = raised.alert.since_ns + 2'000'000'000;
  const AlertOrigin origin{"web1", "/var/lib/holdfast"};
  const Json json = notice_json(raised, origin);
  REQUIRE(json["event"] == "raised");
  REQUIRE(json["check"] == "free_space");
  REQUIRE(json["root"] == "uploads");
  REQUIRE(json["bound"] == "at least 5.0 GB (10 %)");
  REQUIRE(json["text"] ==
          "holdfast on web1: uploads: free space on the disk of /srv: 1.0 GB of 50.0 GB, at least "
          "5.0 GB (10 %); free some");
  REQUIRE(json["since"] == "2027-01-15T08:00:00.000000000Z");
  REQUIRE(json["host"] == "web1");
  REQUIRE(json["version"] == HOLDFAST_VERSION);
  AlertNotice cleared = raised;
  cleared.event = AlertEvent::kCleared;
  cleared.time_ns = raised.alert.since_ns + 180'000'000'000;
  const Json over = notice_json(cleared, origin);
  REQUIRE(over["text"] ==
          "holdfast on web1: over after 3 min 0 s: uploads: free space on the disk "
          "of /srv");
  REQUIRE(over["id"] == json["id"]);
  AlertNotice again = raised;
  again.alert.since_ns += 1;
  REQUIRE(notice_json(again, origin)["id"] != json["id"]);
  for (const auto& [name, value] : notice_environment(raised, origin)) {
    INFO(name);
    REQUIRE(name.starts_with("HOLDFAST_ALERT_"));
    REQUIRE_FALSE(name.ends_with("_FILE"));  // which would be read as a file's name
    REQUIRE(value.find('\0') == std::string::npos);
  }
}

TEST_CASE("hostile names make a notice neither long nor invalid", "[alerts]") {
  AlertNotice notice;
  Finding& finding = notice.alert.finding;
  for (std::string* text : {&finding.check, &finding.root, &finding.what, &finding.value,
                            &finding.bound, &finding.fix, &finding.subject}) {
    for (int i = 0; i < 30'000; ++i) *text += i % 3 == 0 ? "\xff" : i % 3 == 1 ? "\n" : "\u00e9";
  }
  const std::string line = json_line(notice_json(notice, {"h\xff", "/s\xff"}));
  REQUIRE(line.size() < kNoticeBytesMax);
  REQUIRE(Json::parse(line).is_object());
}

TEST_CASE("tries come further and further apart", "[alerts]") {
  constexpr int64_t kSecond = 1'000'000'000;
  REQUIRE(retry_wait_ns(1, 0) == kSecond);
  REQUIRE(retry_wait_ns(2, 0) == 2 * kSecond);
  REQUIRE(retry_wait_ns(5, 0) == 16 * kSecond);
  REQUIRE(retry_wait_ns(1000, 0) == 600 * kSecond);
  REQUIRE(retry_wait_ns(0, 0) == kSecond);
  for (uint32_t random = 0; random < 5000; random += 7) {
    REQUIRE(retry_wait_ns(3, random) >= 4 * kSecond);
    REQUIRE(retry_wait_ns(3, random) <= 4 * kSecond + 4 * kSecond / 5);
  }
  REQUIRE(retry_wait_ns(3, 999) > retry_wait_ns(3, 0));
}

TEST_CASE("where too many notices wait, those that are over go first", "[alerts]") {
  std::deque<AlertNotice> notices{
      notice(AlertEvent::kRaised, "sending"), notice(AlertEvent::kRaised, "a"),
      notice(AlertEvent::kRaised, "b"),       notice(AlertEvent::kCleared, "sending"),
      notice(AlertEvent::kCleared, "a"),      notice(AlertEvent::kRaised, "c"),
  };
  REQUIRE(make_room(notices, 6) == 0);
  REQUIRE(notices.size() == 6);
  REQUIRE(make_room(notices, 5) == 0);
  const std::deque<AlertNotice> left{
      notice(AlertEvent::kRaised, "sending"), notice(AlertEvent::kRaised, "b"),
      notice(AlertEvent::kCleared, "sending"), notice(AlertEvent::kRaised, "c")};
  REQUIRE(notices == left);
  REQUIRE(make_room(notices, 2) == 2);
  REQUIRE(notices.front() == notice(AlertEvent::kRaised, "sending"));
  REQUIRE(notices.back() == notice(AlertEvent::kRaised, "c"));
}

}  // namespace holdfast
