#include "service/alert_book.h"

#include <algorithm>

namespace holdfast {

namespace {

bool is_unknown(const Finding& finding, const AlertLook& look) {
  return std::any_of(look.unknown.begin(), look.unknown.end(), [&](const auto& unknown) {
    return unknown.check == finding.check && (!unknown.root || *unknown.root == finding.root);
  });
}

// The first kOfCheckMax of each check, and one for the others.
std::vector<Finding> limited(const std::vector<Finding>& findings) {
  std::map<std::string, size_t> counts;
  std::vector<Finding> kept;
  for (const Finding& finding : findings) {
    if (++counts[finding.check] <= AlertBook::kOfCheckMax) kept.push_back(finding);
  }
  for (const auto& [check, count] : counts) {
    if (count <= AlertBook::kOfCheckMax) continue;
    Finding more;
    more.check = check;
    more.what = "and " + std::to_string(count - AlertBook::kOfCheckMax) + " more of this kind";
    more.fix = "holdfast status --check lists them";
    more.subject = "more";
    kept.push_back(std::move(more));
  }
  return kept;
}

}  // namespace

std::string cause_of(const Finding& finding) {
  const std::string separator(1, '\0');
  return finding.check + separator + finding.root + separator +
         (finding.subject.empty() ? finding.what : finding.subject);
}

AlertBook::AlertBook(const std::vector<Alert>& standing) {
  for (const Alert& alert : standing) {
    if (standing_ == kAlertsMax) break;
    Entry entry;
    entry.alert = alert;
    entry.stands = true;
    if (entries_.emplace(cause_of(alert.finding), std::move(entry)).second) ++standing_;
  }
}

std::vector<AlertNotice> AlertBook::look(const AlertLook& look, int64_t wall_ns, int64_t boot_ns) {
  std::vector<AlertNotice> notices;
  for (auto& [cause, entry] : entries_) entry.seen = false;
  for (const Finding& finding : limited(look.findings)) {
    const auto [at, is_new] = entries_.try_emplace(cause_of(finding));
    Entry& entry = at->second;
    entry.seen = true;
    entry.gone_ns.reset();
    if (is_new) {
      entry.seen_ns = boot_ns;
      entry.alert.since_ns = wall_ns;
    }
    if (entry.stands) continue;
    entry.alert.finding = finding;
    if (boot_ns - entry.seen_ns < kRaiseAfterNs || standing_ >= kAlertsMax) continue;
    entry.stands = true;
    ++standing_;
    notices.push_back({AlertEvent::kRaised, entry.alert, wall_ns});
  }
  for (auto at = entries_.begin(); at != entries_.end();) {
    Entry& entry = at->second;
    bool over = !entry.seen && !entry.stands;
    const bool gone = !entry.seen && look.may_clear && !is_unknown(entry.alert.finding, look);
    if (entry.stands && !gone) entry.gone_ns.reset();
    if (entry.stands && gone) {
      if (!entry.gone_ns) entry.gone_ns = boot_ns;
      if (boot_ns - *entry.gone_ns >= kClearAfterNs) {
        notices.push_back({AlertEvent::kCleared, entry.alert, wall_ns});
        --standing_;
        over = true;
      }
    }
    at = over ? entries_.erase(at) : std::next(at);
  }
  return notices;
}

bool AlertBook::stands(const Finding& finding) const {
  const auto found = entries_.find(cause_of(finding));
  return found != entries_.end() && found->second.stands;
}

std::vector<Alert> AlertBook::standing() const {
  std::vector<Alert> alerts;
  for (const auto& [cause, entry] : entries_) {
    if (entry.stands) alerts.push_back(entry.alert);
  }
  return alerts;
}

bool AlertBook::undecided() const {
  return std::any_of(entries_.begin(), entries_.end(), [this](const auto& each) {
    const Entry& entry = each.second;
    return entry.stands ? entry.gone_ns.has_value() : standing_ < kAlertsMax;
  });
}

}  // namespace holdfast
