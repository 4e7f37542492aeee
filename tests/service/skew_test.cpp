#include "service/skew.h"

#include <catch2/catch.hpp>

namespace holdfast {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1000 * kMs;
constexpr int64_t kNow = 1'700'000'000 * kSecond;
constexpr int64_t kTick = 10 * kMs;

struct Stamp {
  uint64_t file;
  int64_t offset_ns;
};

std::vector<int64_t> told_of(const std::vector<Stamp>& stamps) {
  WriterSkew skew;
  std::vector<int64_t> told;
  for (const Stamp& stamp : stamps) {
    if (auto amount = skew.add(stamp.file, kNow + stamp.offset_ns, kNow, kTick)) {
      told.push_back(*amount);
    }
  }
  return told;
}

std::vector<Stamp> files(size_t count, int64_t offset_ns, int64_t apart_ns = 0) {
  std::vector<Stamp> stamps;
  for (size_t i = 0; i < count; ++i) {
    stamps.push_back({i, offset_ns + static_cast<int64_t>(i) * apart_ns});
  }
  return stamps;
}

}  // namespace

TEST_CASE("a probe's narrowest reading tells the skew", "[clock]") {
  REQUIRE_FALSE(skew_of_probes({}));
  REQUIRE(skew_of_probes({{0, 100, 50}}) == 0);
  REQUIRE(skew_of_probes({{0, 1000, 9000}, {2000, 2010, 92'005}, {3000, 3500, 0}}) == 90'000);
  REQUIRE_FALSE(skew_of_probes({{1000, 0, 5}}));  // our clock was set back meanwhile
}

TEST_CASE("five files with one offset are a skew of who writes", "[clock]") {
  REQUIRE(told_of(files(4, 90 * kSecond)).empty());
  REQUIRE(told_of(files(5, 90 * kSecond)) == std::vector<int64_t>{90 * kSecond});
  REQUIRE(told_of(files(5, -90 * kSecond)) == std::vector<int64_t>{-90 * kSecond});
  // The middle one.
  REQUIRE(told_of(files(5, 90 * kSecond, 100 * kMs)) == std::vector<int64_t>{90'200 * kMs});
  // As many as there are of one file say less than five do.
  REQUIRE(told_of({{1, 9 * kSecond},
                   {1, 9 * kSecond},
                   {1, 9 * kSecond},
                   {1, 9 * kSecond},
                   {1, 9 * kSecond},
                   {1, 9 * kSecond}})
              .empty());
  // Old files that are touched again, each with its own age.
  REQUIRE(told_of(files(50, -900 * kSecond, -3 * kSecond)).empty());
  // What is looked at late is not behind, and what is within the granularity not ahead.
  REQUIRE(told_of(files(15, -9 * kSecond)).empty());
  REQUIRE(told_of(files(15, kSecond)).empty());
}

TEST_CASE("a writer's skew is over after twenty right stamps", "[clock]") {
  std::vector<Stamp> stamps = files(5, 90 * kSecond);
  const std::vector<Stamp> right = files(20, -kSecond);
  stamps.insert(stamps.end(), right.begin(), right.end());
  REQUIRE(told_of(stamps) == std::vector<int64_t>{90 * kSecond, 0});
}

TEST_CASE("a skew is told when it begins, changes, and ends", "[clock]") {
  SkewTeller teller;
  REQUIRE_FALSE(teller.update(kSecond));
  auto news = teller.update(90 * kSecond);
  REQUIRE(news);
  REQUIRE_FALSE(news->over);
  REQUIRE_FALSE(teller.update(91 * kSecond));
  REQUIRE_FALSE(teller.update(92 * kSecond));
  REQUIRE(teller.told_ns() == 90 * kSecond);
  REQUIRE(teller.update(93 * kSecond));
  REQUIRE(teller.update(-93 * kSecond));
  news = teller.update(kSecond);
  REQUIRE(news);
  REQUIRE(news->over);
  REQUIRE_FALSE(teller.update(0));
  REQUIRE_FALSE(teller.told_ns());
  REQUIRE(teller.update(3 * kSecond));
  teller.forget();
  REQUIRE(teller.update(3 * kSecond));
}

TEST_CASE("an amount in a note is what was written there", "[clock]") {
  REQUIRE(words_for_amount(-3'600'012 * kMs) == "-3600.012 s");
  REQUIRE(words_for_amount(90 * kSecond) == "+90.000 s");
  REQUIRE(words_for_amount(5 * kMs) == "+0.005 s");
  for (const int64_t ns :
       {-3'600'012 * kMs, 90 * kSecond, 5 * kMs, -5 * kMs, int64_t{0}, 6'000'000'000 * kSecond}) {
    REQUIRE(amount_of_note(words_for_amount(ns) + ": the wall clock was set") == ns);
  }
  for (const char* note : {"", "+", "90.000 s", "+90 s", "+90.00 s", "+90.0000 s", " +90.000 s",
                           "+90.000 m", "+99999999999.000 s", "+9x.000 s", "--1.000 s"}) {
    INFO(note);
    REQUIRE_FALSE(amount_of_note(note));
  }
}

}  // namespace holdfast
