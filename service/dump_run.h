// Running a configured dump: its command, streamed into the store as dumps:NAME. For the service's
// schedule and for commands; whoever calls says how requests get to the API.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "journal/journal.h"
#include "service/api.h"
#include "service/config.h"
#include "service/dump_note.h"

namespace holdfast {

inline constexpr const char* kDumpsRoot = "dumps";

struct DumpResult {
  Json answer;         // of the put
  std::string errors;  // the end of standard error
  bool good() const { return !answer["rejected"].get<bool>(); }
};

using ApiSend =
    std::function<Status(const ApiRequest&, const std::function<void(std::string_view line)>&)>;

// To an API in this process.
ApiSend send_within(Api& api);

// An error: nothing was journaled (the disk is full, the same dump is running). A command that
// failed is a result.
Result<DumpResult> run_dump(const DumpConfig& dump, const Clock& clock,
                            const std::function<bool()>& cancelled, const ApiSend& send);
// What went wrong with a dump that is not good, and what there is instead.
std::string words_for_bad_dump(const std::string& name, const Json& answer);

// What the journal knows of a dump.
struct DumpState {
  std::string name;
  struct Attempt {
    Sequence seq;
    int64_t time_ns = 0, wall_ns = 0;  // of its end
    uint64_t size = 0;
    DumpNote note;
  };
  std::optional<Attempt> last, good;
};
// Of every name that is, or was, right below the root of dumps, and of `configured` ones.
Result<std::vector<DumpState>> dump_states(const Journal& journal, const LmdbTxn& txn,
                                           const std::vector<DumpConfig>& configured);
// nullopt: all is well. Without a configuration (nullptr) nothing is overdue. A dump that was never
// made is overdue as if it had last been made at `since_wall_ns`.
std::optional<std::string> dump_problem(const DumpState& state, const DumpConfig* config,
                                        int64_t now_wall_ns, int64_t since_wall_ns);

}  // namespace holdfast
