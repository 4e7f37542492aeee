// The seed of a random test: HOLDFAST_TEST_SEED where set, so that a failure's printed seed replays
// it.
#pragma once

#include <cstdlib>
#include <random>

namespace holdfast {

inline unsigned test_seed() {
  const char* given = std::getenv("HOLDFAST_TEST_SEED");
  if (given) return static_cast<unsigned>(std::strtoul(given, nullptr, 10));
  return std::random_device()();
}

}  // namespace holdfast
