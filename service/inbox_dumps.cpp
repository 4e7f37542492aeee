// The dumps that an inbox makes before it restores: without them the way back would lead to the
// database of hours ago.
#include <poll.h>

#include <algorithm>

#include "base/path.h"
#include "service/inbox_run.h"
#include "service/words.h"

namespace holdfast {

namespace {
constexpr int kAskAgainMs = 500;
}  // namespace

// One that is being made already began before the containers were stopped: this one comes after it.
Result<DumpResult> InboxRun::make_dump(const DumpConfig& dump) {
  const int64_t until_ns = tools_.clock.boottime_ns() + dump.timeout_ns;
  for (;;) {
    auto made = run_dump(dump, tools_.clock, tools_.stopping, tools_.send);
    const bool busy = !made.ok() && made.error().code == ErrorCode::kBusy;
    if (!busy || tools_.stopping() || tools_.clock.boottime_ns() >= until_ns) return made;
    ::poll(nullptr, 0, kAskAgainMs);
  }
}

// A dump that fails stops nothing: a broken database is why somebody restores one. It is said in
// the log, and with the result.
Status InboxRun::make_dumps(const InboxConfig& config) {
  for (const DumpConfig& dump : config.dumps) {
    const auto made = make_dump(dump);
    if (tools_.stopping()) return make_error(ErrorCode::kInterrupted, "the service is stopping");
    if (made.ok() && made->good()) {
      say("dumped " + dump.name + ", " + words_for_bytes(made->answer["size"].get<uint64_t>()));
      continue;
    }
    const std::string why =
        made.ok() ? words_for_bad_dump(dump.name, made->answer) : made.error().message;
    say("WARNING: " + why + "; it is restored all the same");
    tools_.log.warn("inbox " + display_path(config.path) + ": " + why +
                    "; what was dropped is restored all the same");
    job().undumped += (job().undumped.empty() ? "" : ", ") + dump.name;
  }
  return {};
}

// Where dumps are all there is, a restore in place has nothing to do, and fails.
Result<bool> InboxRun::has_watched_root() const {
  TRY_ASSIGN(const auto txn, tools_.state.env->begin_read());
  TRY_ASSIGN(const auto roots, tools_.state.journal->roots(*txn));
  return !std::all_of(roots.begin(), roots.end(),
                      [](const Root& root) { return root.is_virtual(); });
}

// Of a dump that has never been good there is nothing to go back to.
Result<std::string> InboxRun::undo_of_dumps(const InboxConfig& config,
                                            const std::string& snapshot) const {
  std::string commands;
  if (config.dumps.empty()) return commands;
  TRY_ASSIGN(const auto txn, tools_.state.env->begin_read());
  TRY_ASSIGN(const auto states, dump_states(*tools_.state.journal, *txn, config.dumps));
  for (const DumpConfig& dump : config.dumps) {
    const auto is_good = [&](const DumpState& state) {
      return state.name == dump.name && state.good;
    };
    if (std::none_of(states.begin(), states.end(), is_good)) continue;
    commands += std::string(kThen) + "holdfast --state " + shell_quote(tools_.state.dir) +
                " restore " + kDumpsRoot + ":" + dump.name + " --at " + snapshot +
                " --to-command " + shell_quote(dump.restore.empty() ? "COMMAND" : dump.restore);
  }
  return commands;
}

}  // namespace holdfast
