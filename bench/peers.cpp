#include "bench/peers.h"

#include <array>
#include <cstdio>

#include "base/fs.h"

namespace holdfast::bench {

namespace {

std::string first_line_of(const std::string& command) {
  std::string line;
  FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return line;
  std::array<char, 256> piece{};
  if (std::fgets(piece.data(), piece.size(), pipe) != nullptr) line = piece.data();
  while (std::fgets(piece.data(), piece.size(), pipe) != nullptr) continue;
  ::pclose(pipe);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

}  // namespace

// borg asks whether an unencrypted repository is meant; there is nobody to answer.
Result<Usage> Peer::run(const std::string& command) const {
  return run_pipeline("export BORG_BASE_DIR=" + shell_word(home_) +
                      " BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes; " + command);
}

std::string Peer::base(const std::string& repository) const {
  if (kind_ == Kind::kBorg) return "exec borg";
  return "exec restic -q --cache-dir " + shell_word(home_ + "/restic") + " --password-file " +
         shell_word(home_ + "/password") + " -r " + shell_word(repository);
}

Status Peer::init(const std::string& repository) const {
  TRY(make_directories(home_, 0700));
  TRY(write_file_durably(home_ + "/password", "benchmark\n", 0600));
  TRY(run(kind_ == Kind::kRestic ? base(repository) + " init"
                                 : "exec borg init -e none " + shell_word(repository)));
  return {};
}

Result<Usage> Peer::backup(const std::string& repository, const std::string& tree,
                           const std::string& label) const {
  if (kind_ == Kind::kRestic) {
    return run(base(repository) + " backup --tag " + shell_word(label) + " " + shell_word(tree));
  }
  return run("cd " + shell_word(tree) + " && exec borg create --compression zstd,3 " +
             shell_word(repository + "::" + label) + " .");
}

Result<Usage> Peer::restore(const std::string& repository, const std::string& label,
                            const std::string& to) const {
  TRY(make_directories(to, 0755));
  if (kind_ == Kind::kRestic) {
    return run(base(repository) + " restore latest --tag " + shell_word(label) + " --target " +
               shell_word(to));
  }
  return run("cd " + shell_word(to) + " && exec borg extract " +
             shell_word(repository + "::" + label));
}

Result<Usage> Peer::cat(const std::string& repository, const std::string& label,
                        const std::string& tree, const std::string& path) const {
  if (kind_ == Kind::kRestic) {
    return run(base(repository) + " dump --tag " + shell_word(label) + " latest " +
               shell_word(tree + "/" + path));
  }
  return run("exec borg extract --stdout " + shell_word(repository + "::" + label) + " " +
             shell_word(path));
}

Result<Usage> Peer::check_data(const std::string& repository) const {
  return run(kind_ == Kind::kRestic ? base(repository) + " check --read-data"
                                    : "exec borg check --verify-data " + shell_word(repository));
}

Result<Usage> Peer::keep_last(const std::string& repository) const {
  if (kind_ == Kind::kRestic) return run(base(repository) + " forget --keep-last 1 --prune");
  const std::string place = shell_word(repository);
  return run("borg prune --keep-last 1 " + place + " && exec borg compact " + place);
}

std::string Peer::version() const {
  return first_line_of(kind_ == Kind::kRestic ? "restic version" : "borg --version");
}

std::vector<Peer> installed_peers(const std::string& home) {
  std::vector<Peer> peers;
  for (const Peer::Kind kind : {Peer::Kind::kRestic, Peer::Kind::kBorg}) {
    Peer peer(kind, home);
    if (!first_line_of("command -v " + peer.name()).empty()) peers.push_back(std::move(peer));
  }
  return peers;
}

}  // namespace holdfast::bench
