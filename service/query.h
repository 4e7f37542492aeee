// Query: the questions of the API in the journal's terms: what a time or a path that a person wrote
// means, and records as the JSON contract has them. Reads only; any thread, with its own ReadTxn.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "journal/journal.h"
#include "service/dump_note.h"
#include "service/state.h"

namespace holdfast {

using Json = nlohmann::ordered_json;

struct Moment {
  Sequence seq;
  int64_t time_ns = 0;  // logical time of that sequence; 0 for an empty journal
};

// A user's path: the root it lies in and what is below ("" for the root itself).
struct UserPath {
  Root root;
  std::string relative;
};

// One life of a name: the node that it led to from `since` until just before `until` (0: still).
struct Life {
  NodeId node;
  FileType type = FileType::kFile;
  Sequence since, until;
};

class Query {
 public:
  Query(State& state, const LmdbTxn& txn) : state_(state), txn_(txn) {}

  // Empty text means now. Ambiguous times are an error that names the candidates.
  Result<Moment> moment(std::string_view text, int64_t now_wall_ns) const;
  // Absolute, ROOT:relative, or relative to `cwd`.
  Result<UserPath> path(std::string_view text, std::string_view cwd) const;
  // Everything a path ever was, oldest first.
  Result<std::vector<Life>> lives(const UserPath& path) const;

  Json record(const Record& record);
  // The same under a place that the caller knows.
  Json record(const Record& record, const std::string& root, const std::string& path);
  // root and path of a record that is about a node, as of its own moment.
  std::pair<std::string, std::string> place(const Record& record);
  std::string user_path(const Record& record);  // absolute
  const std::vector<Root>& roots();
  // Journal::dir_path(), remembered for as long as it holds.
  Result<std::string> dir_path(NodeId dir, Sequence at);

 private:
  const std::string& boot_id(uint32_t boot);
  State& state_;
  const LmdbTxn& txn_;
  std::optional<std::vector<Root>> roots_;
  std::unordered_map<NodeId, Journal::DirPlace, NodeIdHash> places_;
  size_t places_bytes_ = 0;                               // of their paths, at most
  std::optional<std::pair<uint32_t, std::string>> boot_;  // of the last record
};

// `path` (lossy UTF-8), and `path_b64` where the bytes are no UTF-8.
void put_path(Json& json, const char* key, const std::string& path);
// `outcome`, `exit` (128 + the number of a signal) and `seconds` of a dump's command.
void put_dump_note(Json& json, const DumpNote& note);
std::string json_line(const Json& json);

}  // namespace holdfast
