// Hard cases of clocks. The service gets a wall clock of its own, and the machine keeps its time.
#include <catch2/catch.hpp>

#include "tests/support/shifted_clock.h"
#include "tests/support/watched.h"

namespace holdfast {
namespace {

using Catch::Contains;
constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kHour = 3600 * kSecond;

struct Shifted {
  WorkDir work;
  std::string root = work.make("data");
  Holdfast holdfast{work.path("state")};
  ShiftedClock clock;

  explicit Shifted(int64_t shift_ns) : clock(work, shift_ns) {
    holdfast.start_under(clock.wrapper());
    holdfast.start({"data=" + root});
    holdfast.flush();
  }
  TestJson put(const std::string& name, const std::string& text) const {
    write_file(root + "/" + name, text);
    holdfast.flush();
    return holdfast.lines({"history", "data:" + name}).back();
  }
};

}  // namespace

TEST_CASE("hard 18: a clock that is set back an hour keeps the order", "[hard2]") {
  Shifted s(0);
  const TestJson first = s.put("file", "before the step");
  s.clock.set(-kHour);
  const TestJson second = s.put("file", "after the step");
  REQUIRE(second.at("wall") < first.at("wall"));  // else the clock did not step
  REQUIRE(second.at("time") > first.at("time"));
  REQUIRE(second.at("seq") > first.at("seq"));
  s.clock.set(0);
  s.put("other", "an hour later");
  const TestJson third = s.put("file", "long after");
  REQUIRE(third.at("time") > second.at("time"));
  uint64_t last_seq = 0;
  std::string last_time;
  for (const TestJson& record : s.holdfast.lines({"log"})) {
    REQUIRE(record.at("seq").get<uint64_t>() == last_seq + 1);
    REQUIRE(record.at("time").get<std::string>() > last_time);
    last_seq = record.at("seq");
    last_time = record.at("time");
  }
  // A time that the clock showed twice is not guessed at.
  const std::string wall = first.at("wall");
  const Outcome asked = s.holdfast.run({"cat", "data:file", "--at", wall});
  INFO(wall << ": " << asked.out << asked.err);
  REQUIRE(asked.exit_code == 2);
  const auto first_seq = first.at("seq").get<uint64_t>();
  REQUIRE_THAT(asked.err, Contains("set back") && Contains(at(first_seq)));
  REQUIRE(s.holdfast.text({"cat", "data:file", "--at", at(first_seq)}) == "before the step");
  s.holdfast.require_clean(true);
}

TEST_CASE("hard 18: a step of the clock is one record", "[hard2]") {
  Shifted s(0);
  s.put("a", "before");
  s.clock.set(-kHour);
  for (int i = 0; i < 5; ++i) s.put("a", "after " + std::to_string(i));
  const auto steps = s.holdfast.lines({"log", "--kind", "clock_step"});
  REQUIRE(steps.size() == 1);
  REQUIRE(std::abs(steps[0].at("amount_ns").get<int64_t>() + kHour) < kSecond);
  REQUIRE_THAT(steps[0].at("note").get<std::string>(), Contains("set back by 1 h"));
}

TEST_CASE("hard 19: a file server that is 90 seconds ahead is one record", "[hard2]") {
  const Shifted s(-90 * kSecond);  // the kernel stamps the files, so its clock is the fast one
  for (int i = 0; i < 10; ++i) s.put("f" + std::to_string(i), "text");
  const auto skews = s.holdfast.lines({"log", "--kind", "clock_skew"});
  REQUIRE(skews.size() == 1);
  REQUIRE(std::abs(skews[0].at("amount_ns").get<int64_t>() - 90 * kSecond) < kSecond);
  REQUIRE(s.holdfast.run({"status", "--check"}).exit_code == 3);
}

}  // namespace holdfast
