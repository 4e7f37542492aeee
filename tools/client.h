// Client: a command's requests, answered by the running service or, where none runs, by the same
// code in this process under the state's lock.
#pragma once

#include <signal.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/result.h"
#include "service/api.h"

namespace holdfast {

// Several requests of one command. Where no service answers, the state is opened once and kept,
// under its lock, until the session ends.
class Session {
 public:
  // `create`: where there is no state, it is made.
  Session(std::string state_dir, Log& log, bool create = false);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  // As run_request(). A body is read only once somebody is there to take it.
  Status run(const ApiRequest& request, bool raw,
             const std::function<void(std::string_view)>& take);

 private:
  struct Direct;
  const std::string state_dir_;
  Log& log_;
  const bool create_;
  std::unique_ptr<Direct> direct_;  // once no service answered
};

// While one lives, SIGINT and SIGTERM are only noted, for those who ask.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  static bool noted();

 private:
  struct sigaction int_, term_;
};

// Runs one request; hands each line (or piece, for raw answers) on. kBusy: the state is locked by a
// process that does not answer.
Status run_request(const std::string& state_dir, const ApiRequest& request, bool raw, Log& log,
                   const std::function<void(std::string_view)>& take);

int exit_code_of(const Error& error);
// Says it on standard error; the exit code for it.
int report(const Error& error);

}  // namespace holdfast
