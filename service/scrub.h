// Scrub: verifies everything, again and again, at a pace that nobody notices.
//
// A pass visits the files in the order in which the journal met them, so whatever was verified
// longest ago comes next; where it stands is kept in the file `scrub` of the state directory, so
// that a restart goes on there. A file that is too large to be read between any two restarts is
// begun three times, and then passed over until the next pass, so that the others get their turn.
// One thread of its own with one worker, at idle priority and a
// limited rate. What it finds is journaled as by `holdfast verify`.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "service/gate.h"
#include "service/query.h"
#include "service/verify.h"

namespace holdfast {

struct ScrubOptions {
  int64_t every_ns = 30LL * 24 * 3600 * 1'000'000'000;  // 0: never
  uint64_t rate_bytes = 20'000'000;                     // a second
  bool operator==(const ScrubOptions&) const = default;
};

// Where a scrub stands. Times are wall clock; 0: not yet.
struct ScrubState {
  NodeId next;  // 0: no pass is under way
  int64_t started_ns = 0, finished_ns = 0;
  uint64_t files = 0, bytes = 0, problems = 0;  // of the pass under way, else of the last one
  NodeId begun;  // the last file that is a batch of its own, and how often it was begun
  uint64_t times_begun = 0;
};
// Of a state in which no scrub ever ran: all zero.
ScrubState read_scrub_state(const std::string& state_dir);
Json scrub_json(const ScrubState& state);
// What is wrong with the file `scrub`, in words; it harms nobody: a pass begins anew.
std::optional<std::string> scrub_flaw(const std::string& state_dir);

class Scrub {
 public:
  Scrub(State& state, Gate& gate, const Clock& clock, Log& log, const ScrubOptions& options);
  ~Scrub();  // ends the pass where it is
  Scrub(const Scrub&) = delete;
  Scrub& operator=(const Scrub&) = delete;
  ScrubState at() const;  // any thread

 private:
  void work();
  bool wait_until_due();  // false: it is over
  Status wait_for_first_look();
  Status pass();
  bool begin_large(const NodeBatch& batch, ScrubState& now);
  void tell_problems(const VerifyResult& result);
  void save();
  void set(const ScrubState& state);

  State& state_;
  Gate& gate_;
  const Clock& clock_;
  Log& log_;
  const ScrubOptions options_;
  ScrubState at_;
  mutable std::mutex mutex_;  // of at_, which the scrub's thread alone changes, and stopping_
  std::condition_variable changed_;
  bool stopping_ = false;
  bool looked_ = false;  // at everything, since the service started
  std::shared_ptr<Verifier> verifier_;
  std::thread thread_;
};

}  // namespace holdfast
