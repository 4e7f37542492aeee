// InboxState: what the restore inboxes are doing and what became of the last jobs, as the file
// `inbox` of the state directory has it (docs/formats/repository.md). It is why no dump is ever
// restored twice: each step of a job is durable there before it is done.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace holdfast {

enum class InboxPhase : uint8_t { kAccepted, kStopping, kStarted, kEnded, kFiling, kFiled };
const char* words_for_phase(InboxPhase phase);  // "accepted"

enum class InboxOutcome : uint8_t { kDone, kFailed, kSame };  // kSame: had been restored before
const char* words_for_outcome(InboxOutcome outcome);

struct InboxJob {
  std::string id;
  std::string inbox, name;
  uint64_t dev = 0, inode = 0, size = 0;
  int64_t mtime_ns = 0;
  std::string hash;  // hex; "": not read yet
  uint32_t uid = 0, gid = 0;
  InboxPhase phase = InboxPhase::kAccepted;
  std::string docker;
  std::vector<std::string> containers;  // to be started again, in the order of their stop
  std::string undumped;  // names of dumps that were to be made before, and are not good
  std::string filed_as, undo, replaces;
  uint64_t new_dev = 0, new_inode = 0;
  InboxOutcome outcome = InboxOutcome::kFailed;  // from kEnded on
  std::string why;                               // it failed
  std::string log;                               // what was done so far, in lines
  bool operator==(const InboxJob&) const = default;
};

struct InboxResult {
  std::string inbox, name;
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  std::string hash;
  InboxOutcome outcome = InboxOutcome::kDone;
  int64_t ended_ns = 0;
  std::string log;  // its path
  bool operator==(const InboxResult&) const = default;
};

inline constexpr size_t kInboxResultsMax = 100;
struct InboxState {
  std::optional<InboxJob> job;
  std::vector<InboxResult> last;  // oldest first
  bool operator==(const InboxState&) const = default;
};

// One line; decoding gives exactly what was encoded. nullopt: it is not what was written.
std::string encode_inbox_state(const InboxState& state);
std::optional<InboxState> decode_inbox_state(std::string_view text);

// The state of no file is empty. kDamaged: whether a job was begun cannot be known.
Result<InboxState> read_inbox_state(const std::string& state_dir);
// What is wrong with the file, in words.
std::optional<std::string> inbox_flaw(const std::string& state_dir);
Status write_inbox_state(const std::string& state_dir, const InboxState& state);

}  // namespace holdfast
