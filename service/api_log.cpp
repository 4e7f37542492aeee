// The API's answers about records: log, history.
#include <algorithm>
#include <set>

#include "base/path.h"
#include "journal/time_spec.h"
#include "service/api.h"
#include "service/below.h"

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

}  // namespace

// What `log` was asked for.
struct LogFilter {
  std::set<std::string> kinds, verdicts;
  std::string root;
  std::optional<UserPath> below;
  Sequence first{1}, last;

  bool may_take(RecordKind kind, Verdict verdict) const {
    const bool link = kind == RecordKind::kLink;
    if (!kinds.empty() && !kinds.contains(link ? "create" : record_kind_name(kind))) return false;
    return verdicts.empty() || verdicts.contains(verdict_name(verdict));
  }
  bool takes(Query& query, const Record& record) const {
    if (!may_take(record.kind, record.verdict)) return false;
    if (root.empty() && !below) return true;
    const auto [root_name, path] = query.place(record);
    if (!root.empty() && root_name != root) return false;
    if (!below || below->relative.empty()) return !below || root_name == below->root.name;
    return record.is_node_record() && root_name == below->root.name &&
           (path == below->relative || path.starts_with(below->relative + "/"));
  }
};

namespace {

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

namespace {

// The records that `log` shows, one after the other, forwards or backwards. Where it was asked for
// a path, only what may be about it is read; else the window, from its first record on.
class LogReader {
 public:
  LogReader(const State& state, const LmdbTxn& txn, Query& query, const LogFilter& filter)
      : state_(state), txn_(txn), query_(query), filter_(filter) {}

  Status read(bool backwards, const std::function<Visit(const Record&)>& visit) {
    if (filter_.last < filter_.first) return {};
    if (filter_.below && !filter_.below->relative.empty()) {
      TRY_ASSIGN(const auto lives, query_.lives(*filter_.below));
      const uint64_t window = filter_.last.value - filter_.first.value + 1;
      TRY_ASSIGN(const auto found, sequences_below(*state_.journal, txn_, lives, filter_.first,
                                                   filter_.last, steps_max(window)));
      if (found) return read_some(*found, backwards, visit);
    }
    return state_.journal->for_each_record_between(
        txn_, filter_.first, filter_.last, backwards,
        [&](RecordKind kind, Verdict verdict) { return filter_.may_take(kind, verdict); },
        [&](const Record& record) {
          return filter_.takes(query_, record) ? visit(record) : Visit::kContinue;
        });
  }

 private:
  // A row costs about what a record does; and a list of sequences has to be small.
  static uint64_t steps_max(uint64_t window) {
    return std::clamp<uint64_t>(window / 2, 1000, 1'000'000);
  }
  Status read_some(const std::vector<Sequence>& found, bool backwards,
                   const std::function<Visit(const Record&)>& visit) {
    for (size_t i = 0; i < found.size(); ++i) {
      TRY_ASSIGN(const Record record,
                 state_.journal->record(txn_, found[backwards ? found.size() - 1 - i : i]));
      if (filter_.takes(query_, record) && visit(record) == Visit::kStop) return {};
    }
    return {};
  }

  const State& state_;
  const LmdbTxn& txn_;
  Query& query_;
  const LogFilter& filter_;
};

Result<uint64_t> read_limit(const ApiRequest& request) {
  const std::string text = request.get("limit");
  if (text.empty()) return ~uint64_t{0};
  if (text.find_first_not_of("0123456789") != std::string::npos || text.size() > 18) {
    return make_error(ErrorCode::kUsage, "the limit is a number, not \"" + text + "\"");
  }
  return uint64_t{std::stoull(text)};
}

}  // namespace

// What is journaled from now on, until nobody listens any more.
Status Api::follow(const LogFilter& filter, ApiSink& sink) {
  Sequence seen = filter.last;
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

Status Api::log(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(std::unique_ptr<ReadTxn> txn, state_.env->begin_read());
  TRY_ASSIGN(const Head head, state_.journal->head(*txn));
  std::optional<Query> query(std::in_place, state_, *txn);
  TRY_ASSIGN(const LogFilter filter, read_filter(request, *query, head.seq, clock_.wall_ns()));
  TRY_ASSIGN(const uint64_t limit, read_limit(request));
  const bool reverse = request.flag("reverse");
  const bool limited = limit != ~uint64_t{0};
  LogReader reader(state_, *txn, *query, filter);
  uint64_t shown = 0;
  const auto show = [&](const Record& record) {
    if (sink.cancelled() || !sink.write(json_line(query->record(record)))) return Visit::kStop;
    return ++shown < limit ? Visit::kContinue : Visit::kStop;
  };
  if (limit > 0 && limited && !reverse) {
    // A limit means the newest ones, whichever way they are shown.
    std::vector<Sequence> newest;
    TRY(reader.read(true, [&](const Record& record) {
      newest.push_back(record.seq);
      return newest.size() < limit && !sink.cancelled() ? Visit::kContinue : Visit::kStop;
    }));
    for (auto seq = newest.rbegin(); seq != newest.rend(); ++seq) {
      TRY_ASSIGN(const Record record, state_.journal->record(*txn, *seq));
      if (show(record) == Visit::kStop) break;
    }
  } else if (limit > 0) {
    TRY(reader.read(reverse, show));
  }
  query.reset();
  txn.reset();
  return request.flag("follow") ? follow(filter, sink) : Status();
}

Status Api::history(const ApiRequest& request, ApiSink& sink) {
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  Query query(state_, *txn);
  TRY_ASSIGN(const UserPath path, query.path(request.get("path"), request.get("cwd")));
  TRY_ASSIGN(const auto lives, query.lives(path));
  if (lives.empty()) {
    return make_error(ErrorCode::kNotFound, display_path(request.get("path")) + " was never there");
  }
  // Lives follow each other; where one ends as the next begins, both have that record.
  Sequence shown;
  for (const Life& life : lives) {
    Status failed;
    const auto show = [&](Sequence seq) {
      auto record = state_.journal->record(*txn, seq);
      if (!record.ok()) failed = record.error();
      if (!record.ok()) return Visit::kStop;
      // Another name of the same file coming or going is that name's history, not this one's.
      const bool about_a_name = record->kind == RecordKind::kLink ||
                                record->kind == RecordKind::kDelete ||
                                record->kind == RecordKind::kCreate;
      const bool of_others = about_a_name && seq != life.since && seq != life.until;
      if (of_others || seq <= shown) return Visit::kContinue;
      shown = seq;
      return sink.write(json_line(query.record(*record))) ? Visit::kContinue : Visit::kStop;
    };
    const Sequence last = life.until.value == 0 ? Sequence{~uint64_t{0}} : life.until;
    TRY(state_.journal->for_each_version_between(*txn, life.node, life.since, last, show));
    TRY(failed);
  }
  return {};
}

}  // namespace holdfast
