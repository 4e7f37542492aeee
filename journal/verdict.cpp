#include "journal/verdict.h"

#include <algorithm>
#include <array>

namespace holdfast {

namespace {

// Sets of values, as bits; all bits: any value.
constexpr uint8_t kAny = 0xff;
template <class T>
constexpr uint8_t bit(T value) {
  return static_cast<uint8_t>(1u << static_cast<unsigned>(value));
}
constexpr uint8_t kYes = 2, kNo = 1;  // of a bool
constexpr uint8_t kSound = bit(Reading::kSound);
constexpr uint8_t kSame = bit(Stamp::kSame), kEarlier = bit(Stamp::kEarlier),
                  kLater = bit(Stamp::kLater), kMoved = kEarlier | kLater;
constexpr uint8_t kSeen = bit(Told::kSeen), kUnseen = bit(Told::kUnseen),
                  kUncovered = bit(Told::kUncovered), kNoEvent = kUnseen | kUncovered;

struct Row {
  uint8_t reading, content, size, mtime, ctime, identity, told, clean, known, set_back, unclean;
  Verdict verdict;
};

// docs/verdicts.md has the same rows with their reasons.
constexpr std::array<Row, 23> kRows{{
    {bit(Reading::kFailed), kAny, kAny, kAny, kAny, kAny, kAny, kAny, kAny, kAny, kAny,
     Verdict::kReadError},
    {bit(Reading::kUnsettled), kAny, kAny, kAny, kAny, kAny, kAny, kAny, kAny, kAny, kAny,
     Verdict::kUnstable},
    {bit(Reading::kDisagrees), kAny, kAny, kAny, kAny, kAny, kAny, kAny, kAny, kAny, kAny,
     Verdict::kUnstableMedia},
    {kSound, kYes, kAny, kSame, kSame, kYes, kAny, kAny, kAny, kAny, kAny, Verdict::kOk},
    {kSound, kYes, kAny, kSame, kMoved, kYes, kAny, kAny, kAny, kAny, kAny, Verdict::kAttrOnly},
    {kSound, kYes, kAny, kMoved, kAny, kAny, kAny, kAny, kAny, kAny, kAny, Verdict::kTimeOnly},
    {kSound, kYes, kAny, kSame, kAny, kNo, kAny, kAny, kAny, kAny, kAny, Verdict::kReplacedSame},
    {kSound, kNo, kAny, kAny, kSame, kYes, kSeen, kAny, kAny, kAny, kAny,
     Verdict::kModifiedNoStamp},
    {kSound, kNo, kAny, kAny, kSame, kYes, kNoEvent, kNo, kAny, kAny, kAny, Verdict::kSuspect},
    {kSound, kNo, kYes, kSame, kSame, kYes, kNoEvent, kYes, kAny, kAny, kAny, Verdict::kCorrupt},
    {kSound, kNo, kAny, kAny, kSame, kYes, kNoEvent, kYes, kAny, kAny, kYes, Verdict::kCrashLoss},
    {kSound, kNo, kAny, kAny, kSame, kYes, kNoEvent, kYes, kAny, kAny, kNo,
     Verdict::kCorruptMetadata},
    {kSound, kNo, kAny, kSame, kMoved, kYes, kSeen, kAny, kAny, kAny, kAny,
     Verdict::kMtimePreserved},
    {kSound, kNo, kAny, kSame, kMoved, kYes, kUnseen, kAny, kAny, kAny, kAny,
     Verdict::kStealthModify},
    {kSound, kNo, kAny, kEarlier, kMoved, kAny, kAny, kAny, kYes, kAny, kAny,
     Verdict::kRestoredOlder},
    {kSound, kNo, kAny, kAny, kEarlier, kYes, kAny, kAny, kAny, kYes, kAny,
     Verdict::kClockStepArtefact},
    {kSound, kNo, kAny, kEarlier, kMoved, kNo, kAny, kAny, kNo, kAny, kAny,
     Verdict::kReplacedOlder},
    {kSound, kNo, kAny, kEarlier, kMoved, kYes, kAny, kAny, kNo, kAny, kAny,
     Verdict::kRollbackSuspicious},
    {kSound, kNo, kAny, kAny, kEarlier, kYes, kAny, kAny, kAny, kNo, kAny, Verdict::kCtimeAnomaly},
    {kSound, kNo, kAny, kLater, kLater, kYes, kSeen, kAny, kAny, kAny, kAny, Verdict::kModified},
    {kSound, kNo, kAny, kLater, kLater, kYes, kUnseen, kAny, kAny, kAny, kAny,
     Verdict::kModifiedUnseen},
    {kSound, kNo, kAny, kAny, kAny, kAny, kUncovered, kAny, kAny, kAny, kAny,
     Verdict::kModifiedOffline},
    {kSound, kNo, kAny, kAny, kAny, kNo, kSeen | kUnseen, kAny, kAny, kAny, kAny,
     Verdict::kReplaced},
}};

bool fits(const Row& row, const Evidence& e) {
  const auto has = [](uint8_t set, auto value) { return (set & bit(value)) != 0; };
  const bool same_content = e.same_content && e.same_size;
  return has(row.reading, e.reading) && has(row.content, same_content) &&
         has(row.size, e.same_size) && has(row.mtime, e.mtime) && has(row.ctime, e.ctime) &&
         has(row.identity, e.same_identity) && has(row.told, e.told) &&
         has(row.clean, e.clean_baseline) && has(row.known, e.known_content) &&
         has(row.set_back, e.clock_set_back) && has(row.unclean, e.unclean_boot);
}

Stamp relation(int64_t before_ns, int64_t now_ns) {
  if (now_ns == before_ns) return Stamp::kSame;
  return now_ns < before_ns ? Stamp::kEarlier : Stamp::kLater;
}

}  // namespace

int verdict_row(const Evidence& evidence) {
  const auto row = std::find_if(kRows.begin(), kRows.end(),
                                [&](const Row& candidate) { return fits(candidate, evidence); });
  CHECK(row != kRows.end());
  return static_cast<int>(row - kRows.begin());
}

Verdict classify(const Evidence& evidence) {
  return kRows[static_cast<size_t>(verdict_row(evidence))].verdict;
}

Evidence evidence_of(const Record& baseline, const Record& now) {
  const FileStat& was = baseline.stat;
  const FileStat& is = now.stat;
  Evidence evidence;
  evidence.same_size = was.size == is.size;
  // Where the holes of a sparse file are is up to the file system, and may move without a change.
  const bool sparse = ((baseline.flags | now.flags) & kFlagSparse) != 0;
  // Of a content that was not kept, the hash is all there is.
  const bool not_kept = ((baseline.flags | now.flags) & kFlagNotKept) != 0;
  evidence.same_content = baseline.hash == now.hash &&
                          (sparse || not_kept || baseline.content == now.content) &&
                          baseline.link_target == now.link_target;
  evidence.mtime = relation(was.mtime_ns, is.mtime_ns);
  if (evidence.mtime != Stamp::kSame && was.mtime_ns > was.ctime_ns) {
    evidence.mtime = relation(was.ctime_ns, is.mtime_ns);
    if (evidence.mtime == Stamp::kSame) evidence.mtime = Stamp::kLater;
  }
  evidence.ctime = relation(was.ctime_ns, is.ctime_ns);
  evidence.clean_baseline = is_clean_baseline(baseline);
  return evidence;
}

bool is_corruption(Verdict verdict) {
  return verdict == Verdict::kCorrupt || verdict == Verdict::kCorruptMetadata ||
         verdict == Verdict::kCrashLoss;
}

bool ends_by_itself(Verdict verdict) {
  return verdict == Verdict::kReadError || verdict == Verdict::kUnstableMedia;
}

bool stands(Verdict verdict) {
  return is_corruption(verdict) || ends_by_itself(verdict) || verdict == Verdict::kStealthModify;
}

}  // namespace holdfast
