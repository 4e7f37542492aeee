// The API's export: a tree at a moment as a tar.
#include <algorithm>
#include <unordered_map>

#include "base/path.h"
#include "journal/time_spec.h"
#include "service/api.h"
#include "service/differ.h"
#include "service/restore_write.h"
#include "service/tar.h"

namespace holdfast {

namespace {

constexpr size_t kMissingNamed = 1000;

// What a walk of the tree finds, a directory before what is in it, names in byte order. Holds one
// path and one page of names for each level.
class TreeWalk {
 public:
  using Visit = std::function<Status(const std::string& path, const Record& version)>;
  TreeWalk(const Journal& journal, const LmdbTxn& txn, Sequence at, Visit visit)
      : journal_(journal), txn_(txn), at_(at), visit_(std::move(visit)) {}

  Status walk(const std::string& path, NodeId node) {
    TRY_ASSIGN(const bool is_dir, show(path, node));
    if (!is_dir) return {};
    std::vector<Level> stack;
    stack.push_back({path, EntryPages(journal_, txn_, node, at_)});
    while (!stack.empty()) {
      Level& level = stack.back();
      TRY_ASSIGN(const Entry* entry, level.pages.peek());
      if (entry == nullptr) {
        stack.pop_back();
        continue;
      }
      const std::string below = join_path(level.path, entry->name);
      const NodeId child = entry->node;
      level.pages.next();
      TRY_ASSIGN(const bool enter, show(below, child));
      if (enter) stack.push_back({below, EntryPages(journal_, txn_, child, at_)});
    }
    return {};
  }

 private:
  struct Level {
    std::string path;
    EntryPages pages;
  };
  Result<bool> show(const std::string& path, NodeId node) {
    TRY_ASSIGN(const auto version, journal_.version(txn_, node, at_));
    if (!version) return false;
    TRY(visit_(path, *version));
    return version->type == FileType::kDir;
  }
  const Journal& journal_;
  const LmdbTxn& txn_;
  const Sequence at_;
  const Visit visit_;
};

// Why a tar cannot have it; "" where it can.
std::string refusal(const Record& version) {
  if (version.type == FileType::kSocket) return "it is a socket, which a tar cannot hold";
  if (version.type != FileType::kFile || version.content.stored()) return "";
  return "its content was not " + why_not_stored(version);
}

class Exporter {
 public:
  Exporter(State& state, const LmdbTxn& txn, TarWriter& tar)
      : state_(state), reader_(*state.store, txn), tar_(tar) {}

  // `path` is the member's name.
  Status add(const std::string& path, const Record& version) {
    if (!refusal(version).empty()) return {};
    TarEntry entry;
    entry.path = path;
    entry.type = version.type;
    entry.stat = version.stat;
    entry.link_target = version.link_target;
    entry.xattrs = version.xattrs;
    if (version.type != FileType::kDir && version.stat.nlink > 1) {
      const auto [first, is_first] = first_names_.emplace(version.node, path);
      if (!is_first) entry.hardlink = first->second;
    }
    if (auto begun = tar_.begin(entry); !begun.ok()) return begun.error().in(display_path(path));
    if (version.type != FileType::kFile || !entry.hardlink.empty()) return {};
    return content(path, version);
  }

 private:
  Status content(const std::string& path, const Record& version) {
    ContentHasher hasher;
    uint64_t bytes = 0;
    const auto put = [&](std::string_view piece) -> Status {
      hasher.update(piece);
      bytes += piece.size();
      return tar_.data(piece);
    };
    const auto put_hole = [&](uint64_t hole) -> Status {
      for (; hole > 0; hole -= std::min<uint64_t>(hole, zeros_.size())) {
        TRY(put(std::string_view(zeros_).substr(0, std::min<uint64_t>(hole, zeros_.size()))));
      }
      return {};
    };
    if (version.content.kind != ContentKind::kEmpty) {
      auto got = reader_.content(version.content, put, put_hole);
      if (!got.ok()) return got.error().in("exporting " + display_path(path));
    }
    if (bytes == version.stat.size && hasher.finish() == version.hash) return {};
    return make_error(ErrorCode::kDamaged, "exporting " + display_path(path) +
                                               ": the stored content is not the recorded one; "
                                               "holdfast check --read-data tells more");
  }

  State& state_;
  ChunkReader reader_;
  TarWriter& tar_;
  const std::string zeros_ = std::string(64 * 1024, '\0');
  std::unordered_map<NodeId, std::string, NodeIdHash> first_names_;  // of files with several
};

struct ExportPlan {
  Moment at;
  std::vector<std::pair<UserPath, NodeId>> trees;
};

Result<ExportPlan> make_plan(State& state, const LmdbTxn& txn, const ApiRequest& request,
                             int64_t now_ns) {
  Query query(state, txn);
  ExportPlan plan;
  TRY_ASSIGN(plan.at, query.moment(request.get("at"), now_ns));
  const std::string moment = "looking at @" + std::to_string(plan.at.seq.value);
  for (const std::string& text : request.all("path")) {
    TRY_ASSIGN(UserPath path, query.path(text, request.get("cwd")));
    auto found = state.journal->locate(txn, path.root.node, path.relative, plan.at.seq);
    if (!found.ok()) return found.error().in(moment);
    plan.trees.emplace_back(std::move(path), found->node);
  }
  if (!request.get("path").empty()) return plan;
  for (const Root& root : query.roots()) {
    auto found = state.journal->locate(txn, root.node, "", plan.at.seq);
    if (found.ok()) plan.trees.emplace_back(UserPath{root, ""}, found->node);
  }
  if (!plan.trees.empty()) return plan;
  return make_error(ErrorCode::kNotFound,
                    "nothing was watched at @" + std::to_string(plan.at.seq.value));
}

Status walk_plan(const State& state, const LmdbTxn& txn, const ExportPlan& plan,
                 const TreeWalk::Visit& visit) {
  TreeWalk walk(*state.journal, txn, plan.at.seq, visit);
  for (const auto& [path, node] : plan.trees) {
    TRY(walk.walk(join_path(path.root.name, path.relative), node));
  }
  return {};
}

}  // namespace

// What an export would hold, and what it could not. A tar that has begun cannot say that any more.
Status Api::export_plan(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  TRY_ASSIGN(const ExportPlan plan, make_plan(state_, *txn, request, clock_.wall_ns()));
  uint64_t files = 0, bytes = 0, left_out = 0;
  Json missing = Json::array();
  TRY(walk_plan(state_, *txn, plan, [&](const std::string& path, const Record& version) -> Status {
    if (sink.cancelled()) return make_error(ErrorCode::kInterrupted, "interrupted");
    const std::string why = refusal(version);
    if (why.empty()) {
      files += version.type == FileType::kDir ? 0 : 1;
      bytes += version.type == FileType::kFile ? version.stat.size : 0;
      return {};
    }
    if (++left_out > kMissingNamed) return {};
    Json entry;
    put_path(entry, "path", path);
    entry["why"] = why;
    missing.push_back(std::move(entry));
    return {};
  }));
  Json json;
  json["at"] = {{"seq", plan.at.seq.value}, {"time", format_time(plan.at.time_ns)}};
  json["files"] = files;
  json["bytes"] = bytes;
  json["left_out"] = left_out;
  json["missing"] = std::move(missing);
  sink.write(json_line(json));
  return {};
}

Status Api::export_tar(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  TRY_ASSIGN(const ExportPlan plan, make_plan(state_, *txn, request, clock_.wall_ns()));
  TRY_ASSIGN(const auto tar,
             TarWriter::create([&](std::string_view bytes) { return sink.write(bytes); }));
  Exporter exporter(state_, *txn, *tar);
  TRY(walk_plan(state_, *txn, plan, [&](const std::string& path, const Record& version) -> Status {
    if (sink.cancelled()) return make_error(ErrorCode::kInterrupted, "interrupted");
    return exporter.add(path, version);
  }));
  return tar->finish();
}

}  // namespace holdfast
