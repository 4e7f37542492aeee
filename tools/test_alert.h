// `holdfast test-alert`: whether alerts arrive, before they are needed.
#pragma once

#include <string>

#include "service/config.h"

namespace holdfast {

struct TestAlertOptions {
  std::string state_dir;
  bool json = false, quiet = false;
};

// A test notice through each sink, once, and what became of it. Exit code: 0 all worked, 1 one did
// not, 2 there is none.
int run_test_alert(const AlertsConfig& alerts, const TestAlertOptions& options);

}  // namespace holdfast
