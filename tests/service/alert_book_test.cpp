// Which causes are told, when, and how often.
#include "service/alert_book.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

namespace holdfast {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
const std::vector<std::string> kNames{"a", "b", "c", "d", "e"};

Finding finding(const std::string& subject, const std::string& value = "",
                const std::string& check = "disk", const std::string& root = "data") {
  return {check, root, "something about " + subject, value, "", "", subject};
}

// A book and the time, which moves by hand.
struct Looks {
  AlertBook book;
  int64_t boot_ns = 100 * kSecond, wall_ns = 1'800'000'000 * kSecond;

  std::vector<std::string> look(const AlertLook& look, int64_t after_s) {
    boot_ns += after_s * kSecond;
    wall_ns += after_s * kSecond;
    std::vector<std::string> told;
    for (const AlertNotice& notice : book.look(look, wall_ns, boot_ns)) {
      told.push_back(std::string(words_for_event(notice.event)) + " " +
                     notice.alert.finding.subject);
    }
    return told;
  }
  std::vector<std::string> look(const std::vector<Finding>& findings, int64_t after_s) {
    AlertLook around;
    around.findings = findings;
    return look(around, after_s);
  }
};

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("a cause is raised once and cleared once, whatever its words", "[alerts]") {
  Looks l;
  REQUIRE(l.look({finding("a", "9.9 %")}, 0).empty());  // it has to stand for a moment
  REQUIRE(l.book.undecided());
  REQUIRE(l.look({finding("a", "9.8 %")}, 2) == Words{"raised a"});
  REQUIRE_FALSE(l.book.undecided());
  REQUIRE(l.book.standing().size() == 1);
  REQUIRE(l.book.standing()[0].finding.value == "9.8 %");
  REQUIRE(l.look({finding("a", "1 %")}, 3600).empty());
  REQUIRE(l.look(std::vector<Finding>{}, 30).empty());
  REQUIRE(l.book.undecided());
  REQUIRE(l.book.stands(finding("a")));
  REQUIRE(l.look(std::vector<Finding>{}, 12) == Words{"cleared a"});
  REQUIRE_FALSE(l.book.undecided());
  REQUIRE(l.book.standing().empty());
  REQUIRE(l.look({finding("a")}, 1).empty());
  REQUIRE(l.look({finding("a")}, 2) == Words{"raised a"});  // another time
}

TEST_CASE("check, root and subject are what makes a cause", "[alerts]") {
  Looks l;
  const std::vector<Finding> three{finding("a"), finding("a", "", "disk", "other"),
                                   finding("a", "", "clock")};
  l.look(three, 0);
  REQUIRE(l.look(three, 2).size() == 3);
  Finding words;
  words.check = "verdicts";
  words.what = "x is corrupt";
  Finding others = words;
  others.what = "y is corrupt";
  REQUIRE(cause_of(words) != cause_of(others));  // without a subject, the words are it
}

TEST_CASE("what comes and goes is not told again and again", "[alerts]") {
  Looks l;
  for (int i = 0; i < 20; ++i) {  // never seen twice
    REQUIRE(l.look({finding("a")}, 5).empty());
    REQUIRE(l.look(std::vector<Finding>{}, 5).empty());
  }
  l.look({finding("a")}, 5);
  REQUIRE(l.look({finding("a")}, 5) == Words{"raised a"});
  for (int i = 0; i < 20; ++i) {  // never gone for long
    REQUIRE(l.look(std::vector<Finding>{}, 5).empty());
    REQUIRE(l.look({finding("a")}, 5).empty());
  }
}

TEST_CASE("what could not be looked at goes on standing", "[alerts]") {
  Looks l;
  l.look({finding("a"), finding("b", "", "disk", "other")}, 0);
  REQUIRE(l.look({finding("a"), finding("b", "", "disk", "other")}, 2).size() == 2);
  AlertLook blind;
  blind.unknown = {{"disk", "data"}};
  REQUIRE(l.look(blind, 30).empty());
  REQUIRE(l.look(blind, 30) == Words{"cleared b"});
  REQUIRE(l.book.standing().size() == 1);
  blind.unknown = {{"disk", std::nullopt}};
  REQUIRE(l.look(blind, 3600).empty());
  AlertLook early;
  early.may_clear = false;
  REQUIRE(l.look(early, 3600).empty());
  REQUIRE(l.look(early, 3600).empty());
  l.look(AlertLook{}, 1);
  REQUIRE(l.look(AlertLook{}, 20) == Words{"cleared a"});
}

TEST_CASE("a restart neither repeats nor forgets", "[alerts]") {
  Looks l;
  l.look({finding("a"), finding("b")}, 0);
  l.look({finding("a"), finding("b")}, 2);
  Looks next;
  next.book = AlertBook(l.book.standing());
  const int64_t since_ns = l.book.standing()[0].since_ns;
  REQUIRE(next.look({finding("a")}, 0).empty());
  REQUIRE(next.look({finding("a")}, 20) == Words{"cleared b"});
  REQUIRE(next.book.standing().size() == 1);
  REQUIRE(next.book.standing()[0].since_ns == since_ns);
}

TEST_CASE("thousands of causes of a kind are a few alerts", "[alerts]") {
  Looks l;
  std::vector<Finding> many;
  for (int i = 0; i < 5000; ++i) many.push_back(finding(std::to_string(i)));
  l.look(many, 0);
  REQUIRE(l.look(many, 2).size() == AlertBook::kOfCheckMax + 1);
  many.pop_back();
  REQUIRE(l.look(many, 2).empty());
  for (int i = 0; i < 5000; ++i) many.push_back(finding("x", "", "check" + std::to_string(i)));
  l.look(many, 2);
  l.look(many, 2);
  REQUIRE(l.book.standing().size() == AlertBook::kAlertsMax);
  REQUIRE_FALSE(l.book.undecided());  // or it would look every two seconds for ever
}

TEST_CASE("whatever happens, raised and cleared take turns for each cause", "[alerts]") {
  const auto seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u);
  INFO("seed " << seed);
  std::mt19937 random(seed);
  Looks l;
  std::map<std::string, bool> stands;
  std::map<std::string, int64_t> unseen_s;  // how long it was away while that could be seen
  for (int step = 0; step < 3000; ++step) {
    AlertLook around;
    std::set<std::string> seen;
    for (const std::string& name : kNames) {
      if (random() % 3 == 0) continue;
      around.findings.push_back(finding(name, std::to_string(random()), "check " + name));
      seen.insert(name);
    }
    const bool blind = random() % 10 == 0;
    if (blind) around.unknown = {{"check a", std::nullopt}};
    around.may_clear = random() % 10 != 0;
    const auto after_s = static_cast<int64_t>(random() % 8);
    for (const std::string& name : kNames) {
      const bool known = around.may_clear && !(blind && name == "a");
      if (seen.contains(name) || !known)
        unseen_s[name] = -1;
      else
        unseen_s[name] = unseen_s[name] < 0 ? 0 : unseen_s[name] + after_s;
    }
    for (const std::string& told : l.look(around, after_s)) {
      const bool raised = told.starts_with("raised ");
      const std::string name = told.substr(told.find(' ') + 1);
      INFO("step " << step << ": " << told);
      REQUIRE(stands[name] != raised);
      REQUIRE(raised == seen.contains(name));
      if (!raised) REQUIRE(unseen_s[name] >= AlertBook::kClearAfterNs / kSecond);
      stands[name] = raised;
    }
    size_t standing = 0;
    for (const auto& [name, is] : stands) standing += is ? 1 : 0;
    REQUIRE(l.book.standing().size() == standing);
    if (random() % 50 == 0) l.book = AlertBook(l.book.standing());  // a restart
    if (l.book.standing().size() != standing) FAIL("a restart lost one");
  }
}

}  // namespace holdfast
