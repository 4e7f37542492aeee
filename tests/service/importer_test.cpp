// An import that is ended at any of its steps: no moment claims to be whole that is not, and the
// same archive once more makes it so.
#include "service/importer.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "service/tar.h"
#include "tests/journal/journal_fixture.h"

namespace holdfast {
namespace {

constexpr unsigned kFiles = 21'000;  // more than two batches of an import

// Gives up at its Nth call of the engine, as a process does that is killed.
class Ended final : public Gate {
 public:
  Ended(Gate& gate, unsigned at) : gate_(gate), left_(at) {}
  Status with_engine(std::function<void(Engine&, Done)> call) override {
    if (left_ == 0) return make_error(ErrorCode::kInterrupted, "killed");
    --left_;
    return gate_.with_engine(std::move(call));
  }
  bool ended() const { return left_ == 0; }
  Result<Sequence> flush(int64_t timeout_ns) override { return gate_.flush(timeout_ns); }
  Result<Snapshot> snapshot(const std::string& message,
                            const std::vector<std::pair<std::string, std::string>>& tags) override {
    return gate_.snapshot(message, tags);
  }
  Status remove_snapshot(const std::string& name) override { return gate_.remove_snapshot(name); }
  Result<Sequence> journal_note(RecordKind kind, NodeId root, const std::string& note) override {
    return gate_.journal_note(kind, root, note);
  }
  Result<EngineStatus> status() override { return gate_.status(); }
  bool watches() const override { return false; }
  std::optional<Sequence> wait_commit(Sequence, int64_t) override { return std::nullopt; }

 private:
  Gate& gate_;
  unsigned left_;
};

std::string many_files() {
  std::string tar;
  auto writer = must(TarWriter::create([&](std::string_view bytes) {
    tar += bytes;
    return true;
  }));
  TarEntry entry;
  entry.stat.mode = S_IFREG | 0644;
  for (unsigned i = 0; i < kFiles; ++i) {
    entry.path = "d" + std::to_string(i % 10) + "/" + std::to_string(i);
    REQUIRE(writer->begin(entry).ok());
  }
  REQUIRE(writer->finish().ok());
  return tar;
}

struct Opened {
  explicit Opened(const std::string& dir) : state(must(State::open(dir, true, clock, log))) {}
  Result<ImportResult> import(Gate& to, const std::string& tar) {
    size_t at = 0;
    return import_tar(*state, to, clock, {"old", 0, ""}, [&](char* out, size_t size) {
      const size_t got = tar.copy(out, std::min(size, tar.size() - at), at);
      at += got;
      return Result<size_t>(got);
    });
  }
  SystemClock clock;
  NullLog log;
  std::unique_ptr<State> state;
  DirectGate gate{*state, clock, log};
};

}  // namespace

TEST_CASE("an import that is ended at any step is told apart from a whole one", "[import]") {
  const std::string tar = many_files();
  std::string pattern = (std::filesystem::temp_directory_path() / "holdfast-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  unsigned partial = 0;
  bool done = false;
  for (unsigned calls = 0; !done; ++calls) {
    REQUIRE(calls < 20);
    const std::string dir = pattern + "/" + std::to_string(calls);
    {
      Opened run(dir);
      Ended gate(run.gate, calls);
      done = run.import(gate, tar).ok();
    }
    Opened run(dir);
    const auto look = [&] {
      auto txn = must(run.state->env->begin_read());
      const auto roots = must(run.state->journal->roots(*txn));
      const bool whole = !must(run.state->journal->snapshots(*txn)).empty();
      if (roots.empty()) return std::pair(whole, std::string());
      const auto root = must(run.state->journal->version(*txn, roots[0].node, kLatest));
      return std::pair(whole, root->note);
    };
    const auto [whole, note] = look();
    INFO("after " << calls << " calls: " << note);
    REQUIRE(whole == done);
    REQUIRE((note == kImported) == done);
    if (note == kImportBegun) ++partial;
    const auto again = must(run.import(run.gate, tar));
    REQUIRE(again.counts.files == kFiles);
    REQUIRE(look() == std::pair(true, std::string(kImported)));
    auto txn = must(run.state->env->begin_read());
    const auto root = must(run.state->journal->roots(*txn))[0].node;
    REQUIRE(must(run.state->journal->counts(*txn, root)).files == kFiles);
    REQUIRE(run.state->journal->check(*txn, [](const std::string& found) { FAIL(found); }).ok());
  }
  REQUIRE(partial >= 2);  // else this test has seen nothing
  std::filesystem::remove_all(pattern);
}

}  // namespace holdfast
