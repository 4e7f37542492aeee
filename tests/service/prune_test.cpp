// Pruning beside captures, at moments that a running service meets only by chance.
#include "service/prune.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/journal/journal_fixture.h"

namespace holdfast {
namespace {

constexpr unsigned kFiles = 100;

std::string content_of(unsigned number) {
  std::string bytes;
  for (unsigned i = 0; bytes.size() < 2000; ++i) {
    const ContentHash hash = content_hash(std::to_string(number) + "/" + std::to_string(i));
    bytes.append(reinterpret_cast<const char*>(hash.bytes.data()), hash.bytes.size());
  }
  return bytes;
}

class Silent final : public Log {
  void write(const LogEvent&) override {}
};

class ShiftedClock final : public Clock {
 public:
  int64_t wall_ns() const override { return clock_.wall_ns() + shift_ns; }
  int64_t boottime_ns() const override { return clock_.boottime_ns() + shift_ns; }
  std::string boot_id() const override { return clock_.boot_id(); }
  int64_t shift_ns = 0;

 private:
  SystemClock clock_;
};

// A service whose engine turns only when it is asked: what is captured in between waits.
class TurnedByHand final : public Gate {
 public:
  TurnedByHand() {
    std::string pattern = (std::filesystem::temp_directory_path() / "holdfast-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    dir_ = pattern;
    std::filesystem::create_directory(root());
    state = must(State::open(dir_ + "/state", true, clock, log_));
    EngineOptions options;
    options.watch = false;
    engine_ = std::make_unique<Engine>(*state, clock, log_, options, [this] { ++outputs_; });
    must(engine_->start());
    must(engine_->add_root({"data", root(), {}}));
  }
  ~TurnedByHand() override {
    engine_.reset();
    state.reset();
    std::filesystem::remove_all(dir_);
  }
  std::string root() const { return dir_ + "/data"; }
  void write(unsigned number, const std::string& name) const {
    std::ofstream(root() + "/" + name) << content_of(number);
  }
  uint64_t head() const {
    const auto txn = must(state->env->begin_read());
    return must(state->journal->head(*txn)).seq.value;
  }
  bool has(unsigned number) const {
    const auto txn = must(state->env->begin_read());
    return state->store->has(*txn, chunk_id(state->info.key, content_of(number)));
  }
  // Looks at the tree until a worker has captured what is new there, and leaves that with it.
  void capture_only() {
    const unsigned before = outputs_;
    engine_->reconcile_all("a test");
    while (outputs_ < before + 2) {  // the names, and then the contents
      if (!engine_->step()) engine_->wait(20'000'000);
    }
  }

  Result<Sequence> flush(int64_t) override {
    engine_->reconcile_all("a test");
    std::optional<Result<Sequence>> answer;
    engine_->flush([&](Result<Sequence> result) { answer = std::move(result); });
    while (!answer) {
      if (!engine_->step()) engine_->wait(20'000'000);
    }
    return *answer;
  }
  Status with_engine(std::function<void(Engine&, Done)> call) override {
    if (++calls == 2) before_leaving();  // the first one sealed the pack
    std::optional<Status> answer;
    call(*engine_, [&](Status status) { answer = std::move(status); });
    REQUIRE(answer.has_value());
    return *answer;
  }
  bool watches() const override { return true; }
  Result<Snapshot> snapshot(const std::string&,
                            const std::vector<std::pair<std::string, std::string>>&) override {
    return make_error(ErrorCode::kFailed, "not here");
  }
  Status remove_snapshot(const std::string&) override { return {}; }
  Result<Sequence> journal_note(RecordKind, NodeId, const std::string&) override {
    return Sequence{};
  }
  Result<EngineStatus> status() override { return engine_->status(); }
  std::optional<Sequence> wait_commit(Sequence, int64_t) override { return std::nullopt; }

  Engine& engine() { return *engine_; }

  ShiftedClock clock;
  std::unique_ptr<State> state;
  int calls = 0;
  std::function<void()> before_leaving = [] {};

 private:
  std::string dir_;
  Silent log_;
  std::atomic<unsigned> outputs_{0};
  std::unique_ptr<Engine> engine_;
};

PruneResult prune(TurnedByHand& gate) {
  Pruner pruner(*gate.state, gate, gate.clock);
  PruneOptions options;
  options.policy.all_ns = 0;
  options.grace_ns = 0;
  gate.calls = 0;
  return must(pruner.run(options));
}

// All contents are stored, and no file has one any more.
void lose_all(TurnedByHand& gate) {
  for (unsigned i = 0; i < kFiles; ++i) gate.write(i, "f" + std::to_string(i));
  must(gate.flush(0));
  for (unsigned i = 0; i < kFiles; ++i) {
    std::filesystem::remove(gate.root() + "/f" + std::to_string(i));
  }
  must(gate.flush(0));
}

}  // namespace

TEST_CASE("what is journaled after the marking is kept", "[prune]") {
  TurnedByHand gate;
  lose_all(gate);
  gate.before_leaving = [&] {
    gate.write(7, "back");
    must(gate.flush(0));
    REQUIRE(gate.has(7));
  };
  REQUIRE(prune(gate).packs_rewritten > 0);
  REQUIRE(gate.has(7));
  REQUIRE_FALSE(gate.has(8));
}

// Whether the worker has looked for the content in the store before its pack leaves is up to the
// scheduler, more often than not it has: so a number of times.
TEST_CASE("what was captured before the packs leave, and is journaled later, is kept", "[prune]") {
  const int round = GENERATE(range(0, 15));
  INFO("round " << round);
  TurnedByHand gate;
  lose_all(gate);
  // A capture that the engine has committed already is not what is asked for here: then another.
  unsigned back = 0;
  gate.before_leaving = [&] {
    uint64_t before = 0;
    do {
      must(gate.flush(0));
      before = gate.head();
      gate.write(back, "back" + std::to_string(back));
      ++back;
      gate.capture_only();
    } while (gate.head() != before && back < kFiles / 2);
    REQUIRE(gate.head() == before);
  };
  REQUIRE(prune(gate).packs_rewritten > 0);
  must(gate.flush(0));
  for (unsigned i = 0; i < back; ++i) REQUIRE(gate.has(i));
  REQUIRE_FALSE(gate.has(kFiles - 1));
}

TEST_CASE("a change of the store gives way to who waits for a flush, and not for ever", "[prune]") {
  TurnedByHand gate;
  Engine& engine = gate.engine();
  const Engine::StoreChange nothing = [](Store&, WriteTxn&) { return Status(); };
  bool changed = false, flushed = false;
  const auto note = [&](const Status& status) {
    must(status);
    changed = true;
  };
  engine.with_store(nothing, note);
  REQUIRE(changed);  // nobody waits
  changed = false;
  gate.write(1, "file");
  engine.reconcile_all("a test");
  engine.flush([&](const Result<Sequence>& result) {
    must(result);
    flushed = true;
  });
  engine.with_store(nothing, note);
  REQUIRE_FALSE(changed);
  SECTION("after the flush it is made") {
    while (!flushed) {
      REQUIRE_FALSE(changed);
      if (!engine.step()) engine.wait(1'000'000);
    }
    while (!changed) engine.step();
  }
  SECTION("it does not wait for longer than a moment") {
    gate.clock.shift_ns += 1'000'000'000;
    engine.step();
    REQUIRE(changed);
  }
}

TEST_CASE("any damaged byte of the file that says when was pruned is found", "[prune]") {
  TurnedByHand gate;
  const std::string dir = gate.state->dir, file = dir + "/pruned";
  REQUIRE_FALSE(prune_mark_flaw(dir).has_value());
  REQUIRE(read_prune_mark(dir) == 0);
  must(write_prune_mark(dir, 1'700'000'000'123'456'789));
  REQUIRE_FALSE(prune_mark_flaw(dir).has_value());
  REQUIRE(read_prune_mark(dir) == 1'700'000'000'123'456'789);
  std::string good;
  {
    std::ifstream in(file, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(in), {});
  }
  const auto put = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  };
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    put(bad);
    INFO("bit " << bit);
    REQUIRE(prune_mark_flaw(dir).has_value());
    REQUIRE(read_prune_mark(dir) == 0);
  }
  put(good.substr(0, 10));
  REQUIRE(prune_mark_flaw(dir).has_value());
  put("1700000000123456789\n");  // as a version before wrote it
  REQUIRE_FALSE(prune_mark_flaw(dir).has_value());
  REQUIRE(read_prune_mark(dir) == 1'700'000'000'123'456'789);
}

}  // namespace holdfast
