// Supervisor: tells systemd how the service is. Ready when everything was looked through once, its
// progress until then, and that the loop turns, for the watchdog. The loop's thread, but for
// reloaded().
#pragma once

#include <functional>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/service_manager.h"
#include "service/engine.h"

namespace holdfast {

// "looking through uploads: 12345 files, 1.5 GB so far", or what is watched.
std::string words_for_service(const EngineStatus& status);

class Supervisor {
 public:
  Supervisor(Engine& engine, const Clock& clock, Log& log)
      : engine_(engine), clock_(clock), log_(log) {}
  // From now on the watchdog is fed, and it is waited until everything was looked through.
  Status start(Loop& loop);
  void turned();  // after each turn of the loop
  void reloading() const { manager_.reloading(); }
  void reloaded() const { manager_.ready(); }  // any thread
  void stopping() const { manager_.stopping(); }

 private:
  void ask();
  void ready(Sequence seq);
  void tell();

  Engine& engine_;
  const Clock& clock_;
  Log& log_;
  const ServiceManager manager_;
  bool started_ = false, asked_ = false, ready_ = false;
  int64_t turned_ns_ = 0;
  std::string told_;
};

}  // namespace holdfast
