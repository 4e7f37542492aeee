// Gate: how a request reaches the engine from another thread, or from a command that runs without a
// service. Every call may block until the engine answers; none may be called on the engine's own
// thread while a loop runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "service/engine.h"

namespace holdfast {

// The patterns that a root leaves out, as it was last watched.
Result<std::vector<std::string>> excludes_of(const Journal& journal, const LmdbTxn& txn,
                                             const Root& root);

class Gate {
 public:
  virtual ~Gate() = default;
  // Everything that happened before the call is durable at the returned sequence.
  virtual Result<Sequence> flush(int64_t timeout_ns) = 0;
  virtual Result<Snapshot> snapshot(
      const std::string& message, const std::vector<std::pair<std::string, std::string>>& tags) = 0;
  virtual Status remove_snapshot(const std::string& name) = 0;
  virtual Result<Sequence> journal_note(RecordKind kind, NodeId root, const std::string& note) = 0;
  virtual Result<EngineStatus> status() = 0;
  // kFailed where the engine does not answer in time.
  virtual Result<EngineStatus> status_within(int64_t) { return status(); }
  // Runs `call` on the engine's thread, and returns what it hands to `done`, which it may keep and
  // call from a later step(). `call` must own what it uses: the caller may be gone by then.
  using Done = std::function<void(const Status&)>;
  virtual Status with_engine(std::function<void(Engine&, Done)> call) = 0;
  // Looks after this root from now on. Without a service it is the only one, if nothing was asked
  // for that needs the others.
  virtual Status use_root(const RootSpec& spec);
  // Has the engine read a version's file again, and journal what is there: returns that record.
  Result<Record> read_anew(const Record& version, Engine::Reread reread);
  // Whether a service watches: else the journal is as old as its last record.
  virtual bool watches() const = 0;
  // Waits until the journal's head is beyond `after`, the time is over, or the service stops
  // (nullopt).
  virtual std::optional<Sequence> wait_commit(Sequence after, int64_t timeout_ns) = 0;
};

// Runs an engine in this process for one command; the state's lock is held by the caller. The roots
// that the journal knows are reconciled at the first call that needs the present.
class DirectGate final : public Gate {
 public:
  DirectGate(State& state, const Clock& clock, Log& log)
      : state_(state), clock_(clock), log_(log) {}
  ~DirectGate() override;
  Result<Sequence> flush(int64_t timeout_ns) override;
  Result<Snapshot> snapshot(const std::string& message,
                            const std::vector<std::pair<std::string, std::string>>& tags) override;
  Status remove_snapshot(const std::string& name) override;
  Result<Sequence> journal_note(RecordKind kind, NodeId root, const std::string& note) override;
  Result<EngineStatus> status() override;
  Status with_engine(std::function<void(Engine&, Done)> call) override;
  bool watches() const override { return false; }
  Status use_root(const RootSpec& spec) override;
  std::optional<Sequence> wait_commit(Sequence after, int64_t timeout_ns) override;

 private:
  Status start();
  State& state_;
  const Clock& clock_;
  Log& log_;
  std::unique_ptr<Engine> engine_;
  std::optional<RootSpec> only_;
  std::optional<Error> lost_;  // of a root that could not even be opened
};

}  // namespace holdfast
