// The API's reading half: log, history, ls, cat, diff.
#include <algorithm>
#include <map>
#include <set>

#include "base/path.h"
#include "journal/time_spec.h"
#include "service/api.h"

namespace holdfast {

namespace {

constexpr int64_t kFollowWaitNs = 500'000'000;

std::set<std::string> split_words(const std::string& text) {
  std::set<std::string> words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    if (end > at) words.insert(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

// What `log` was asked for.
struct LogFilter {
  std::set<std::string> kinds, verdicts;
  std::string root;
  std::optional<UserPath> below;
  Sequence first{1}, last;

  bool takes(Query& query, const Record& record) const {
    const bool link = record.kind == RecordKind::kLink;
    if (!kinds.empty() && !kinds.contains(link ? "create" : record_kind_name(record.kind)))
      return false;
    if (!verdicts.empty() && !verdicts.contains(verdict_name(record.verdict))) return false;
    if (root.empty() && !below) return true;
    const auto [root_name, path] = query.place(record);
    if (!root.empty() && root_name != root) return false;
    if (!below || below->relative.empty()) return !below || root_name == below->root.name;
    return record.is_node_record() && root_name == below->root.name &&
           (path == below->relative || path.starts_with(below->relative + "/"));
  }
};

Status check_words(const LogFilter& filter) {
  for (const std::string& kind : filter.kinds) {
    if (!record_kind_of(kind))
      return make_error(ErrorCode::kUsage, "there is no kind \"" + kind + "\"");
  }
  for (const std::string& verdict : filter.verdicts) {
    if (!verdict_of(verdict)) {
      return make_error(ErrorCode::kUsage, "there is no verdict \"" + verdict + "\"");
    }
  }
  return {};
}

// A misspelt name must not look like one to which nothing happened. Who follows may wait for it.
Status check_place(const LogFilter& filter, Query& query, bool follow) {
  const std::vector<Root>& roots = query.roots();
  const bool known = filter.root.empty() ||
                     std::any_of(roots.begin(), roots.end(),
                                 [&](const Root& root) { return root.name == filter.root; });
  if (!known) {
    std::string names;
    for (const Root& root : roots) names += (names.empty() ? "" : ", ") + display_path(root.name);
    return make_error(ErrorCode::kNotFound,
                      "there is no root " + display_path(filter.root) + "; there are: " + names);
  }
  if (follow || !filter.below || filter.below->relative.empty()) return {};
  TRY_ASSIGN(const auto lives, query.lives(*filter.below));
  if (!lives.empty()) return {};
  return make_error(ErrorCode::kNotFound, display_path(filter.below->root.name) + ":" +
                                              display_path(filter.below->relative) +
                                              " was never there");
}

Result<LogFilter> read_filter(const ApiRequest& request, Query& query, Sequence head,
                              int64_t now_ns) {
  LogFilter filter;
  filter.kinds = split_words(request.get("kind"));
  filter.verdicts = split_words(request.get("verdict"));
  filter.root = request.get("root");
  filter.last = head;
  TRY(check_words(filter));
  if (const std::string path = request.get("path"); !path.empty()) {
    TRY_ASSIGN(filter.below, query.path(path, request.get("cwd")));
  }
  TRY(check_place(filter, query, request.flag("follow")));
  if (const std::string since = request.get("since"); !since.empty()) {
    auto moment = query.moment(since, now_ns);
    if (moment.ok()) {
      filter.first = Sequence{moment->seq.value + (since[0] == '@' ? 0 : 1)};
    } else if (moment.error().code != ErrorCode::kNotFound || since[0] == '@') {
      return moment.error();
    }
  }
  if (const std::string until = request.get("until"); !until.empty()) {
    TRY_ASSIGN(const Moment moment, query.moment(until, now_ns));
    filter.last = moment.seq;
  }
  return filter;
}

}  // namespace

Status Api::log(const ApiRequest& request, ApiSink& sink) {
  auto txn_or = state_.env->begin_read();
  if (!txn_or.ok()) return txn_or.error();
  std::unique_ptr<ReadTxn> txn = std::move(*txn_or);
  TRY_ASSIGN(const Head head, state_.journal->head(*txn));
  Query query(state_, *txn);
  TRY_ASSIGN(LogFilter filter, read_filter(request, query, head.seq, clock_.wall_ns()));
  uint64_t limit = ~0ull;
  if (const std::string text = request.get("limit"); !text.empty()) {
    if (text.find_first_not_of("0123456789") != std::string::npos || text.size() > 18) {
      return make_error(ErrorCode::kUsage, "the limit is a number, not \"" + text + "\"");
    }
    limit = std::stoull(text);
  }
  const bool reverse = request.flag("reverse");
  // A limit means the newest ones, whichever way they are shown.
  const bool backwards = reverse || limit != ~0ull;
  std::vector<std::string> held;
  uint64_t shown = 0;
  auto show = [&](const Record& record) {
    if (sink.cancelled()) return Visit::kStop;
    if (backwards ? record.seq < filter.first : record.seq > filter.last) return Visit::kStop;
    if (!filter.takes(query, record)) return Visit::kContinue;
    std::string line = json_line(query.record(record));
    if (backwards && !reverse) {
      held.push_back(std::move(line));
    } else if (!sink.write(line)) {
      return Visit::kStop;
    }
    return ++shown < limit ? Visit::kContinue : Visit::kStop;
  };
  if (limit > 0 && filter.last.value > 0) {
    const Sequence from = backwards ? filter.last : filter.first;
    TRY(state_.journal->for_each_record(*txn, from, backwards, show));
  }
  for (auto line = held.rbegin(); line != held.rend(); ++line) sink.write(*line);
  if (!request.flag("follow")) return {};
  Sequence seen = filter.last;
  txn.reset();
  while (!sink.cancelled()) {
    const auto committed = gate_.wait_commit(seen, kFollowWaitNs);
    if (!committed) return {};
    if (*committed <= seen) continue;
    TRY_ASSIGN(auto now, state_.env->begin_read());
    Query now_query(state_, *now);
    TRY(state_.journal->for_each_record(
        *now, Sequence{seen.value + 1}, false, [&](const Record& record) {
          if (!filter.takes(now_query, record)) return Visit::kContinue;
          return sink.write(json_line(now_query.record(record))) ? Visit::kContinue : Visit::kStop;
        }));
    seen = *committed;
  }
  return {};
}

Status Api::history(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  Query query(state_, *txn);
  TRY_ASSIGN(const UserPath path, query.path(request.get("path"), request.get("cwd")));
  TRY_ASSIGN(const auto lives, query.lives(path));
  if (lives.empty()) {
    return make_error(ErrorCode::kNotFound, display_path(request.get("path")) + " was never there");
  }
  std::set<uint64_t> shown;
  for (const Life& life : lives) {
    TRY(state_.journal->for_each_version(*txn, life.node, false, [&](const Record& record) {
      const bool after = life.until.value != 0 && record.seq > life.until;
      if (after) return Visit::kStop;
      if (record.seq < life.since) return Visit::kContinue;
      // Another name of the same file coming or going is that name's history, not this one's.
      const bool about_a_name = record.kind == RecordKind::kLink ||
                                record.kind == RecordKind::kDelete ||
                                record.kind == RecordKind::kCreate;
      if (about_a_name && record.seq != life.since && record.seq != life.until)
        return Visit::kContinue;
      if (!shown.insert(record.seq.value).second) return Visit::kContinue;
      return sink.write(json_line(query.record(record))) ? Visit::kContinue : Visit::kStop;
    }));
  }
  return {};
}

Status Api::ls(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  Query query(state_, *txn);
  TRY_ASSIGN(const Moment at, query.moment(request.get("at"), clock_.wall_ns()));
  struct Level {
    NodeId dir;
    UserPath path;
  };
  std::vector<Level> stack;
  Status failed;
  auto show = [&](const UserPath& path, NodeId node) -> Status {
    TRY_ASSIGN(const auto version, state_.journal->version(*txn, node, at.seq));
    if (!version) return {};
    // One line for a name as of that moment: its record, under the path that was asked for.
    Json json = query.record(*version);
    json["at"] = at.seq.value;
    json["root"] = path.root.name;
    put_path(json, "path", path.relative);
    return sink.write(json_line(json)) ? Status()
                                       : make_error(ErrorCode::kInterrupted, "interrupted");
  };
  if (request.get("path").empty()) {
    for (const Root& root : query.roots()) {
      auto there = state_.journal->locate(*txn, root.node, "", at.seq);
      if (there.ok()) stack.push_back({root.node, {root, ""}});
    }
  } else {
    TRY_ASSIGN(const UserPath path, query.path(request.get("path"), request.get("cwd")));
    auto found = state_.journal->locate(*txn, path.root.node, path.relative, at.seq);
    if (!found.ok()) return found.error().in("looking at @" + std::to_string(at.seq.value));
    if (found->type != FileType::kDir) return show(path, found->node);
    stack.push_back({found->node, path});
  }
  while (!stack.empty() && !sink.cancelled()) {
    const Level level = std::move(stack.back());
    stack.pop_back();
    std::vector<Level> below;
    TRY(state_.journal->for_each_entry(*txn, level.dir, at.seq, [&](const Entry& entry) {
      const UserPath path{level.path.root, join_path(level.path.relative, entry.name)};
      failed = show(path, entry.node);
      if (entry.type == FileType::kDir && request.flag("recursive"))
        below.push_back({entry.node, path});
      return failed.ok() ? Visit::kContinue : Visit::kStop;
    }));
    TRY(failed);
    std::move(below.rbegin(), below.rend(), std::back_inserter(stack));
  }
  return {};
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
                      shown + ": the content was not stored: " + version->note);
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

namespace {

// Compares two moments name by name, in the order of paths.
class Differ {
 public:
  Differ(State& state, const LmdbTxn& txn, Query& query, ApiSink& sink, Sequence a, Sequence b)
      : state_(state), txn_(txn), query_(query), sink_(sink), a_(a), b_(b) {}

  Status compare(const UserPath& path, std::optional<NodeId> before, std::optional<NodeId> after) {
    std::vector<Pair> stack{{path, before, after}};
    while (!stack.empty() && !sink_.cancelled()) {
      const Pair pair = std::move(stack.back());
      stack.pop_back();
      std::optional<Record> was, is;
      if (pair.before) {
        TRY_ASSIGN(was, state_.journal->version(txn_, *pair.before, a_));
      }
      if (pair.after) {
        TRY_ASSIGN(is, state_.journal->version(txn_, *pair.after, b_));
      }
      TRY(show(pair.path, was, is));
      TRY(open(pair, was, is, stack));
    }
    return {};
  }

 private:
  struct Pair {
    UserPath path;
    std::optional<NodeId> before, after;
  };

  Status show(const UserPath& path, const std::optional<Record>& was,
              const std::optional<Record>& is) {
    const char* change = nullptr;
    if (!was && is) {
      change = "added";
    } else if (was && !is) {
      change = "removed";
    } else if (was && is) {
      if (was->seq == is->seq) return {};
      const bool content = was->type != is->type || was->content != is->content ||
                           was->hash != is->hash || was->link_target != is->link_target;
      const bool metadata = was->stat.mode != is->stat.mode || was->stat.uid != is->stat.uid ||
                            was->stat.gid != is->stat.gid || was->xattrs != is->xattrs ||
                            was->stat.mtime_ns != is->stat.mtime_ns;
      if (!content && (!metadata || is->type == FileType::kDir)) return {};
      change = content ? "modified" : "attrib";
    }
    if (change == nullptr) return {};
    Json json;
    json["change"] = change;
    json["root"] = path.root.name;
    put_path(json, "path", path.relative);
    json["type"] = file_type_name(is ? is->type : was->type);
    if (was) json["a"] = query_.record(*was);
    if (is) json["b"] = query_.record(*is);
    return sink_.write(json_line(json)) ? Status()
                                        : make_error(ErrorCode::kInterrupted, "interrupted");
  }

  Status open(const Pair& pair, const std::optional<Record>& was, const std::optional<Record>& is,
              std::vector<Pair>& stack) {
    std::map<std::string, std::pair<std::optional<NodeId>, std::optional<NodeId>>> names;
    if (was && was->type == FileType::kDir) {
      TRY(state_.journal->for_each_entry(txn_, *pair.before, a_, [&](const Entry& entry) {
        names[entry.name].first = entry.node;
        return Visit::kContinue;
      }));
    }
    if (is && is->type == FileType::kDir) {
      TRY(state_.journal->for_each_entry(txn_, *pair.after, b_, [&](const Entry& entry) {
        names[entry.name].second = entry.node;
        return Visit::kContinue;
      }));
    }
    for (auto name = names.rbegin(); name != names.rend(); ++name) {
      stack.push_back({{pair.path.root, join_path(pair.path.relative, name->first)},
                       name->second.first,
                       name->second.second});
    }
    return {};
  }

  State& state_;
  const LmdbTxn& txn_;
  Query& query_;
  ApiSink& sink_;
  const Sequence a_, b_;
};

}  // namespace

Status Api::diff(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  Query query(state_, *txn);
  TRY_ASSIGN(const Moment a, query.moment(request.get("a"), clock_.wall_ns()));
  TRY_ASSIGN(const Moment b, query.moment(request.get("b"), clock_.wall_ns()));
  Differ differ(state_, *txn, query, sink, a.seq, b.seq);
  auto node_at = [&](const UserPath& path, Sequence at) -> std::optional<NodeId> {
    auto found = state_.journal->locate(*txn, path.root.node, path.relative, at);
    return found.ok() ? std::optional<NodeId>(found->node) : std::nullopt;
  };
  std::vector<UserPath> paths;
  if (const std::string text = request.get("path"); !text.empty()) {
    TRY_ASSIGN(UserPath path, query.path(text, request.get("cwd")));
    if (!node_at(path, a.seq) && !node_at(path, b.seq)) {
      return make_error(ErrorCode::kNotFound,
                        display_path(text) + " is in neither of the two moments");
    }
    paths.push_back(std::move(path));
  } else {
    for (const Root& root : query.roots()) paths.push_back({root, ""});
  }
  for (const UserPath& path : paths) {
    TRY(differ.compare(path, node_at(path, a.seq), node_at(path, b.seq)));
  }
  return {};
}

}  // namespace holdfast
