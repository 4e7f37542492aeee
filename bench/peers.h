// Other programs that keep versions, run as their users run them: restic with its defaults and a
// password file; borg with --compression zstd,3 and no encryption. Only those that are installed.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "bench/process.h"

namespace holdfast::bench {

class Peer {
 public:
  enum class Kind { kRestic, kBorg };
  Peer(Kind kind, std::string home) : kind_(kind), home_(std::move(home)) {}

  std::string name() const { return kind_ == Kind::kRestic ? "restic" : "borg"; }
  Status init(const std::string& repository) const;
  Result<Usage> backup(const std::string& repository, const std::string& tree,
                       const std::string& label) const;
  // Of the newest backup, or of the one with that label.
  Result<Usage> restore(const std::string& repository, const std::string& label,
                        const std::string& to) const;
  Result<Usage> cat(const std::string& repository, const std::string& label,
                    const std::string& tree, const std::string& path) const;
  Result<Usage> check_data(const std::string& repository) const;
  Result<Usage> keep_last(const std::string& repository) const;  // forget, prune, compact
  std::string version() const;

 private:
  Result<Usage> run(const std::string& command) const;
  std::string base(const std::string& repository) const;  // the program, with the repository

  Kind kind_;
  std::string home_;  // for caches and the password, so that nobody's own are touched
};

std::vector<Peer> installed_peers(const std::string& home);

}  // namespace holdfast::bench
