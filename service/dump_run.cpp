#include "service/dump_run.h"

#include <algorithm>

#include "journal/time_spec.h"
#include "service/dump_command.h"
#include "service/words.h"

namespace holdfast {

namespace {

std::string seq_text(Sequence seq) { return "@" + std::to_string(seq.value); }

// The newest dump of a node, and the newest good one.
Status read_attempts(const Journal& journal, const LmdbTxn& txn, NodeId node, DumpState& state) {
  return journal.for_each_version(txn, node, true, [&](const Record& record) {
    if (record.kind != RecordKind::kDump) return Visit::kContinue;
    DumpState::Attempt attempt{record.seq, record.time_ns, record.wall_ns, record.stat.size, {}};
    if (const auto note = parse_dump_note(record.note)) attempt.note = *note;
    if (!state.last) state.last = attempt;
    if ((record.flags & kFlagRejected) != 0) return Visit::kContinue;
    state.good = attempt;
    return Visit::kStop;
  });
}

// Answers of a few lines, whole.
class LineSink final : public ApiSink {
 public:
  explicit LineSink(const std::function<void(std::string_view)>& take) : take_(take) {}
  bool write(std::string_view bytes) override {
    take_(bytes);
    return true;
  }
  bool cancelled() override { return false; }

 private:
  const std::function<void(std::string_view)>& take_;
};

}  // namespace

ApiSend send_within(Api& api) {
  return [&api](const ApiRequest& request, const std::function<void(std::string_view)>& take) {
    LineSink sink(take);
    return api.handle(request, sink);
  };
}

Result<DumpResult> run_dump(const DumpConfig& dump, const Clock& clock,
                            const std::function<bool()>& cancelled, const ApiSend& send) {
  const auto command =
      std::make_shared<DumpCommand>(dump.command, dump.timeout_ns, clock, cancelled);
  ApiRequest request;
  request.method = "POST";
  request.path = "/v1/put";
  request.params = {{"path", kDumpsRoot + (":" + dump.name)},
                    {"kind", "dump"},
                    {"shrink", std::to_string(dump.shrink_percent)}};
  request.body = command;
  DumpResult result;
  auto sent = send(request, [&](std::string_view line) {
    Json json = Json::parse(line, nullptr, false);
    if (json.is_object() && json.contains("rejected")) result.answer = std::move(json);
  });
  if (!sent.ok()) return sent.error().in("the dump " + dump.name + " is not made");
  if (result.answer.is_null()) {
    return make_error(ErrorCode::kFailed,
                      "the dump " + dump.name + " is not made: the service gave no answer");
  }
  result.errors = command->errors();
  return result;
}

std::string words_for_bad_dump(const std::string& name, const Json& answer) {
  return "the dump " + name + " is not good: " + answer["note"].get<std::string>() +
         "; what it wrote is kept as @" + std::to_string(answer["seq"].get<uint64_t>()) + ", and " +
         kDumpsRoot + ":" + name + " is the last good one as before";
}

Result<std::vector<DumpState>> dump_states(const Journal& journal, const LmdbTxn& txn,
                                           const std::vector<DumpConfig>& configured) {
  std::vector<DumpState> states;
  for (const DumpConfig& dump : configured) {
    states.emplace_back();
    states.back().name = dump.name;
  }
  TRY_ASSIGN(const auto roots, journal.roots(txn));
  const auto root = std::find_if(roots.begin(), roots.end(), [](const Root& other) {
    return other.name == kDumpsRoot && other.is_virtual();
  });
  if (root == roots.end()) return states;
  // Of a name the last node counts: one that ended has had no good dump.
  std::vector<std::pair<std::string, NodeId>> nodes;
  TRY(journal.for_each_span(txn, root->node,
                            [&](std::string_view name, const Journal::NameSpan& span) {
                              if (span.node.value == 0 || span.type != FileType::kFile)
                                return Visit::kContinue;
                              if (nodes.empty() || nodes.back().first != name)
                                nodes.emplace_back(name, span.node);
                              nodes.back().second = span.node;
                              return Visit::kContinue;
                            }));
  for (const auto& name_node : nodes) {
    auto state = std::find_if(states.begin(), states.end(), [&](const DumpState& other) {
      return other.name == name_node.first;
    });
    if (state == states.end()) {
      states.emplace_back();
      state = states.end() - 1;
      state->name = name_node.first;
    }
    TRY(read_attempts(journal, txn, name_node.second, *state));
  }
  return states;
}

std::optional<std::string> dump_problem(const DumpState& state, const DumpConfig* config,
                                        int64_t now_wall_ns, int64_t since_wall_ns) {
  const std::string good = state.good ? "the last good one is " + seq_text(state.good->seq) +
                                            " of " + format_time(state.good->time_ns)
                                      : "there has been no good one yet";
  if (state.last && state.last->note.outcome != DumpOutcome::kOk) {
    return "the dump " + state.name + " is not good (" + seq_text(state.last->seq) +
           "): " + dump_note_text(state.last->note) + "; " + good;
  }
  if (config == nullptr) return std::nullopt;
  const int64_t last_ns = std::max(state.good ? state.good->wall_ns : since_wall_ns, int64_t{0});
  if (now_wall_ns - last_ns <= 2 * config->every_ns + config->timeout_ns) return std::nullopt;
  return "the dump " + state.name + " is overdue: it is to be made every " +
         words_for_duration(config->every_ns) + ", and " + good +
         "; the log of the service says why, holdfast run-dump " + state.name + " makes one now";
}

}  // namespace holdfast
