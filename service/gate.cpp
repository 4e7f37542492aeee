#include "service/gate.h"

#include <algorithm>

namespace holdfast {

namespace {
std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}
}  // namespace

// A version before kept the patterns as a word of their own.
Result<std::vector<std::string>> excludes_of(const Journal& journal, const LmdbTxn& txn,
                                             const Root& root) {
  if (!root.excludes.empty()) return root.excludes;
  TRY_ASSIGN(const auto former, journal.meta(txn, "excludes:" + root.name));
  return former ? split_lines(*former) : std::vector<std::string>{};
}

Result<Record> Gate::read_anew(const Record& version, Engine::Reread reread) {
  auto there = std::make_shared<Record>();
  TRY(with_engine([version, reread, there](Engine& engine, const Done& done) {
    engine.read_anew(version, reread, [done, there](const Result<Record>& record) {
      if (record.ok()) *there = *record;
      done(record.ok() ? Status() : Status(record.error()));
    });
  }));
  return *there;
}

Status Gate::use_root(const RootSpec& spec) {
  return with_engine([spec](Engine& engine, const Done& done) { done(engine.add_root(spec)); });
}

Status DirectGate::use_root(const RootSpec& spec) {
  if (only_ && only_->name == spec.name) return {};
  if (engine_) return Gate::use_root(spec);
  only_ = spec;
  return {};
}

DirectGate::~DirectGate() {
  if (engine_) {
    if (auto status = engine_->stop(); !status.ok()) log_.error(status.error().message);
  }
}

Status DirectGate::start() {
  if (engine_) return {};
  EngineOptions options;
  options.watch = false;
  auto engine = std::make_unique<Engine>(state_, clock_, log_, options, nullptr);
  TRY(engine->start());
  std::vector<RootSpec> specs;
  if (only_) {
    specs.push_back(*only_);
  } else {
    TRY_ASSIGN(auto txn, state_.env->begin_read());
    TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
    for (const Root& root : roots) {
      if (root.is_virtual()) continue;
      TRY_ASSIGN(auto excludes, excludes_of(*state_.journal, *txn, root));
      specs.push_back({root.name, root.path, std::move(excludes)});
    }
  }
  for (const RootSpec& spec : specs) {
    if (auto status = engine->add_root(spec); !status.ok()) lost_ = status.error();
  }
  engine_ = std::move(engine);
  return {};
}

Result<Sequence> DirectGate::flush(int64_t timeout_ns) {
  const bool fresh = !engine_;
  TRY(start());
  if (!fresh) engine_->reconcile_all("nothing watches between two looks");
  std::optional<Result<Sequence>> answer;
  engine_->flush([&](Result<Sequence> result) { answer = std::move(result); });
  const int64_t start_ns = clock_.boottime_ns();
  while (!answer) {
    if (engine_->step()) continue;
    if (clock_.boottime_ns() - start_ns > timeout_ns) {
      return make_error(ErrorCode::kFailed, "flush did not finish in time");
    }
    engine_->wait(20'000'000);
  }
  if (answer->ok() && lost_) {
    return make_error(ErrorCode::kChanged, "a root is lost: " + lost_->message +
                                               "; all other roots are durable at @" +
                                               std::to_string((*answer)->value));
  }
  return *answer;
}

Result<Snapshot> DirectGate::snapshot(
    const std::string& message, const std::vector<std::pair<std::string, std::string>>& tags) {
  TRY(start());
  return engine_->snapshot(message, tags);
}

Status DirectGate::remove_snapshot(const std::string& name) {
  TRY(start());
  return engine_->remove_snapshot(name);
}

Result<Sequence> DirectGate::journal_note(RecordKind kind, NodeId root, const std::string& note) {
  TRY(start());
  return engine_->journal_note(kind, root, note);
}

Status DirectGate::with_engine(std::function<void(Engine&, Done)> call) {
  TRY(start());
  auto answer = std::make_shared<std::optional<Status>>();
  call(*engine_, [answer](Status status) { *answer = std::move(status); });
  while (!*answer) {
    if (!engine_->step()) engine_->wait(20'000'000);
  }
  return **answer;
}

Result<EngineStatus> DirectGate::status() {
  if (engine_) return engine_->status();
  EngineStatus status;
  TRY_ASSIGN(auto txn, state_.env->begin_read());
  TRY_ASSIGN(const Head head, state_.journal->head(*txn));
  status.seq = head.seq;
  TRY_ASSIGN(const auto roots, state_.journal->roots(*txn));
  for (const Root& root : roots) {
    if (root.is_virtual()) continue;
    RootStatus entry;
    entry.name = root.name;
    entry.path = root.path;
    entry.backend = "none";
    entry.coverage = "none: no service watches";
    TRY_ASSIGN(const RootCounts counts, state_.journal->counts(*txn, root.node));
    entry.files = static_cast<uint64_t>(std::max<int64_t>(0, counts.files));
    entry.bytes = static_cast<uint64_t>(std::max<int64_t>(0, counts.bytes));
    status.roots.push_back(std::move(entry));
  }
  status.problems.push_back(
      {"service",
       "no service is running on this state: nothing is being watched; start it "
       "with: holdfast --state " +
           state_.dir + " watch DIR",
       "", ""});
  return status;
}

std::optional<Sequence> DirectGate::wait_commit(Sequence, int64_t) { return std::nullopt; }

}  // namespace holdfast
