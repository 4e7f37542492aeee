#include "service/alert_state.h"

#include "base/fs.h"
#include "service/json_fields.h"

namespace holdfast {

namespace {

constexpr size_t kAlertsBytesMax = 16 << 20;

std::string alerts_file_of(const std::string& state_dir) { return state_dir + "/alerts"; }

template <class Fields, class Of>
void fields_of_alert(Fields& fields, Of& alert) {
  fields.bytes("check", alert.finding.check);
  fields.bytes("root", alert.finding.root);
  fields.bytes("what", alert.finding.what);
  fields.bytes("value", alert.finding.value);
  fields.bytes("bound", alert.finding.bound);
  fields.bytes("fix", alert.finding.fix);
  fields.bytes("subject", alert.finding.subject);
  fields.number("since_ns", alert.since_ns);
}

template <class Fields, class Of>
void fields_of_pending(Fields& fields, Of& pending) {
  fields.bytes("sink", pending.sink);
  fields.word("event", pending.notice.event, kAlertEvents);
  fields.number("time_ns", pending.notice.time_ns);
  fields_of_alert(fields, pending.notice.alert);
}

}  // namespace

std::string encode_alert_state(const AlertState& state) {
  Json json;
  json["standing"] = Json::array();
  for (const Alert& alert : state.standing) {
    JsonWriter fields;
    fields_of_alert(fields, alert);
    json["standing"].push_back(std::move(fields.json));
  }
  json["pending"] = Json::array();
  for (const PendingNotice& pending : state.pending) {
    JsonWriter fields;
    fields_of_pending(fields, pending);
    json["pending"].push_back(std::move(fields.json));
  }
  return sealed_json(std::move(json));
}

std::optional<AlertState> decode_alert_state(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("standing") || !json.contains("pending")) {
    return std::nullopt;
  }
  if (!json["standing"].is_array() || !json["pending"].is_array()) return std::nullopt;
  AlertState state;
  for (const Json& item : json["standing"]) {
    JsonReader fields(item);
    fields_of_alert(fields, state.standing.emplace_back());
    if (!fields.good()) return std::nullopt;
  }
  for (const Json& item : json["pending"]) {
    JsonReader fields(item);
    fields_of_pending(fields, state.pending.emplace_back());
    if (!fields.good()) return std::nullopt;
  }
  if (encode_alert_state(state) != text) return std::nullopt;
  return state;
}

Result<AlertState> read_alert_state(const std::string& state_dir) {
  auto text = read_whole_file(alerts_file_of(state_dir), kAlertsBytesMax);
  if (!text.ok() && text.error().code == ErrorCode::kNotFound) return AlertState{};
  if (!text.ok()) return text.error().in("reading which alerts stand");
  if (auto state = decode_alert_state(*text)) return std::move(*state);
  return make_error(ErrorCode::kDamaged,
                    "the file " + alerts_file_of(state_dir) +
                        " is damaged, so which alerts stand is not known; the service begins anew, "
                        "and tells again what is wrong now");
}

std::optional<std::string> alerts_flaw(const std::string& state_dir) {
  const auto state = read_alert_state(state_dir);
  return state.ok() ? std::nullopt : std::optional(state.error().message);
}

Status write_alert_state(const std::string& state_dir, const AlertState& state) {
  auto written = write_file_durably(alerts_file_of(state_dir), encode_alert_state(state), 0600);
  return written.ok() ? Status() : written.error().in("keeping which alerts stand");
}

}  // namespace holdfast
