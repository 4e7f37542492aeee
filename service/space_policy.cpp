#include "service/space_policy.h"

#include <algorithm>

namespace holdfast {

namespace {

constexpr uint64_t kReserveBytesMax = 1'000'000'000;
constexpr double kReservePercent = 2;
constexpr int64_t kMinuteNs = 60'000'000'000;
constexpr int64_t kAfterHelpNs = 5 * kMinuteNs;  // what was freed goes only when nobody reads it
constexpr int64_t kAfterNoneNs = 60 * kMinuteNs;
constexpr uint64_t kHelpShare = 64;   // of what is used: less freed is no help
constexpr uint64_t kMovedShare = 16;  // of what was used: by so much it has changed

uint64_t share_of(uint64_t total, double percent) {
  return static_cast<uint64_t>(static_cast<double>(total) * percent / 100);
}

SpaceState judge_quota(uint64_t used, uint64_t quota, SpaceState before) {
  if (quota == 0) return SpaceState::kNormal;
  const bool was_stopped = before == SpaceState::kStopped, was_low = before != SpaceState::kNormal;
  if (used >= quota - (was_stopped ? quota / 32 : 0)) return SpaceState::kStopped;
  return used >= quota - quota / (was_low ? 8 : 16) ? SpaceState::kLow : SpaceState::kNormal;
}

SpaceState judge_reserve(uint64_t free, uint64_t reserve, SpaceState before) {
  if (reserve == 0) return SpaceState::kNormal;
  const bool was_stopped = before == SpaceState::kStopped, was_low = before != SpaceState::kNormal;
  if (free < reserve + (was_stopped ? reserve / 4 : 0)) return SpaceState::kStopped;
  return free < reserve + (was_low ? reserve : reserve / 2) ? SpaceState::kLow
                                                            : SpaceState::kNormal;
}

}  // namespace

uint64_t reserve_of(const SpaceLimits& limits, uint64_t total_bytes) {
  if (limits.reserve_bytes) return *limits.reserve_bytes;
  if (limits.reserve_percent) return share_of(total_bytes, *limits.reserve_percent);
  return std::min(kReserveBytesMax, share_of(total_bytes, kReservePercent));
}

// The worse of the two.
SpaceJudgement judge_space(const SpaceUse& use, const SpaceLimits& limits,
                           const SpaceJudgement& before, uint64_t wanted) {
  const SpaceState quota = judge_quota(use.used_bytes, limits.quota_bytes, before.state);
  const SpaceState reserve =
      judge_reserve(use.free_bytes, reserve_of(limits, use.total_bytes), before.state);
  const SpaceState state = std::max(quota, reserve);
  if (before.state == SpaceState::kStopped && state != SpaceState::kStopped) {
    const SpaceBound still = bound_at(use, limits, 2 * wanted);
    if (still != SpaceBound::kNone) return {SpaceState::kStopped, still};
  }
  if (state == SpaceState::kNormal) return {};
  return {state, quota == state ? SpaceBound::kQuota : SpaceBound::kReserve};
}

SpaceBound bound_at(const SpaceUse& use, const SpaceLimits& limits, uint64_t more) {
  if (limits.quota_bytes != 0 && use.used_bytes + more > limits.quota_bytes) {
    return SpaceBound::kQuota;
  }
  const uint64_t reserve = reserve_of(limits, use.total_bytes);
  const bool broken = reserve != 0 && use.free_bytes < reserve + more;
  return broken ? SpaceBound::kReserve : SpaceBound::kNone;
}

bool PruneTrigger::is_due(SpaceState state, uint64_t used_bytes, int64_t now_ns) const {
  if (state == SpaceState::kNormal) return false;
  if (!last_ns_) return true;
  if (now_ns - *last_ns_ >= (helped_ ? kAfterHelpNs : kAfterNoneNs)) return true;
  const uint64_t moved = std::max(used_bytes, last_used_) - std::min(used_bytes, last_used_);
  return !helped_ && moved > last_used_ / kMovedShare;
}

void PruneTrigger::pruned(uint64_t freed_bytes, uint64_t used_bytes, int64_t now_ns) {
  last_ns_ = now_ns;
  last_used_ = used_bytes;
  helped_ = freed_bytes > used_bytes / kHelpShare;
}

}  // namespace holdfast
