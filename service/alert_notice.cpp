#include "service/alert_notice.h"

#include "base/hash.h"
#include "base/path.h"
#include "base/types.h"
#include "journal/time_spec.h"
#include "service/words.h"

namespace holdfast {

namespace {

constexpr size_t kTextBytesMax = 1500;

// No longer than a field may be, printable, and not cut within a character.
std::string shown(const std::string& text) {
  std::string safe = display_text(text);
  if (safe.size() <= kTextBytesMax) return safe;
  size_t end = kTextBytesMax;
  while (end > 0 && (static_cast<unsigned char>(safe[end]) & 0xC0) == 0x80) --end;
  return safe.substr(0, end) + "…";
}

// The same for `raised` and `cleared` of one cause, and another one the next time.
std::string id_of(const Alert& alert) {
  const ContentHash hash =
      content_hash(cause_of(alert.finding) + '\0' + std::to_string(alert.since_ns));
  return to_hex(hash.bytes.data(), hash.bytes.size());
}

}  // namespace

std::string notice_text(const AlertNotice& notice, const AlertOrigin& origin) {
  const Finding& finding = notice.alert.finding;
  const std::string who = "holdfast on " + origin.host + ": ";
  if (notice.event != AlertEvent::kCleared) return shown(who + finding.text());
  const std::string place = finding.root.empty() ? "" : finding.root + ": ";
  return shown(who + "over after " + words_for_duration(notice.time_ns - notice.alert.since_ns) +
               ": " + place + finding.what);
}

Json notice_json(const AlertNotice& notice, const AlertOrigin& origin) {
  const Finding& finding = notice.alert.finding;
  Json json;
  json["event"] = words_for_event(notice.event);
  json["id"] = id_of(notice.alert);
  json["check"] = shown(finding.check);
  json["root"] = shown(finding.root);
  json["what"] = shown(finding.what);
  json["value"] = shown(finding.value);
  json["bound"] = shown(finding.bound);
  json["fix"] = shown(finding.fix);
  json["text"] = notice_text(notice, origin);
  json["since"] = format_time(notice.alert.since_ns);
  json["time"] = format_time(notice.time_ns);
  json["host"] = shown(origin.host);
  json["state"] = shown(origin.state_dir);
  json["version"] = HOLDFAST_VERSION;
  return json;
}

Environment notice_environment(const AlertNotice& notice, const AlertOrigin& origin) {
  Environment environment;
  const Json json = notice_json(notice, origin);
  for (const auto& [key, value] : json.items()) {
    std::string name = "HOLDFAST_ALERT_";
    for (const char c : key) name += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    environment.emplace_back(std::move(name), value.get<std::string>());
  }
  return environment;
}

AlertNotice test_notice(int64_t now_wall_ns) {
  AlertNotice notice;
  notice.event = AlertEvent::kTest;
  notice.alert.finding = {"test", "", "this is a test, nothing is wrong",
                          "",     "", "nothing is to be done: alerts of this service arrive here",
                          ""};
  notice.alert.since_ns = notice.time_ns = now_wall_ns;
  return notice;
}

}  // namespace holdfast
