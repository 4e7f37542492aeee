// Space policy: how much room the store may take, and what it does when it has come to that
// (docs/quota.md). Pure: values in, values out, any thread.
//
//   normal -> low: prune by the policy, where there is one
//          -> stopped: no new content is kept, and the journal goes on
//
// Each state ends a good way below where it begins, so that nothing flaps.
#pragma once

#include <cstdint>
#include <optional>

namespace holdfast {

struct SpaceLimits {
  uint64_t quota_bytes = 0;               // of packs and journal together; 0: none
  std::optional<double> reserve_percent;  // of the state's file system; at most one of these two
  std::optional<uint64_t> reserve_bytes;  // without: 1 GB or 2 %, whichever is less
  bool operator==(const SpaceLimits&) const = default;
};
// What is left free for others on a disk of that size.
uint64_t reserve_of(const SpaceLimits& limits, uint64_t total_bytes);

struct SpaceUse {
  uint64_t used_bytes = 0;  // by packs and journal
  uint64_t free_bytes = 0, total_bytes = 0;
};

enum class SpaceState : uint8_t { kNormal, kLow, kStopped };
// Which of the two it is that is low, or was reached.
enum class SpaceBound : uint8_t { kNone, kQuota, kReserve };
struct SpaceJudgement {
  SpaceState state = SpaceState::kNormal;
  SpaceBound bound = SpaceBound::kNone;
  bool operator==(const SpaceJudgement&) const = default;
};
// `wanted`: what could not be written when it stopped; before there is room for twice that, nothing
// is kept again.
SpaceJudgement judge_space(const SpaceUse& use, const SpaceLimits& limits,
                           const SpaceJudgement& before, uint64_t wanted);
// The bound that so much more would break.
SpaceBound bound_at(const SpaceUse& use, const SpaceLimits& limits, uint64_t more);

// When to prune because of that: not again and again where it does not help.
class PruneTrigger {
 public:
  bool is_due(SpaceState state, uint64_t used_bytes, int64_t now_ns) const;
  // A prune ended, which frees so much.
  void pruned(uint64_t freed_bytes, uint64_t used_bytes, int64_t now_ns);

 private:
  std::optional<int64_t> last_ns_;
  uint64_t last_used_ = 0;
  bool helped_ = false;
};

}  // namespace holdfast
