#include "base/service_manager.h"

#include <systemd/sd-daemon.h>
#include <time.h>

#include <cstdlib>
#include <string>

namespace holdfast {

ServiceManager::ServiceManager() : listens_(std::getenv("NOTIFY_SOCKET") != nullptr) {
  uint64_t watchdog_us = 0;
  if (listens_ && ::sd_watchdog_enabled(0, &watchdog_us) > 0) {
    alive_every_ns_ = static_cast<int64_t>(watchdog_us / 2) * 1000;
  }
}

void ServiceManager::send(const char* message) const {
  if (listens_) ::sd_notify(0, message);  // if it does not arrive, nobody can be told
}

void ServiceManager::ready() const { send("READY=1"); }
void ServiceManager::stopping() const { send("STOPPING=1\nSTATUS=stopping"); }
void ServiceManager::alive() const { send("WATCHDOG=1"); }

void ServiceManager::status(std::string_view text) const {
  send(("STATUS=" + std::string(text)).c_str());
}

void ServiceManager::reloading() const {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t now_us = now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
  send(("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now_us)).c_str());
}

}  // namespace holdfast
