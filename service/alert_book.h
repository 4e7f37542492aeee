// AlertBook: which causes stand, as a function from one look to the next: each is told once when it
// is raised and once when it is cleared (docs/alerts.md). No I/O; one thread.
//
// A cause is a finding's check, root and subject; its words may change. It is raised when it was
// seen for kRaiseAfterNs, and cleared when it was not seen for kClearAfterNs, so that what comes
// and goes from one look to the next is one alert at most.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "service/health.h"

namespace holdfast {

enum class AlertEvent : uint8_t { kRaised, kCleared, kTest };
inline constexpr std::array<const char*, 3> kAlertEvents{"raised", "cleared", "test"};
inline const char* words_for_event(AlertEvent event) {
  return kAlertEvents[static_cast<size_t>(event)];
}

// One that stands, in the words of when it was raised.
struct Alert {
  Finding finding;
  int64_t since_ns = 0;  // wall
  bool operator==(const Alert&) const = default;
};

struct AlertNotice {
  AlertEvent event = AlertEvent::kRaised;
  Alert alert;
  int64_t time_ns = 0;  // wall: when it was raised or cleared
  bool operator==(const AlertNotice&) const = default;
};

// The same for all words of a cause; never shown.
std::string cause_of(const Finding& finding);

// What one look found out.
struct AlertLook {
  std::vector<Finding> findings;
  // Of these nothing could be found out: what stands goes on standing.
  struct Unknown {
    std::string check;
    std::optional<std::string> root;  // nullopt: every one
  };
  std::vector<Unknown> unknown;
  bool may_clear = true;  // false: not everything was looked through yet
};

class AlertBook {
 public:
  static constexpr int64_t kRaiseAfterNs = 1'000'000'000;
  static constexpr int64_t kClearAfterNs = 10'000'000'000;
  // Of one check that many are told by themselves; what is beyond is one cause.
  static constexpr size_t kOfCheckMax = 20;
  static constexpr size_t kAlertsMax = 200;  // what comes beyond is raised when another was cleared

  AlertBook() = default;
  explicit AlertBook(const std::vector<Alert>& standing);
  // Times: now, by the wall and since the boot; the latter never goes back.
  std::vector<AlertNotice> look(const AlertLook& look, int64_t wall_ns, int64_t boot_ns);
  bool stands(const Finding& finding) const;
  std::vector<Alert> standing() const;  // in a fixed order
  // Something is about to be raised or cleared: look again soon.
  bool undecided() const;

 private:
  struct Entry {
    Alert alert;
    int64_t seen_ns = 0;             // boot time, first seen; of what is not raised yet
    std::optional<int64_t> gone_ns;  // boot time, first not seen; of what stands
    bool stands = false;
    bool seen = false;  // by this look
  };
  std::map<std::string, Entry> entries_;  // by cause
  size_t standing_ = 0;
};

}  // namespace holdfast
