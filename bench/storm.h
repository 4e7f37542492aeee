// A storm: small changes of all kinds in one tree, at a steady rate. The same on every machine, but
// for how fast they come.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/result.h"

namespace holdfast::bench {

class Storm {
 public:
  Storm(std::string tree, double changes_a_second);
  Status prepare();                      // the files that it begins with
  Result<uint64_t> run(double seconds);  // returns how many changes it made

 private:
  Status change();
  Status write(const std::string& path);
  std::string new_path();

  const std::string tree_;
  const double rate_;
  std::mt19937_64 random_{31};
  std::vector<std::string> files_;
  uint64_t made_ = 0, written_ = 0;
};

}  // namespace holdfast::bench
