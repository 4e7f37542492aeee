#include "service/skew.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace holdfast {

std::optional<int64_t> skew_of_probes(const std::vector<ProbeReading>& probes) {
  const auto width = [](const ProbeReading& probe) { return probe.after_ns - probe.before_ns; };
  std::optional<ProbeReading> best;
  for (const ProbeReading& probe : probes) {
    if (width(probe) < 0) continue;  // our clock was set back in between
    if (!best || width(probe) < width(*best)) best = probe;
  }
  if (!best) return std::nullopt;
  return best->stamp_ns - (best->before_ns + width(*best) / 2);
}

std::optional<int64_t> WriterSkew::add(uint64_t file, int64_t stamp_ns, int64_t now_ns,
                                       int64_t coarse_ns) {
  const int64_t offset_ns = stamp_ns - now_ns;
  const bool ahead = offset_ns > std::max(coarse_ns, kSkewWarnNs);
  const bool behind = offset_ns < -(kAnnouncedLagNs + coarse_ns);
  if (!ahead && !behind) {
    if (++right_ < kSkewOverMin) return std::nullopt;
    reset();
    return 0;
  }
  right_ = 0;
  const auto agrees = [&](const Sample& other) {
    return std::abs(other.offset_ns - offset_ns) <= kSkewSpreadNs + coarse_ns;
  };
  if (!std::all_of(files_.begin(), files_.end(), agrees)) files_.clear();
  const bool seen = std::any_of(files_.begin(), files_.end(),
                                [&](const Sample& other) { return other.file == file; });
  if (!seen) files_.push_back({file, offset_ns});
  if (files_.size() < kSkewFilesMin) return std::nullopt;
  std::sort(files_.begin(), files_.end(),
            [](const Sample& a, const Sample& b) { return a.offset_ns < b.offset_ns; });
  const int64_t median_ns = files_[files_.size() / 2].offset_ns;
  files_.clear();
  return median_ns;
}

void WriterSkew::reset() {
  files_.clear();
  right_ = 0;
}

std::optional<SkewTeller::News> SkewTeller::update(int64_t skew_ns) {
  if (std::abs(skew_ns) < kSkewWarnNs) {
    if (!told_ns_) return std::nullopt;
    told_ns_.reset();
    return News{skew_ns, true};
  }
  if (told_ns_ && std::abs(skew_ns - *told_ns_) <= kSkewNewsNs) return std::nullopt;
  told_ns_ = skew_ns;
  return News{skew_ns, false};
}

std::string words_for_amount(int64_t ns) {
  const long long ms = std::llabs(ns) / 1'000'000;
  char text[40];
  std::snprintf(text, sizeof text, "%c%lld.%03lld s", ns < 0 ? '-' : '+', ms / 1000, ms % 1000);
  return text;
}

std::optional<int64_t> amount_of_note(const std::string& note) {
  char sign = 0, unit = 0;
  long long seconds = 0, ms = 0;
  int used = 0;
  if (std::sscanf(note.c_str(), "%c%12lld.%3lld %c%n", &sign, &seconds, &ms, &unit, &used) != 4) {
    return std::nullopt;
  }
  if (seconds < 0 || seconds > 9'000'000'000) return std::nullopt;
  const int64_t size_ns = (int64_t{seconds} * 1000 + ms) * 1'000'000;
  const int64_t ns = sign == '-' ? -size_ns : size_ns;
  // Only what words_for_amount() writes: the numbers say the same again.
  if (!note.starts_with(words_for_amount(ns))) return std::nullopt;
  return ns;
}

}  // namespace holdfast
