#include "service/inbox_state.h"

#include <array>

#include "base/fs.h"
#include "service/json_fields.h"

namespace holdfast {

namespace {

constexpr size_t kInboxBytesMax = 4 << 20;
constexpr std::array<const char*, 6> kPhases{"accepted", "stopping", "started",
                                             "ended",    "filing",   "filed"};
constexpr std::array<const char*, 3> kInboxOutcomes{"done", "failed", "same"};

std::string inbox_file_of(const std::string& state_dir) { return state_dir + "/inbox"; }

template <class Fields, class Job>
void fields_of_job(Fields& fields, Job& job) {
  fields.text("id", job.id);
  fields.bytes("inbox", job.inbox);
  fields.bytes("name", job.name);
  fields.number("dev", job.dev);
  fields.number("inode", job.inode);
  fields.number("size", job.size);
  fields.number("mtime_ns", job.mtime_ns);
  fields.text("hash", job.hash);
  fields.number("uid", job.uid);
  fields.number("gid", job.gid);
  fields.word("phase", job.phase, kPhases);
  fields.bytes("docker", job.docker);
  fields.bytes("containers", job.containers);
  fields.bytes("undumped", job.undumped);
  fields.bytes("filed_as", job.filed_as);
  fields.bytes("undo", job.undo);
  fields.bytes("replaces", job.replaces);
  fields.number("new_dev", job.new_dev);
  fields.number("new_inode", job.new_inode);
  fields.word("outcome", job.outcome, kInboxOutcomes);
  fields.bytes("why", job.why);
  fields.bytes("log", job.log);
}

template <class Fields, class Done>
void fields_of_result(Fields& fields, Done& result) {
  fields.bytes("inbox", result.inbox);
  fields.bytes("name", result.name);
  fields.number("size", result.size);
  fields.number("mtime_ns", result.mtime_ns);
  fields.text("hash", result.hash);
  fields.word("outcome", result.outcome, kInboxOutcomes);
  fields.number("ended_ns", result.ended_ns);
  fields.bytes("log", result.log);
}

}  // namespace

const char* words_for_phase(InboxPhase phase) { return kPhases[static_cast<size_t>(phase)]; }
const char* words_for_outcome(InboxOutcome outcome) {
  return kInboxOutcomes[static_cast<size_t>(outcome)];
}

std::string encode_inbox_state(const InboxState& state) {
  Json json;
  json["job"] = Json();
  if (state.job) {
    JsonWriter job;
    fields_of_job(job, *state.job);
    json["job"] = std::move(job.json);
  }
  json["last"] = Json::array();
  for (const InboxResult& result : state.last) {
    JsonWriter fields;
    fields_of_result(fields, result);
    json["last"].push_back(std::move(fields.json));
  }
  return sealed_json(std::move(json));
}

std::optional<InboxState> decode_inbox_state(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("job") || !json.contains("last")) return std::nullopt;
  InboxState state;
  if (!json["job"].is_null()) {
    JsonReader job(json["job"]);
    fields_of_job(job, state.job.emplace());
    if (!job.good()) return std::nullopt;
  }
  if (!json["last"].is_array()) return std::nullopt;
  for (const Json& item : json["last"]) {
    JsonReader result(item);
    fields_of_result(result, state.last.emplace_back());
    if (!result.good()) return std::nullopt;
  }
  if (encode_inbox_state(state) != text) return std::nullopt;
  return state;
}

Result<InboxState> read_inbox_state(const std::string& state_dir) {
  auto text = read_whole_file(inbox_file_of(state_dir), kInboxBytesMax);
  if (!text.ok() && text.error().code == ErrorCode::kNotFound) return InboxState{};
  if (!text.ok()) return text.error().in("reading what the inboxes were doing");
  if (auto state = decode_inbox_state(*text)) return std::move(*state);
  return make_error(ErrorCode::kDamaged,
                    "the file " + inbox_file_of(state_dir) +
                        " is damaged, so whether a dump was being restored cannot be known; look "
                        "into the inboxes and at the containers, then delete it");
}

std::optional<std::string> inbox_flaw(const std::string& state_dir) {
  const auto state = read_inbox_state(state_dir);
  return state.ok() ? std::nullopt : std::optional(state.error().message);
}

Status write_inbox_state(const std::string& state_dir, const InboxState& state) {
  auto written = write_file_durably(inbox_file_of(state_dir), encode_inbox_state(state), 0600);
  return written.ok() ? Status() : written.error().in("keeping what the inbox is doing");
}

}  // namespace holdfast
