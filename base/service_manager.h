// ServiceManager: what systemd, where it started this process, wants to hear (sd_notify(3)): that
// the service is ready, what it does, that it lives. Without systemd ($NOTIFY_SOCKET is not set)
// every call does nothing. Any thread. service_manager.cpp is the only place that includes
// sd-daemon.h.
#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast {

class ServiceManager {
 public:
  ServiceManager();  // reads the environment
  bool listens() const { return listens_; }
  void ready() const;
  void status(std::string_view text) const;  // one line, as `systemctl status` shows it
  void reloading() const;                    // until ready()
  void stopping() const;
  void alive() const;
  // How often alive() has to be called at least, half of what systemd waits; 0: it does not wait.
  int64_t alive_every_ns() const { return alive_every_ns_; }

 private:
  void send(const char* message) const;
  bool listens_ = false;
  int64_t alive_every_ns_ = 0;
};

}  // namespace holdfast
