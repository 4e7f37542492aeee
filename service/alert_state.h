// AlertState: which alerts stand and which notices could not be sent yet, as the file `alerts` of
// the state directory has it (docs/formats/repository.md), so that a restart neither repeats nor
// forgets one. Values and small files; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "service/alert_book.h"

namespace holdfast {

struct PendingNotice {
  std::string sink;  // "webhook", "command"
  AlertNotice notice;
  bool operator==(const PendingNotice&) const = default;
};

struct AlertState {
  std::vector<Alert> standing;
  std::vector<PendingNotice> pending;  // of each sink in the order in which they are to be sent
  bool operator==(const AlertState&) const = default;
};

// One line; decoding gives exactly what was encoded. nullopt: it is not what was written.
std::string encode_alert_state(const AlertState& state);
std::optional<AlertState> decode_alert_state(std::string_view text);

// The state of no file is empty. kDamaged: what stood is not known.
Result<AlertState> read_alert_state(const std::string& state_dir);
// What is wrong with the file, in words.
std::optional<std::string> alerts_flaw(const std::string& state_dir);
Status write_alert_state(const std::string& state_dir, const AlertState& state);

}  // namespace holdfast
