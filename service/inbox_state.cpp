#include "service/inbox_state.h"

#include <array>

#include "base/fs.h"
#include "base/hash.h"
#include "base/path.h"
#include "base/types.h"
#include "service/query.h"

namespace holdfast {

namespace {

constexpr size_t kBytesMax = 4 << 20;
constexpr std::array<const char*, 6> kPhases{"accepted", "stopping", "started",
                                             "ended",    "filing",   "filed"};
constexpr std::array<const char*, 3> kOutcomes{"done", "failed", "same"};

std::string file_of(const std::string& state_dir) { return state_dir + "/inbox"; }

// What is not there, or not of its type, makes the whole unreadable.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json) {}
  std::string text(const char* key) {
    const Json* value = find(key);
    if (value != nullptr && value->is_string()) return value->get<std::string>();
    good_ = false;
    return "";
  }
  std::string path(const char* key) {
    auto decoded = percent_decode(text(key));
    if (decoded.ok()) return *decoded;
    good_ = false;
    return "";
  }
  uint64_t number(const char* key) {
    const Json* value = find(key);
    if (value != nullptr && value->is_number_unsigned()) return value->get<uint64_t>();
    good_ = false;
    return 0;
  }
  int64_t time(const char* key) {
    const Json* value = find(key);
    if (value != nullptr && value->is_number_integer()) return value->get<int64_t>();
    good_ = false;
    return 0;
  }
  template <class Enum, size_t N>
  Enum word(const char* key, const std::array<const char*, N>& words) {
    const std::string found = text(key);
    for (size_t i = 0; i < N; ++i) {
      if (found == words[i]) return static_cast<Enum>(i);
    }
    good_ = false;
    return {};
  }
  std::vector<std::string> paths(const char* key) {
    std::vector<std::string> all;
    const Json* value = find(key);
    good_ = good_ && value != nullptr && value->is_array();
    if (!good_) return all;
    for (const Json& item : *value) {
      auto decoded = percent_decode(item.is_string() ? item.get<std::string>() : "%");
      good_ = good_ && decoded.ok();
      if (decoded.ok()) all.push_back(*decoded);
    }
    return all;
  }
  bool good() const { return good_; }

 private:
  const Json* find(const char* key) const {
    if (!json_.is_object()) return nullptr;
    const auto at = json_.find(key);
    return at != json_.end() ? &*at : nullptr;
  }
  const Json& json_;
  bool good_ = true;
};

Json job_json(const InboxJob& job) {
  Json json;
  json["id"] = job.id;
  json["inbox"] = percent_encode(job.inbox);
  json["name"] = percent_encode(job.name);
  json["dev"] = job.dev;
  json["inode"] = job.inode;
  json["size"] = job.size;
  json["mtime_ns"] = job.mtime_ns;
  json["hash"] = job.hash;
  json["uid"] = job.uid;
  json["gid"] = job.gid;
  json["phase"] = words_for_phase(job.phase);
  json["docker"] = percent_encode(job.docker);
  json["containers"] = Json::array();
  for (const std::string& name : job.containers) json["containers"].push_back(percent_encode(name));
  json["filed_as"] = percent_encode(job.filed_as);
  json["undo"] = percent_encode(job.undo);
  json["replaces"] = percent_encode(job.replaces);
  json["new_dev"] = job.new_dev;
  json["new_inode"] = job.new_inode;
  json["outcome"] = words_for_outcome(job.outcome);
  json["why"] = percent_encode(job.why);
  json["log"] = percent_encode(job.log);
  return json;
}

std::optional<InboxJob> job_of(const Json& json) {
  Fields fields(json);
  InboxJob job;
  job.id = fields.text("id");
  job.inbox = fields.path("inbox");
  job.name = fields.path("name");
  job.dev = fields.number("dev");
  job.inode = fields.number("inode");
  job.size = fields.number("size");
  job.mtime_ns = fields.time("mtime_ns");
  job.hash = fields.text("hash");
  job.uid = static_cast<uint32_t>(fields.number("uid"));
  job.gid = static_cast<uint32_t>(fields.number("gid"));
  job.phase = fields.word<InboxPhase>("phase", kPhases);
  job.docker = fields.path("docker");
  job.containers = fields.paths("containers");
  job.filed_as = fields.path("filed_as");
  job.undo = fields.path("undo");
  job.replaces = fields.path("replaces");
  job.new_dev = fields.number("new_dev");
  job.new_inode = fields.number("new_inode");
  job.outcome = fields.word<InboxOutcome>("outcome", kOutcomes);
  job.why = fields.path("why");
  job.log = fields.path("log");
  return fields.good() ? std::optional(job) : std::nullopt;
}

Json result_json(const InboxResult& result) {
  return {{"inbox", percent_encode(result.inbox)},
          {"name", percent_encode(result.name)},
          {"size", result.size},
          {"mtime_ns", result.mtime_ns},
          {"hash", result.hash},
          {"outcome", words_for_outcome(result.outcome)},
          {"ended_ns", result.ended_ns},
          {"log", percent_encode(result.log)}};
}

std::optional<InboxResult> result_of(const Json& json) {
  Fields fields(json);
  InboxResult result;
  result.inbox = fields.path("inbox");
  result.name = fields.path("name");
  result.size = fields.number("size");
  result.mtime_ns = fields.time("mtime_ns");
  result.hash = fields.text("hash");
  result.outcome = fields.word<InboxOutcome>("outcome", kOutcomes);
  result.ended_ns = fields.time("ended_ns");
  result.log = fields.path("log");
  return fields.good() ? std::optional(result) : std::nullopt;
}

}  // namespace

const char* words_for_phase(InboxPhase phase) { return kPhases[static_cast<size_t>(phase)]; }
const char* words_for_outcome(InboxOutcome outcome) {
  return kOutcomes[static_cast<size_t>(outcome)];
}

std::string encode_inbox_state(const InboxState& state) {
  Json json;
  json["job"] = state.job ? job_json(*state.job) : Json();
  json["last"] = Json::array();
  for (const InboxResult& result : state.last) json["last"].push_back(result_json(result));
  const ContentHash hash = content_hash(json.dump());
  json["checksum"] = "xxh3:" + to_hex(hash.bytes.data(), hash.bytes.size());
  return json_line(json);
}

std::optional<InboxState> decode_inbox_state(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("job") || !json.contains("last")) return std::nullopt;
  InboxState state;
  if (!json["job"].is_null()) {
    state.job = job_of(json["job"]);
    if (!state.job) return std::nullopt;
  }
  if (!json["last"].is_array()) return std::nullopt;
  for (const Json& item : json["last"]) {
    auto result = result_of(item);
    if (!result) return std::nullopt;
    state.last.push_back(std::move(*result));
  }
  if (encode_inbox_state(state) != text) return std::nullopt;
  return state;
}

Result<InboxState> read_inbox_state(const std::string& state_dir) {
  auto text = read_whole_file(file_of(state_dir), kBytesMax);
  if (!text.ok() && text.error().code == ErrorCode::kNotFound) return InboxState{};
  if (!text.ok()) return text.error().in("reading what the inboxes were doing");
  if (auto state = decode_inbox_state(*text)) return std::move(*state);
  return make_error(ErrorCode::kDamaged,
                    "the file " + file_of(state_dir) +
                        " is damaged, so whether a dump was being restored cannot be known; look "
                        "into the inboxes and at the containers, then delete it");
}

std::optional<std::string> inbox_flaw(const std::string& state_dir) {
  const auto state = read_inbox_state(state_dir);
  return state.ok() ? std::nullopt : std::optional(state.error().message);
}

Status write_inbox_state(const std::string& state_dir, const InboxState& state) {
  auto written = write_file_durably(file_of(state_dir), encode_inbox_state(state), 0600);
  return written.ok() ? Status() : written.error().in("keeping what the inbox is doing");
}

}  // namespace holdfast
