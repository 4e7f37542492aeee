// How much room the store may take, as a function, and what comes of it over time.
#include "service/space_policy.h"

#include <catch2/catch.hpp>
#include <random>

#include "service/config.h"

namespace holdfast {
namespace {

constexpr uint64_t kGB = 1'000'000'000;
constexpr int64_t kMinute = 60'000'000'000;

SpaceUse used(uint64_t bytes) { return {bytes, 500 * kGB, 1000 * kGB}; }
SpaceUse free_of(uint64_t bytes) { return {kGB, bytes, 1000 * kGB}; }

SpaceLimits quota_of(uint64_t bytes) {
  SpaceLimits limits;
  limits.quota_bytes = bytes;
  return limits;
}
SpaceLimits reserve_bytes_of(uint64_t bytes) {
  SpaceLimits limits;
  limits.reserve_bytes = bytes;
  return limits;
}

SpaceState state_of(const SpaceUse& use, const SpaceLimits& limits, SpaceState before) {
  return judge_space(use, limits, {before, SpaceBound::kNone}, 0).state;
}

constexpr SpaceState kNormal = SpaceState::kNormal, kLow = SpaceState::kLow,
                     kStopped = SpaceState::kStopped;

}  // namespace

TEST_CASE("the reserve is a share, a size, or the smaller of two", "[space]") {
  SpaceLimits limits;
  CHECK(reserve_of(limits, 1000 * kGB) == kGB);
  CHECK(reserve_of(limits, 10 * kGB) == kGB / 5);
  REQUIRE(read_reserve("5%", limits).ok());
  CHECK(reserve_of(limits, 1000 * kGB) == 50 * kGB);
  REQUIRE(read_reserve("10GB", limits).ok());
  CHECK(reserve_of(limits, 1000 * kGB) == 10 * kGB);
  REQUIRE(read_reserve("0", limits).ok());
  CHECK(reserve_of(limits, 1000 * kGB) == 0);
  REQUIRE(read_reserve("0%", limits).ok());
  CHECK(reserve_of(limits, 1000 * kGB) == 0);
  for (const char* wrong : {"", "%", "five", "100%", "-1%", "5 %%", "-3GB", "nan%"}) {
    CHECK(read_reserve(wrong, limits).error().code == ErrorCode::kUsage);
  }
  REQUIRE(read_quota("1.5GB", limits).ok());
  CHECK(limits.quota_bytes == 1'500'000'000);
  REQUIRE(read_quota("0", limits).ok());
  CHECK(limits.quota_bytes == 0);
  CHECK(read_quota("5%", limits).error().code == ErrorCode::kUsage);
}

TEST_CASE("the configuration says what is wrong with a limit, and where", "[space]") {
  const auto config = parse_config("[store]\nquota = \"50GB\"\nreserve = \"5%\"\n", "h.toml");
  REQUIRE(config.ok());
  CHECK(config->store.quota_bytes == 50 * kGB);
  CHECK(config->store.reserve_percent == 5.0);
  CHECK(parse_config("", "h.toml")->store == SpaceLimits{});
  const auto message = [](const char* text) {
    return parse_config(text, "h.toml").error().message;
  };
  CHECK(
      message("[store]\nquota = \"much\"\n").starts_with("h.toml:2: quota in [store] is \"much\""));
  CHECK(
      message("[store]\n\nreserve = \"x\"\n").starts_with("h.toml:3: reserve in [store] is \"x\""));
  CHECK(message("[store]\nqota = \"1GB\"\n").find("did you mean \"quota\"") != std::string::npos);
}

TEST_CASE("a quota is low before it is reached, and each ends below where it began", "[space]") {
  const SpaceLimits limits = quota_of(160 * kGB);
  CHECK(state_of(used(149 * kGB), limits, kNormal) == kNormal);
  CHECK(state_of(used(150 * kGB), limits, kNormal) == kLow);
  CHECK(state_of(used(159 * kGB), limits, kNormal) == kLow);
  CHECK(state_of(used(160 * kGB), limits, kLow) == kStopped);
  CHECK(state_of(used(155 * kGB), limits, kStopped) == kStopped);
  CHECK(state_of(used(154 * kGB), limits, kStopped) == kLow);
  CHECK(state_of(used(140 * kGB), limits, kLow) == kLow);
  CHECK(state_of(used(139 * kGB), limits, kLow) == kNormal);
  CHECK(state_of(used(139 * kGB), limits, kStopped) == kNormal);
  CHECK(state_of(used(1000 * kGB), quota_of(0), kNormal) == kNormal);
}

TEST_CASE("so does a reserve", "[space]") {
  const SpaceLimits limits = reserve_bytes_of(40 * kGB);
  CHECK(state_of(free_of(60 * kGB), limits, kNormal) == kNormal);
  CHECK(state_of(free_of(59 * kGB), limits, kNormal) == kLow);
  CHECK(state_of(free_of(40 * kGB), limits, kLow) == kLow);
  CHECK(state_of(free_of(39 * kGB), limits, kLow) == kStopped);
  CHECK(state_of(free_of(49 * kGB), limits, kStopped) == kStopped);
  CHECK(state_of(free_of(50 * kGB), limits, kStopped) == kLow);
  CHECK(state_of(free_of(79 * kGB), limits, kLow) == kLow);
  CHECK(state_of(free_of(80 * kGB), limits, kLow) == kNormal);
  CHECK(state_of(free_of(0), reserve_bytes_of(0), kNormal) == kNormal);
}

TEST_CASE("the worse of the two bounds is told", "[space]") {
  SpaceLimits limits = quota_of(160 * kGB);
  limits.reserve_bytes = 40 * kGB;
  const auto judge = [&](uint64_t used_gb, uint64_t free_gb) {
    return judge_space({used_gb * kGB, free_gb * kGB, 1000 * kGB}, limits, {}, 0);
  };
  CHECK(judge(10, 500) == SpaceJudgement{kNormal, SpaceBound::kNone});
  CHECK(judge(155, 500) == SpaceJudgement{kLow, SpaceBound::kQuota});
  CHECK(judge(155, 30) == SpaceJudgement{kStopped, SpaceBound::kReserve});
  CHECK(judge(160, 45) == SpaceJudgement{kStopped, SpaceBound::kQuota});
  CHECK(bound_at({159 * kGB, 500 * kGB, 1000 * kGB}, limits, kGB) == SpaceBound::kNone);
  CHECK(bound_at({159 * kGB, 500 * kGB, 1000 * kGB}, limits, kGB + 1) == SpaceBound::kQuota);
  CHECK(bound_at({10 * kGB, 41 * kGB, 1000 * kGB}, limits, kGB) == SpaceBound::kNone);
  CHECK(bound_at({10 * kGB, 41 * kGB, 1000 * kGB}, limits, kGB + 1) == SpaceBound::kReserve);
}

TEST_CASE("what could not be written has to fit twice before anything is kept again", "[space]") {
  const SpaceLimits limits = quota_of(100);
  const SpaceJudgement stopped{kStopped, SpaceBound::kQuota};
  CHECK(judge_space(used(70), limits, stopped, 20).state == kStopped);
  CHECK(judge_space(used(60), limits, stopped, 20).state == kNormal);
}

// As the engine does it: frames of any size come and are written where there is room, and somebody
// frees something now and then.
TEST_CASE("whatever comes, the quota holds, and nothing flaps", "[space]") {
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  for (int run = 0; run < 200; ++run) {
    const uint64_t quota = 1000 + random() % 100'000, frame_max = 1 + quota / 20;
    const SpaceLimits limits = quota_of(quota);
    SpaceJudgement judged;
    uint64_t bytes = 0, wanted = 0;
    int starts = 0, freed = 0;
    for (int step = 0; step < 2000; ++step) {
      const SpaceJudgement next = judge_space(used(bytes), limits, judged, wanted);
      if (judged.state == kStopped && next.state != kStopped) ++starts;
      judged = next;
      const uint64_t frame = 1 + random() % frame_max;
      if (judged.state != kStopped) {
        if (bound_at(used(bytes), limits, frame) == SpaceBound::kNone) {
          bytes += frame;
        } else {
          judged = {kStopped, SpaceBound::kQuota};
          wanted = frame;
        }
      } else {
        bytes += random() % 3;  // the journal goes on
      }
      if (judged.state != kStopped) REQUIRE(bytes <= quota);
      if (random() % 100 == 0) {
        bytes -= random() % (bytes + 1);
        ++freed;
      }
    }
    REQUIRE(starts <= freed);
  }
}

TEST_CASE("a prune that does not help is not repeated until something changed", "[space]") {
  PruneTrigger trigger;
  CHECK_FALSE(trigger.is_due(kNormal, 100 * kGB, 0));
  REQUIRE(trigger.is_due(kLow, 100 * kGB, 0));
  trigger.pruned(kGB, 100 * kGB, 0);  // little of it
  CHECK_FALSE(trigger.is_due(kStopped, 100 * kGB, 59 * kMinute));
  CHECK(trigger.is_due(kStopped, 100 * kGB, 60 * kMinute));
  CHECK_FALSE(trigger.is_due(kLow, 106 * kGB, kMinute));
  CHECK(trigger.is_due(kLow, 107 * kGB, kMinute));
  CHECK(trigger.is_due(kLow, 93 * kGB, kMinute));
  trigger.pruned(10 * kGB, 100 * kGB, 0);
  CHECK_FALSE(trigger.is_due(kLow, 90 * kGB, 4 * kMinute));
  CHECK(trigger.is_due(kLow, 90 * kGB, 5 * kMinute));
  CHECK_FALSE(trigger.is_due(kNormal, 90 * kGB, 500 * kMinute));
}

}  // namespace holdfast
