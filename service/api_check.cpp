// The API's check: everything in the state against everything else.
#include <atomic>
#include <thread>
#include <unordered_set>

#include "base/lmdb_file.h"
#include "base/path.h"
#include "service/alert_state.h"
#include "service/api.h"
#include "service/inbox_state.h"
#include "service/progress.h"
#include "service/prune.h"
#include "service/pruned.h"
#include "service/repository.h"

namespace holdfast {

namespace {

// Every content that a record refers to must be found, through all levels of its recipes.
class ContentCheck {
 public:
  ContentCheck(State& state, const LmdbTxn& txn, Pruned pruned,
               const std::function<void(const std::string&)>& finding)
      : state_(state),
        txn_(txn),
        reader_(*state.store, txn),
        pruned_(std::move(pruned)),
        finding_(finding) {}

  void check(const Record& record) {
    if (record.content.kind != ContentKind::kChunk && record.content.kind != ContentKind::kRecipe)
      return;
    std::string missing;
    if (!complete(record.content.id, record.content.kind == ContentKind::kRecipe, missing)) {
      if (pruned_.has(*state_.journal, txn_, record)) return;
      finding_("record @" + std::to_string(record.seq.value) + " (" + display_path(record.name) +
               "): content is missing: " + missing);
    }
  }

 private:
  bool complete(const ChunkId& id, bool recipe, std::string& missing) {
    const auto place = state_.store->locate(txn_, id);
    if (!place.ok() || !*place) {
      const auto lost = state_.journal->lost_since(txn_, id);
      if (lost.ok() && *lost) return true;  // a repair has told
      missing = "chunk " + to_hex(id.bytes.data(), 16) + " is in no pack";
      return false;
    }
    if (!recipe || !sound_.insert(id).second) return true;
    auto bytes = reader_.chunk(id);
    auto decoded = bytes.ok() ? decode_recipe(*bytes) : Result<Recipe>(bytes.error());
    if (!decoded.ok()) {
      sound_.erase(id);
      missing = decoded.error().message;
      return false;
    }
    for (const Part& part : decoded->parts) {
      if (part.kind == PartKind::kHole) continue;
      if (!complete(part.id, part.kind == PartKind::kRecipe, missing)) {
        sound_.erase(id);
        return false;
      }
    }
    return true;
  }

  State& state_;
  const LmdbTxn& txn_;
  ChunkReader reader_;
  const Pruned pruned_;
  const std::function<void(const std::string&)>& finding_;
  std::unordered_set<ChunkId, ChunkIdHash> sound_;  // recipes that were found complete
};

}  // namespace

Json check_json(const StoreStats& stats, uint64_t records, bool read_data,
                const std::vector<std::string>& findings) {
  Json json;
  json["records"] = records;
  json["packs"] = stats.packs;
  json["bytes"] = stats.bytes;
  json["chunks"] = stats.chunks;
  json["read_data"] = read_data;
  json["clean"] = findings.empty();
  json["findings"] = findings;
  return json;
}

namespace {

// Journal and store are looked at at the same time, each through a transaction of its own; what is
// found is told in the order of one after the other.
class StateCheck {
 public:
  StateCheck(State& state, bool read_data, ApiSink& sink)
      : state_(state), read_data_(read_data), sink_(sink) {}

  Status run() {
    // First: LMDB itself is not asked where it could crash on what is there.
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    TRY(check_lmdb_file(state_.dir + "/journal/data.mdb", LmdbDepth::kAll, add_));
    if (!findings.empty()) {
      add_("the rest is not looked at; stop the service and run holdfast rebuild");
      return {};
    }
    Status store_status;
    std::vector<std::string> of_store;
    std::thread store([&] { store_status = check_store(of_store); });
    Status status = check_journal(*txn);
    if (!status.ok()) stop_store_ = true;  // what it found is not told
    store.join();
    TRY(status);
    for (const std::string& text : of_store) add_(text);
    return store_status;
  }
  Json progress() const {
    return {{"records", records.load()}, {"bytes", done_.load()}, {"bytes_all", all_.load()}};
  }

  std::vector<std::string> findings;
  std::atomic<uint64_t> records{0};

 private:
  static constexpr size_t kFindingsMax = 1000;

  Status check_journal(const LmdbTxn& txn) {
    if (const auto flaw = repository_flaw(state_.dir + "/repository", state_.info)) add_(*flaw);
    if (const auto flaw = scrub_flaw(state_.dir)) add_(*flaw);
    if (const auto flaw = inbox_flaw(state_.dir)) add_(*flaw);
    if (const auto flaw = alerts_flaw(state_.dir)) add_(*flaw);
    if (const auto flaw = prune_mark_flaw(state_.dir)) add_(*flaw);
    TRY(state_.journal->check(txn, add_));
    TRY_ASSIGN(Pruned pruned, Pruned::load(*state_.journal, txn));
    ContentCheck contents(state_, txn, std::move(pruned), add_);
    return state_.journal->for_each_record(txn, Sequence{1}, false, [&](const Record& record) {
      contents.check(record);
      ++records;
      return sink_.cancelled() ? Visit::kStop : Visit::kContinue;
    });
  }

  Status check_store(std::vector<std::string>& found) {
    TRY_ASSIGN(const auto txn, state_.env->begin_read());
    return state_.store->check(
        *txn, read_data_,
        [&](const std::string& text) {
          if (found.size() < kFindingsMax) found.push_back(text);
        },
        [&](uint64_t bytes, uint64_t of) {
          done_ = bytes;
          all_ = of;
          return !stop_store_ && !sink_.cancelled();
        });
  }

  State& state_;
  const bool read_data_;
  ApiSink& sink_;
  const std::function<void(const std::string&)> add_ = [this](const std::string& text) {
    if (findings.size() < kFindingsMax) findings.push_back(text);
  };
  std::atomic<uint64_t> done_{0}, all_{0};
  std::atomic<bool> stop_store_{false};
};

}  // namespace

Status Api::check(const ApiRequest& request, ApiSink& sink) {
  const bool read_data = request.flag("read_data");
  StateCheck look(state_, read_data, sink);
  Status failed;
  with_progress(
      sink, [&] { return look.progress(); }, [&] { failed = look.run(); });
  std::vector<std::string>& findings = look.findings;
  if (!failed.ok()) {
    // Damage that stops the check is a finding like any other.
    if (failed.error().code != ErrorCode::kDamaged) return failed;
    findings.push_back(failed.error().message);
  }
  const uint64_t records = look.records;
  TRY_ASSIGN(const auto txn, state_.env->begin_read());
  const auto stats = findings.empty() || records > 0 ? state_.store->stats(*txn) : StoreStats{};
  sink.write(
      json_line(check_json(stats.ok() ? *stats : StoreStats{}, records, read_data, findings)));
  return {};
}

}  // namespace holdfast
