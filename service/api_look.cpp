// The API's answers about a moment: ls, cat, diff.
#include "base/path.h"
#include "service/api.h"
#include "service/differ.h"
#include "service/restore_write.h"

namespace holdfast {

namespace {

// A tree at a moment, one line a name. Of each directory all names come first, then what is in the
// directories among them. Holds one path and one page of names for each level.
class Lister {
 public:
  Lister(const Journal& journal, const LmdbTxn& txn, Query& query, ApiSink& sink, Sequence at)
      : journal_(journal), txn_(txn), query_(query), sink_(sink), at_(at) {}

  Status show(const Root& root, const std::string& path, NodeId node) {
    TRY_ASSIGN(const auto version, journal_.version(txn_, node, at_));
    if (!version) return {};
    // One line for a name as of that moment: its record, under the path that was asked for.
    Json json = query_.record(*version, root.name, path);
    json["at"] = at_.value;
    return sink_.write(json_line(json)) ? Status()
                                        : make_error(ErrorCode::kInterrupted, "interrupted");
  }

  Status list(const Root& root, const std::string& path, NodeId dir, bool recursive) {
    std::vector<Level> stack{{path, dir, EntryPages(journal_, txn_, dir, at_), false}};
    while (!stack.empty() && !sink_.cancelled()) {
      Level& level = stack.back();
      TRY_ASSIGN(const Entry* entry, level.pages.peek());
      if (entry == nullptr) {
        if (level.descending || !recursive) {
          stack.pop_back();
        } else {
          level.descending = true;
          level.pages = EntryPages(journal_, txn_, level.dir, at_);
        }
        continue;
      }
      const std::string below = join_path(level.path, entry->name);
      const NodeId node = entry->node;
      const bool enter = level.descending && entry->type == FileType::kDir;
      if (!level.descending) TRY(show(root, below, node));
      level.pages.next();
      if (enter) stack.push_back({below, node, EntryPages(journal_, txn_, node, at_), false});
    }
    return {};
  }

 private:
  struct Level {
    std::string path;
    NodeId dir;
    EntryPages pages;
    bool descending;  // all were shown; now the directories among them are entered
  };
  const Journal& journal_;
  const LmdbTxn& txn_;
  Query& query_;
  ApiSink& sink_;
  const Sequence at_;
};

}  // namespace

Status Api::ls(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  Query query(state_, *txn);
  TRY_ASSIGN(const Moment at, query.moment(request.get("at"), clock_.wall_ns()));
  Lister lister(*state_.journal, *txn, query, sink, at.seq);
  const bool recursive = request.flag("recursive");
  if (request.get("path").empty()) {
    for (const Root& root : query.roots()) {
      auto there = state_.journal->locate(*txn, root.node, "", at.seq);
      if (there.ok()) TRY(lister.list(root, "", root.node, recursive));
    }
    return {};
  }
  TRY_ASSIGN(const UserPath path, query.path(request.get("path"), request.get("cwd")));
  auto found = state_.journal->locate(*txn, path.root.node, path.relative, at.seq);
  if (!found.ok()) return found.error().in("looking at @" + std::to_string(at.seq.value));
  if (found->type != FileType::kDir || request.flag("self")) {
    return lister.show(path.root, path.relative, found->node);
  }
  return lister.list(path.root, path.relative, found->node, recursive);
}

Status Api::cat(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  Query query(state_, *txn);
  TRY_ASSIGN(const Moment at, query.moment(request.get("at"), clock_.wall_ns()));
  TRY_ASSIGN(const UserPath path, query.path(request.get("path"), request.get("cwd")));
  const std::string shown =
      display_path(request.get("path")) + " at @" + std::to_string(at.seq.value);
  auto found = state_.journal->locate(*txn, path.root.node, path.relative, at.seq);
  if (!found.ok()) return found.error().in(shown);
  TRY_ASSIGN(const auto version, state_.journal->version(*txn, found->node, at.seq));
  if (!version || version->type != FileType::kFile) {
    return make_error(ErrorCode::kUsage, shown + " is not a regular file");
  }
  if (version->content.kind == ContentKind::kEmpty) return {};
  if (!version->content.stored()) {
    return make_error(ErrorCode::kNotFound,
                      shown + ": the content was not " + why_not_stored(*version));
  }
  ChunkReader reader(*state_.store, *txn);
  const Error interrupted = make_error(ErrorCode::kInterrupted, "interrupted");
  const std::string zeros(64 * 1024, '\0');
  ContentHasher hasher;
  TRY(reader.content(
      version->content,
      [&](std::string_view bytes) -> Status {
        hasher.update(bytes);
        return sink.write(bytes) ? Status() : interrupted;
      },
      [&](uint64_t hole) -> Status {
        hasher.update_zeros(hole);
        for (; hole > 0; hole -= std::min<uint64_t>(hole, zeros.size())) {
          if (!sink.write(std::string_view(zeros).substr(0, hole))) return interrupted;
        }
        return {};
      }));
  if (hasher.finish() != version->hash) {
    return make_error(ErrorCode::kDamaged,
                      shown + ": the stored content does not have the recorded hash");
  }
  return {};
}

Status Api::diff(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  Query query(state_, *txn);
  TRY_ASSIGN(const Moment a, query.moment(request.get("a"), clock_.wall_ns()));
  TRY_ASSIGN(const Moment b, query.moment(request.get("b"), clock_.wall_ns()));
  Differ differ(*state_.journal, *txn, query, sink, a.seq, b.seq);
  std::vector<UserPath> paths;
  if (const std::string text = request.get("path"); !text.empty()) {
    TRY_ASSIGN(UserPath path, query.path(text, request.get("cwd")));
    const auto is_there = [&](Sequence at) {
      return state_.journal->locate(*txn, path.root.node, path.relative, at).ok();
    };
    if (!is_there(a.seq) && !is_there(b.seq)) {
      return make_error(ErrorCode::kNotFound,
                        display_path(text) + " is in neither of the two moments");
    }
    paths.push_back(std::move(path));
  } else {
    for (const Root& root : query.roots()) paths.push_back({root, ""});
  }
  TRY(differ.prepare());
  for (const UserPath& path : paths) TRY(differ.compare(path));
  return {};
}

}  // namespace holdfast
